"""The methods DTVG is compared with, each whole in one file.

:mod:`baselines.pt`, :mod:`baselines.spot`, :mod:`baselines.attempt` and :mod:`baselines.mpt` know
PyTorch and :mod:`bench.protocol`, nothing else of the harness.
"""
