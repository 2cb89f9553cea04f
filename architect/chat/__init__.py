"""The conversation in the terminal: commands, answers without a model, sessions, undo."""
