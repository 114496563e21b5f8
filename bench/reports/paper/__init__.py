"""The paper's tables, the published numbers beside them, and the analysis of transfer."""

from __future__ import annotations

from bench.reports.paper.comparison import comparison_sheets
from bench.reports.paper.layouts import LAYOUTS, Layout
from bench.reports.paper.tables import TableOptions, layout_sheets

__all__ = ["LAYOUTS", "Layout", "TableOptions", "comparison_sheets", "layout_sheets"]
