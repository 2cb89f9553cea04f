"""What is learnt beyond one repair: guards, prevention, trajectories, prompts that evolve."""
