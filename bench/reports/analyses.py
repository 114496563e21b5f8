"""Every table of the paper and every analysis that some records suffice for."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import RecordError
from bench.reports.paper import LAYOUTS, comparison_sheets, layout_sheets
from bench.reports.results import Results
from bench.reports.sheets import Sheet

REFERENCE = "pt"
"""Label of the row that the others are compared with."""

TRANSFER = "transfer"
"""Name of the comparison with it; all other names are layouts."""


def all_sheets(
    results: Results, method_order: Sequence[str] = ()
) -> tuple[dict[str, list[Sheet]], list[str]]:
    """The layouts and the comparison; those without a record to show are left out.

    Args:
        results: the records.
        method_order: names of methods in the order of the rows; others follow by name.

    Returns:
        The tables by name, and a warning for each cell whose predictions cannot be used.
    """
    sheets: dict[str, list[Sheet]] = {}
    warnings: dict[str, None] = {}
    for name in (*LAYOUTS, TRANSFER):
        try:
            if name == TRANSFER:
                found, said = comparison_sheets(results, REFERENCE, method_order=method_order)
            else:
                found, said = layout_sheets(results, name, method_order=method_order)
        except RecordError:
            continue  # No record on its tasks, or nothing to compare with.
        sheets[name] = found
        warnings |= dict.fromkeys(said)
    return sheets, list(warnings)


__all__ = ["REFERENCE", "TRANSFER", "all_sheets"]
