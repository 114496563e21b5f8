"""Every table of the paper and every analysis that some records suffice for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.errors import RecordError
from bench.reports.evidence import Evidence
from bench.reports.paper import LAYOUTS, comparison_sheets, layout_sheets
from bench.reports.results import Results
from bench.reports.sheets import Sheet

REFERENCE = "pt"
"""Label of the row that the others are compared with."""

TRANSFER = "transfer"
"""Name of the comparison with it; all other names are layouts."""


@dataclass(frozen=True)
class Analyses:
    """What the records suffice for.

    Attributes:
        sheets: the tables by name.
        warnings: one line per cell whose predictions cannot be used.
    """

    sheets: Mapping[str, Sequence[Sheet]]
    warnings: tuple[str, ...]


def all_sheets(results: Results, method_order: Sequence[str] = ()) -> Analyses:
    """The layouts and the comparison; those without a record to show are left out.

    Args:
        results: the records.
        method_order: names of methods in the order of the rows; others follow by name.
    """
    sheets: dict[str, list[Sheet]] = {}
    evidence = Evidence(results)
    for name in (*LAYOUTS, TRANSFER):
        try:
            if name == TRANSFER:
                found, _ = comparison_sheets(
                    results, REFERENCE, method_order=method_order, evidence=evidence
                )
            else:
                found, _ = layout_sheets(
                    results, name, method_order=method_order, evidence=evidence
                )
        except RecordError:
            continue  # No record on its tasks, or nothing to compare with.
        sheets[name] = found
    return Analyses(sheets, tuple(evidence.warnings))


__all__ = ["REFERENCE", "TRANSFER", "Analyses", "all_sheets"]
