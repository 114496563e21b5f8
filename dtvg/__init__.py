"""DTVG: dynamic task vector grouping (Zhang et al. 2025, arXiv:2503.18063)."""

from dtvg.grouping import select_group
from dtvg.prompt import DTVGPrompt, DTVGSettings
from dtvg.task_vectors import task_vectors

__all__ = ["DTVGPrompt", "DTVGSettings", "select_group", "task_vectors"]
