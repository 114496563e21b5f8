"""Tables as the page shows them: text, and for every cell what to sort by and what lies behind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.records import Record
from bench.reports.html.details import Details
from bench.reports.sections import Section
from bench.reports.settings import row_labels
from bench.reports.sheets import Entry, Sheet
from bench.reports.table_sheets import table_sheet
from bench.reports.tables import Table


@dataclass(frozen=True)
class HeadView:
    """The head of a column: its name, and the units below it."""

    title: str
    units: str = ""


@dataclass(frozen=True)
class EntryView:
    """A cell of a table.

    Attributes:
        text: the number or word in it.
        mark: stands behind the text; the table's notes explain it.
        after: deviation and number of seeds.
        best: whether it is the best of its column.
        value: to sort by; None: comes last.
        cells: places of its cells among the details; empty: there is nothing to look into.
        about: what it is, for those who hear it without the table around it.
    """

    text: str
    mark: str = ""
    after: str = ""
    best: bool = False
    value: float | None = None
    cells: tuple[int, ...] = ()
    about: str = ""


@dataclass(frozen=True)
class LineView:
    """A row: what it is called, and one entry for each of the other heads."""

    labels: tuple[str, ...]
    entries: tuple[EntryView, ...]


@dataclass(frozen=True)
class TableView:
    """A table; ``name`` is unique in the page."""

    name: str
    title: str
    caption: str
    heads: tuple[HeadView, ...]
    lines: tuple[LineView, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableGroup:
    """Tables under one heading; ``name`` is unique in the page.

    Attributes:
        about: what they show.
        folded: whether each is shown only when it is asked for.
    """

    name: str
    title: str
    about: str
    tables: tuple[TableView, ...]
    folded: bool = False


def table_views(
    tables: Sequence[Table], sections: Sequence[Section], details: Details
) -> list[TableView]:
    """The tables of some sections, in the same order."""
    return [
        _view(table, _places(section, details))
        for table, section in zip(tables, sections, strict=True)
    ]


Places = Mapping[tuple[str, str], tuple[int, ...]]
"""Places of the details of a table's cell by row label and task, in the order of the seeds."""


def _places(section: Section, details: Details) -> Places:
    labels = row_labels(section.records)
    found: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in section.records:
        found[labels[record.digest], record.cell.task].append(record)
    return {
        key: tuple(details.place(r) for r in sorted(records, key=lambda record: record.cell.seed))
        for key, records in found.items()
    }


def _view(table: Table, places: Places) -> TableView:
    """A table whose entries lead to their cells."""
    setting = table.setting
    shots = "full data" if setting.shots is None else f"{setting.shots} shots"
    view = sheet_view(f"table-{table.number}", table_sheet(table))
    return replace(
        view,
        title=f"Table {table.number}: {setting.model.name}, {shots}",
        lines=tuple(
            # The majority class has no cells of its own; a method may have its name.
            line if row.method is None else replace(line, entries=_linked(line, table, places))
            for line, row in zip(view.lines, table.rows, strict=True)
        ),
    )


def _linked(line: LineView, table: Table, places: Places) -> tuple[EntryView, ...]:
    (label,) = line.labels
    *scores, average = line.entries
    linked = [
        replace(
            entry, cells=places.get((label, column.task), ()), about=f"{label} on {column.task}"
        )
        for entry, column in zip(scores, table.columns, strict=True)
    ]
    return (*linked, average)


def sheet_view(name: str, sheet: Sheet) -> TableView:
    """A table of the paper, or of an analysis."""
    front = (sheet.groups, sheet.corner) if sheet.grouped else (sheet.corner,)
    heads = [
        HeadView(head.title if head.unique else f"{head.group} {head.title}".strip(), head.units)
        for head in sheet.heads
    ]
    return TableView(
        name=name,
        title=f"{sheet.title}{_shots(sheet)}, table {sheet.number}",
        caption=sheet.caption,
        heads=(*map(HeadView, front), *heads),
        lines=tuple(
            LineView(
                (line.group, line.label) if sheet.grouped else (line.label,),
                tuple(map(_sheet_entry, line.entries)),
            )
            for line in sheet.lines
        ),
        notes=sheet.notes,
    )


def _shots(sheet: Sheet) -> str:
    shots = sheet.values.get("shots", "")
    return ", full data" if shots is None else f", {shots} shots" if shots else ""


def _sheet_entry(entry: Entry) -> EntryView:
    return EntryView(entry.text, entry.mark, entry.after, entry.bold, entry.number)


__all__ = [
    "EntryView",
    "HeadView",
    "LineView",
    "TableGroup",
    "TableView",
    "sheet_view",
    "table_views",
]
