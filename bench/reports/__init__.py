"""Tables of result records; they read records and nothing else."""

from __future__ import annotations

from bench.reports.render import FORMATS, Format, render_tables
from bench.reports.results import Results, load_results

__all__ = ["FORMATS", "Format", "Results", "load_results", "render_tables"]
