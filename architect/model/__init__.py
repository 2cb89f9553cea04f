"""The language model: endpoint, budgets, conversation, edit blocks, and the engine that proposes with it."""
