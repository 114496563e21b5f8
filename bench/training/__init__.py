"""The training loop: optimiser, schedule, evaluation and checkpoints."""
