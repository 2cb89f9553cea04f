"""What a model and a person in the chat may ask of a kernel: one class per tool, one table of them."""
