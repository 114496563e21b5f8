"""Readers of single columns and the text forms that several suites share.

All raise :class:`DataError` with the column and what to do; :meth:`Task.to_text` adds the task.
"""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Callable, Mapping

from bench.errors import DataError
from bench.tasks.task import Row, TextPair


def string(column: str, row: Row) -> str:
    """Read a column of text."""
    value = row[column]
    if not isinstance(value, str):
        raise DataError(f"column {column!r} holds {reprlib.repr(value)}, not text; mend the row")
    return value


def strings(column: str, row: Row) -> list[str]:
    """Read a column of lists of text, at least one each."""
    value = list(row[column]) if isinstance(row[column], (list, tuple)) else []
    if not value or not all(isinstance(item, str) for item in value):
        raise DataError(
            f"column {column!r} holds {reprlib.repr(row[column])}, not a list of texts; "
            "mend the row or use a split whose answers are public"
        )
    return value


def integer(column: str, row: Row) -> int:
    """Read a column of whole numbers."""
    try:
        return operator.index(row[column])
    except TypeError:
        raise DataError(
            f"column {column!r} holds {reprlib.repr(row[column])}, not a whole number; mend the row"
        ) from None


def class_index(column: str, classes: int, row: Row) -> int:
    """Read the hub's class label: a whole number below ``classes``."""
    index = integer(column, row)
    if not 0 <= index < classes:
        raise DataError(
            f"column {column!r} holds {index}, not a class from 0 to {classes - 1}; "
            "mend the row or use a split whose labels are public"
        )
    return index


def named_index(column: str, names: tuple[str, ...], row: Row) -> int:
    """Read a label that the hub keeps as text: its place among ``names``."""
    value = row[column]
    if value not in names:
        raise DataError(
            f"column {column!r} holds {reprlib.repr(value)}, not one of {', '.join(names)}; "
            "mend the row or use a split whose labels are public"
        )
    return names.index(value)


def join_fields(fields: Mapping[str, str], row: Row) -> str:
    """Write ``shown name: value`` pieces, joined by single spaces.

    Args:
        fields: column by shown name, in the order of the text.
        row: the dataset row.
    """
    return " ".join(f"{shown}: {string(column, row)}" for shown, column in fields.items())


def labelled_pairs(
    text: Callable[[Row], str],
    label_of: Callable[[Row], int],
    labels: tuple[str, ...],
    row: Row,
    training: bool,
) -> list[TextPair]:
    """One example whose target is the label of the row's class."""
    return [TextPair(text(row), labels[label_of(row)])]
