"""Declarations of tasks: built-in ones in ``tasks.yaml``, users' in a YAML or Python file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PositiveInt,
    ValidationError,
)

from bench.errors import ConfigError, DataError, UnknownNameError, lookup, plain_fault
from bench.plugins import NAME
from bench.tasks.base import (
    PARQUET_BRANCH,
    RULE_SPLITS,
    Row,
    Task,
    TextPair,
    bad_value,
    class_index,
    strings,
)
from bench.tasks.metrics import METRICS
from bench.tasks.readers import READERS, Reader

SPLITS = ("train", "validation", "test")
RULES = {SPLITS: "official", SPLITS[:2]: "halve-validation", SPLITS[::2]: "hold-out-train"}
"""Default split rule by the splits of a task."""

COPIED_KEYS: tuple[str, ...] = ("input_length", "target_length", "max_training_rows")
COPIED_KEYS += ("group_by_source", "source_only", "version", "config", "rows")
"""Keys copied to the Task unchanged."""


def template_columns(template: str) -> list[str]:
    """Columns of a template, in order; ValueError for other fields."""
    columns = []
    for _, column, spec, conversion in Formatter().parse(template):
        if column is not None:
            plain = re.fullmatch(r"[^.\[\]]+", column) and not column.isdigit()
            if spec or conversion or not plain:
                raise ValueError(f"{{{column}}} is not a plain column name, such as {{text}}")
            columns.append(column)
    if not columns:
        raise ValueError("expected a column in braces, such as {text}")
    return columns


Names = Annotated[list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]


def _named(reader: object) -> object:
    return lookup("reader", reader, READERS) if isinstance(reader, str) else reader


class Declaration(BaseModel):
    """Keys of a task."""

    model_config = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)

    template: (
        Annotated[str, AfterValidator(lambda text: template_columns(text) and text)] | None
    ) = None
    separator: str | None = None  # Between the texts of a list column in the template.
    target: str = "label"  # Column with the answer.
    references: str | None = None  # List column with all correct answers; may be empty.
    # In place of the template: a name of READERS, or in Python a Reader.
    reader: Annotated[Reader | None, BeforeValidator(_named)] = None
    labels: list[str | int] = []  # Values of the target column; the answer is their index.
    metric: Names = ["accuracy"]  # Tables show the first.
    selection: Names = []  # Scores that select the checkpoint; default: all.
    hub: str = ""  # ``OWNER/NAME@COMMIT``, or ``@refs/convert/parquet``.
    config: str | None = None
    rows: dict[str, PositiveInt] = {}  # Row counts by split on the hub.
    files: dict[str, str] = {}  # Paths by split, relative to the YAML file.
    split_rule: Literal["halve-validation", "hold-out-train", "mnli", "official"] | None = None
    suites: Names = []
    published_name: str | None = None  # First word of every source text; default: the name.
    input_length: PositiveInt = 256
    target_length: PositiveInt = 20
    max_training_rows: PositiveInt | None = None
    group_by_source: bool = False
    source_only: bool = False
    version: PositiveInt = 1  # Part of run ids; tasks in plugin files get a digest.


def declare(name: str, values: object, folder: Path = Path()) -> Task:
    """Task from the keys of :class:`Declaration`; ConfigError if they cannot be used.

    Files are relative to ``folder``.
    """
    try:
        return _make_task(name, Declaration.model_validate(values), folder.absolute())
    except ValidationError as error:
        fault = max(error.errors(), key=lambda fault: fault["type"] == "extra_forbidden")
        key, reason = ".".join(map(str, fault["loc"][:2])), plain_fault(fault)
        subject = f"task {name}: {key}".removesuffix(": ")
        if fault["type"] == "extra_forbidden":
            reason = str(UnknownNameError("key", key, Declaration.model_fields))
        raise ConfigError(f"{subject}: {reason}") from error
    except ConfigError as error:
        raise ConfigError(f"task {name}: {error}") from error


def _make_task(name: str, entry: Declaration, folder: Path) -> Task:
    label_of = partial(class_index, entry.target, entry.labels) if entry.labels else None
    # Templates give no groups.
    scorers = {key: metric for key, metric in METRICS.items() if entry.reader or not metric.grouped}
    outputs = [lookup("metric", scorer, scorers).outputs for scorer in entry.metric]
    metrics = tuple(chain.from_iterable(outputs))
    files = {key: Path(os.path.normpath(folder / file)) for key, file in entry.files.items()}
    given = tuple(split for split in SPLITS if split in (files or entry.rows))
    rule = entry.split_rule or RULES.get(given, "")
    splits = given if rule == RULES.get(given) else RULE_SPLITS.get(rule, ())  # That it reads.
    faults = _faults(name, entry, metrics) + _data_faults(entry, folder, files, rule, splits)
    for failed, message in faults:
        if failed:
            raise ConfigError(message)
    path, _, revision = entry.hub.partition("@")
    reader = entry.reader or _template_reader(entry, label_of)
    return Task(
        name=name,
        published_name=entry.published_name or name,
        repository=path or str(folder),
        revision=revision,
        columns=reader.columns,
        splits=splits,
        files=files,
        texts=reader.texts,
        labels=tuple(map(str, range(len(entry.labels)))) or None,
        metrics=metrics,
        scorers=tuple(entry.metric),
        selection_metrics=tuple(entry.selection),
        split_rule=rule,
        label_of=reader.label_of or label_of,
        defect_of=reader.defect_of,
        doubt_of=reader.doubt_of,
        suites=tuple(entry.suites),
        **{key: getattr(entry, key) for key in COPIED_KEYS},
    )


def _faults(
    name: str, entry: Declaration, metrics: tuple[str, ...]
) -> tuple[tuple[object, str], ...]:
    """Conditions on texts, answers and metrics that must not hold, with messages."""
    reader, labels = entry.reader, [str(label).strip() for label in entry.labels]
    unread = {"separator", "references", *([] if labels else ["target"])} & entry.model_fields_set
    return (
        (name == "sources", "that name means all source tasks together; rename it"),
        ({"sources", "paper"} & {*entry.suites},
         "suites sources and paper are fixed; name another"),
        (bool(entry.template) == bool(reader), "give it either a template or a reader"),
        (reader and unread, f"a reader ignores {', '.join(sorted(unread))}; leave it out"),
        (reader and labels and entry.target not in reader.columns,
         f"its reader reads no column {entry.target!r}; name the column of the labels as target"),
        (labels and entry.references, "give it either labels or references"),
        (len({*labels}) < len(labels), "has a label twice"),
        (not metrics, f"has no metric; choose from {', '.join(METRICS)}"),
        (len({*metrics}) < len(metrics), "has two metrics with equal score names; choose one"),
        ({*entry.selection} - {*metrics}, f"selects by scores other than {', '.join(metrics)}"),
    )  # fmt: skip


def _data_faults(
    entry: Declaration,
    folder: Path,
    files: Mapping[str, Path],
    rule: str,
    splits: tuple[str, ...],
) -> tuple[tuple[object, str], ...]:
    """Conditions on the place of the data and on splits that must not hold, with messages."""
    names = (files or entry.rows).keys()
    return (
        (bool(entry.files) == bool(entry.hub) or bool(entry.hub) != bool(entry.rows),
         "give it either files, or hub and rows"),
        (entry.hub and not re.fullmatch(f"[^@]+@([0-9a-f]{{40}}|{PARQUET_BRANCH})", entry.hub),
         f"its hub revision may change; pin a 40-digit commit, or {PARQUET_BRANCH}"),
        (entry.config and not NAME.fullmatch(entry.config), f"config {entry.config!r} is no name"),
        (not rule or names - {*SPLITS, *splits},
         f"has the splits {', '.join(names)}: give train, and validation, test or both"),
        ({*splits} - names, f"split rule {rule} needs the splits {', '.join(splits)}"),
        (not all(file.is_relative_to(folder) for file in files.values()),
         f"its files must lie in {folder}"),
    )  # fmt: skip


def _template_reader(entry: Declaration, label_of: Callable[[Row], int] | None) -> Reader:
    """Reader of a declaration's template."""
    columns = template_columns(entry.template or "")
    used = dict.fromkeys(filter(None, [*columns, entry.target, entry.references]))
    return Reader(tuple(used), partial(_texts, columns, entry, label_of))


def _texts(
    columns: list[str],
    entry: Declaration,
    label_of: Callable[[Row], int] | None,
    row: Row,
    training: bool,
) -> list[TextPair]:
    """The single example of a row."""
    contents = {column: _text(column, row, entry.separator) for column in columns}
    target = str(label_of(row)) if label_of else _text(entry.target, row)
    if not target.strip():
        raise DataError(f"column {entry.target!r} is empty; use a split with public references")
    references = entry.references if row.get(entry.references or "") else None
    source = (entry.template or "").format_map(contents)
    return [TextPair(source, target, strings(references, row) if references else ())]


def _text(column: str, row: Row, separator: str | None = None) -> str:
    """A text or number of a row as text; with ``separator``, also a list of texts."""
    value: Any = row.get(column)
    if separator is not None and isinstance(value, list):
        return separator.join(strings(column, row))
    if not isinstance(value, str | int | float) or value != value:  # NaN
        raise bad_value(column, row, "a text or a number")
    return str(value)
