"""Training loop with checkpoints, callbacks, evaluation and clean stops."""
