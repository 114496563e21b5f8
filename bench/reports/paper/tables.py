"""The paper's tables from records: a layout, the records, and what shall be shown of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.errors import RecordError
from bench.records import Record
from bench.reports.evidence import Evidence
from bench.reports.paper.columns import Column, make_columns, section_shots
from bench.reports.paper.entries import Spread, column_head, entry, majority_entry, parameter_entry
from bench.reports.paper.layouts import Layout, get_layout
from bench.reports.paper.notes import layout_caption, layout_notes
from bench.reports.paper.published_lines import PublishedLines
from bench.reports.paper.rows import Row, make_rows, model_order, model_titles
from bench.reports.paper.scores import ScoreGrid
from bench.reports.results import Results
from bench.reports.sections import Section, make_sections
from bench.reports.settings import Setting
from bench.reports.sheets import Line, Scalar, Sheet
from bench.reports.tables import MAJORITY_LABEL
from bench.reports.text import METHOD_HEAD, UNITS_HEAD


@dataclass(frozen=True)
class TableOptions:
    """What tables show besides the means.

    Attributes:
        spread: behind a mean: standard deviation over seeds, or interval over test rows.
        published: whether published numbers stand beside ours.
        marks: whether differences to the reference row are tested.
        against: label of the reference row; None: the layout's.
    """

    spread: Spread = "std"
    published: bool = False
    marks: bool = True
    against: str | None = None


def layout_sheets(
    results: Results,
    layout: str,
    options: TableOptions | None = None,
    *,
    method_order: Sequence[str] = (),
    evidence: Evidence | None = None,
) -> tuple[list[Sheet], list[str]]:
    """All tables of a layout: one per setting and version of the data.

    Records of several models but otherwise equal settings are row groups of one table; a preset
    that has values of its own for a kind of model counts as one.

    Args:
        results: the records.
        layout: its name.
        options: what is shown; None: the defaults.
        method_order: names of methods in the order of the rows; others follow by name.
        evidence: of the same folder, if other tables have asked for some already.

    Returns:
        The tables, and a warning for each cell whose predictions cannot be used.

    Raises:
        UnknownNameError: there is no such layout.
        RecordError: there is no record to show.
    """
    shown = options or TableOptions()
    shape = get_layout(layout)
    chosen = _chosen(results, shape, layout)
    # Averages without their tasks are not tested.
    marks = shown.marks and any(group.details for group in shape.groups)
    shown = replace(shown, marks=marks, against=shown.against or shape.reference)
    needed = marks or shown.spread == "ci"
    evidence = (evidence or Evidence(chosen)) if needed else None
    sections = make_sections(
        chosen, tasks=shape.tasks, setting=_common_setting(chosen.records, shape)
    )
    sheets = [_sheet(section, shape, shown, evidence, method_order) for section in sections]
    return sheets, [] if evidence is None else evidence.warnings


def _chosen(results: Results, layout: Layout, name: str) -> Results:
    """The records that a layout shows."""
    records = tuple(
        record
        for record in results.records
        if record.cell.task in layout.tasks
        and (not layout.methods or record.cell.method.name in layout.methods)
        and not (layout.by_shots and record.cell.shots is None)
    )
    if not records:
        wanted = [
            f"of {', '.join(layout.methods)}" if layout.methods else "",
            "with a number of shots" if layout.by_shots else "",
            f"on {', '.join(layout.tasks)}",
        ]
        raise RecordError(
            f"layout {name} finds no result record in {results.folder}: it shows records "
            f"{' '.join(filter(None, wanted))}"
        )
    return replace(results, records=records)


def _common_setting(records: Sequence[Record], layout: Layout) -> Callable[[Record], Setting]:
    """The setting of a record without what stands in rows and columns of the layout."""
    model = min((record.cell.model for record in records), key=model_order)

    def setting(record: Record) -> Setting:
        common = replace(Setting.of(record), model=model, preset=_common_preset(record))
        return replace(common, shots=None) if layout.by_shots else common

    return setting


def _common_preset(record: Record) -> str:
    """The preset without its word for the kind of model: what differs by kind shares a table."""
    return record.cell.preset.replace(f" for {record.cell.model.kind} models", "", 1)


def _presets(section: Section) -> str:
    """The presets as the records have them, in the order of their models."""
    records = sorted(section.records, key=lambda record: model_order(record.cell.model))
    return " and ".join(dict.fromkeys(record.cell.preset for record in records))


def _sheet(
    section: Section,
    layout: Layout,
    options: TableOptions,
    evidence: Evidence | None,
    method_order: Sequence[str],
) -> Sheet:
    rows = make_rows(section, method_order, layout.labels)
    models = tuple(dict.fromkeys(row.model for row in rows))
    columns = make_columns(layout, section)
    grid = ScoreGrid(rows, columns, evidence, options.against if options.marks else None)
    published = PublishedLines(columns, grid, layout.methods) if options.published else None
    titles = model_titles(models)
    lines = []
    for number, row in enumerate(rows):
        lines.append(_line(titles[row.model], row, number, grid, columns, options, section))
        if published is not None:
            lines += published.beside(number, titles[row.model])
    lines += _majority_line(
        grid, titles[models[0]] if len(models) == 1 else "any model", options.spread
    )
    if published is not None:
        lines += published.others()
    shots = section_shots(section) if layout.by_shots else ()
    setting = replace(section.setting, model=models[0], preset=_presets(section))
    notes = layout_notes(grid, section, options.against if options.marks else None)
    return Sheet(
        number=section.number,
        title=layout.title,
        caption=layout_caption(
            section, setting, models=models, shots=shots, grid=grid, spread=options.spread
        ),
        notes=(*notes, *(published.notes() if published is not None else ())),
        corner=METHOD_HEAD,
        units=UNITS_HEAD if any(column.kind == "score" for column in columns) else "",
        groups="model",
        heads=tuple(map(column_head, columns)),
        lines=tuple(lines),
        values=_values(section, setting, shots),
    )


def _line(
    group: str,
    row: Row,
    number: int,
    grid: ScoreGrid,
    columns: Sequence[Column],
    options: TableOptions,
    section: Section,
) -> Line:
    entries = [
        entry(grid.score(number, place), options.spread, len(section.seeds))
        if column.kind in ("score", "average")
        else parameter_entry(row, column)
        for place, column in enumerate(columns)
    ]
    values = {"kind": "method", "method": row.method, **_model_values(row)}
    return Line(group, row.label, tuple(entries), values)


def _majority_line(grid: ScoreGrid, group: str, spread: Spread) -> list[Line]:
    """The majority class; none where no task has labels."""
    if all(score.mean is None for score in grid.majority):
        return []
    entries = tuple(majority_entry(score, spread) for score in grid.majority)
    return [Line(group, MAJORITY_LABEL, entries, {"kind": "majority"})]


def _model_values(row: Row) -> dict[str, Scalar]:
    return {
        "model": row.model.name,
        "model_digest": row.model.digest,
        "model_kind": row.model.kind,
        "model_bundled": row.model.bundled,
        "model_note": row.model.note,
        "model_parameters": row.model.parameters,
    }


def _values(section: Section, setting: Setting, shots: tuple[int, ...]) -> dict[str, Scalar]:
    """The setting for programs; the model stands with each row."""
    facts: dict[str, Scalar] = {
        name: value for name, value in setting.facts().items() if not name.startswith("model")
    }
    if shots:
        facts["shots"] = " ".join(map(str, shots))
    return {
        **facts,
        "differences": "; ".join(section.differences),
        "seeds": " ".join(map(str, section.seeds)),
    }


__all__ = ["TableOptions", "layout_sheets"]
