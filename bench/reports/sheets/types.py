"""A table ready to be written in any format: heads, rows and cells, each as text and as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True)
class Head:
    """One column.

    Attributes:
        group: head above several columns; empty: none.
        title: of the column.
        units: what its numbers are; may be empty.
        values: the same for programs.
        unique: whether the title alone says what the column is, for formats with one row of heads.
    """

    group: str
    title: str
    units: str = ""
    values: Mapping[str, Scalar] = field(default_factory=dict)
    unique: bool = False


@dataclass(frozen=True)
class Entry:
    """One cell.

    Attributes:
        text: the number or word that stands in it.
        bold: whether it is the best.
        mark: stands raised behind the text.
        after: stands behind it, smaller in meaning: deviation, interval, number of seeds.
        number: that the text shows, with all digits; None: the cell holds no number.
        values: all of it for programs, with all digits.
    """

    text: str
    bold: bool = False
    mark: str = ""
    after: str = ""
    number: float | None = None
    values: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One row.

    Attributes:
        group: of rows; the same for all rows if there is but one.
        label: first cell.
        entries: one per head.
        values: what the row is, for programs.
    """

    group: str
    label: str
    entries: tuple[Entry, ...]
    values: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class Sheet:
    """One table.

    Attributes:
        number: place among the tables rendered together, from 1.
        title: what it shows, in a few words.
        caption: everything a reader must know to judge the numbers.
        notes: below the table, one per line.
        corner: above the row labels.
        units: in front of the heads' units.
        groups: above the row groups.
        heads: the columns; the ones of a group stand together.
        lines: the rows; the ones of a group stand together.
        values: the setting, for programs.
    """

    number: int
    title: str
    caption: str
    notes: tuple[str, ...]
    corner: str
    units: str
    groups: str
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    values: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def grouped(self) -> bool:
        """Whether the rows fall into several groups."""
        return len({line.group for line in self.lines}) > 1


__all__ = ["Entry", "Head", "Line", "Scalar", "Sheet"]
