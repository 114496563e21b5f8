"""The training loop and what surrounds it: checkpoints, callbacks, evaluation, clean stops."""
