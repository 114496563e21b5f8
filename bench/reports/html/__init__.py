"""All of a results folder as one page that needs nothing else."""

from __future__ import annotations

from bench.reports.html.page import render_report, save_report

__all__ = ["render_report", "save_report"]
