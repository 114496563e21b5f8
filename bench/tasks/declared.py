"""Tasks declared in YAML (``--plugin tasks.yaml``): data, template, labels and metrics by name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from string import Formatter
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PositiveInt

from bench.errors import ConfigError, UnknownNameError
from bench.plugins import NAME
from bench.tasks.base import Row, Task, TextPair, bad_value, class_index, make_task
from bench.tasks.metrics import METRICS

SPLITS = ("train", "validation", "test")
RULES = {SPLITS: "official", SPLITS[:2]: "halve-validation", SPLITS[::2]: "hold-out-train"}
"""Split rule by the splits of a task."""


def pieces(template: str) -> list[tuple[str, str | None]]:
    """Literal texts of a template, each with the column after it; ValueError for other fields."""
    parsed = list(Formatter().parse(template))
    for _, column, spec, conversion in parsed:
        if column is not None and (spec or conversion or not re.fullmatch(r"[^.\[\]]+", column)):
            raise ValueError(f"{{{column}}} is no column alone, such as {{text}}")
    if not any(column for _, column, *_ in parsed):
        raise ValueError("expected a column in braces, such as {text}")
    return [(text, column) for text, column, *_ in parsed]


Names = Annotated[list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]


class Declaration(BaseModel):
    """Keys of a task in a YAML file."""

    model_config = ConfigDict(strict=True, extra="forbid")

    template: Annotated[str, AfterValidator(lambda text: pieces(text) and text)]
    target: str = "label"  # Column with the answer.
    labels: list[str | int] = []  # Values of that column; the answer is their index.
    metric: Names = ["accuracy"]  # Tables show the first.
    hub: str = ""  # ``OWNER/NAME@COMMIT``.
    config: str | None = None
    rows: dict[str, PositiveInt] = {}  # Row counts by split on the hub.
    files: dict[str, str] = {}  # Paths by split, relative to the YAML file.
    suites: Names = []
    input_length: PositiveInt = 256
    target_length: PositiveInt = 20


def declared_task(name: str, values: object, folder: Path) -> Task:
    """Task of one entry of a YAML file in ``folder``; raises ConfigError or ValidationError."""
    entry = Declaration.model_validate(values)
    by_split = entry.files or entry.rows
    splits = tuple(split for split in SPLITS if split in by_split)
    files = {key: Path(os.path.normpath(folder / file)) for key, file in entry.files.items()}
    for failed, message in (
        (bool(entry.files) == bool(entry.hub) or bool(entry.hub) != bool(entry.rows),
         "give it either files, or hub and rows"),
        (splits not in RULES or by_split.keys() > {*splits},
         f"has the splits {', '.join(by_split)}: give train, and validation, test or both"),
        (not all(file.is_relative_to(folder) for file in files.values()),
         f"its files must lie in {folder}"),
        (len({str(label).strip() for label in entry.labels}) < len(entry.labels),
         "has a label twice"),
        (entry.config and not NAME.fullmatch(entry.config), f"config {entry.config!r} is no name"),
    ):  # fmt: skip
        if failed:
            raise ConfigError(message)
    scorers = {name for name, metric in METRICS.items() if not metric.grouped}
    for scorer in entry.metric:
        if scorer not in scorers:
            raise UnknownNameError("metric", scorer, scorers)
    parts, label_of = pieces(entry.template), partial(class_index, entry.target, entry.labels)
    columns = [column for _, column in parts if column]
    task = make_task(
        name,
        tuple(dict.fromkeys([*columns, entry.target])),
        RULES[splits],
        entry.rows,
        repository=entry.hub,
        splits=splits,
        scorers=tuple(entry.metric),
        texts=partial(_texts, parts, label_of if entry.labels else partial(_text, entry.target)),
        labels=tuple(map(str, range(len(entry.labels)))) or None,
        label_of=label_of if entry.labels else None,
        suites=tuple(entry.suites),
        # A digest of the declaration, so that any change gives runs new ids.
        version=int(sha256(entry.model_dump_json().encode()).hexdigest()[:12], 16),
        **entry.model_dump(include={"config", "input_length", "target_length"}),
    )
    return replace(task, hub=replace(task.hub, path=str(folder), files=files)) if files else task


def _texts(
    parts: list[tuple[str, str | None]], answer: Callable[[Row], object], row: Row, training: bool
) -> list[TextPair]:
    """The single example of a row."""
    source = "".join(text + (_text(column, row) if column else "") for text, column in parts)
    return [TextPair(source, str(answer(row)))]


def _text(column: str, row: Row) -> str:
    """A text or number of a row, as text."""
    value: Any = row.get(column)
    if not isinstance(value, str | int | float):
        raise bad_value(column, row, "a text or a number")
    return str(value)
