"""Generation from structured input: E2E, CommonGen and WebNLG, with several references each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from bench.errors import DataError
from bench.tasks.catalog.common import Repository
from bench.tasks.task import PARQUET_BRANCH, Row, SplitRule, Task, TextPair
from bench.tasks.text import string, strings

_BLEU_FIRST = ("bleu", "rougeL", "rouge1", "rouge2", "meteor")
_ROUGE_FIRST = ("rougeL", "rouge1", "rouge2", "bleu", "meteor")


def joined(column: str, separator: str, row: Row) -> str:
    """A column of lists, its items in one string."""
    return separator.join(strings(column, row))


def row_target(column: str, row: Row) -> list[str]:
    """The row's own target as its only reference."""
    return [string(column, row)]


def listed_references(column: str, fallback: str, row: Row) -> list[str]:
    """The references that the row lists, or its own target where it lists none."""
    return strings(column, row) if row[column] else row_target(fallback, row)


def generation_pairs(
    shown: str,
    content: Callable[[Row], str],
    target_column: str,
    references: Callable[[Row], list[str]],
    row: Row,
    training: bool,
) -> list[TextPair]:
    """One example per row; rows of equal source are joined in evaluation by whoever reads them."""
    target = string(target_column, row)
    if not target:
        raise DataError(
            f"column {target_column!r} is empty; use a split whose references are public"
        )
    return [TextPair(f"{shown}: {content(row)}", target, tuple(references(row)))]


def generation(
    name: str,
    repository: Repository,
    *,
    config: str | None,
    rows: Mapping[str, int],
    split_rule: SplitRule,
    columns: tuple[str, ...],
    shown: str,
    content: Callable[[Row], str],
    target: str,
    references: Callable[[Row], list[str]] | None = None,
    metrics: tuple[str, ...] = _ROUGE_FIRST,
) -> Task:
    """A task that puts structured input into words.

    Args:
        name: on the command line and in the source text.
        repository: where the hub keeps it.
        config: configuration in the repository.
        rows: expected row count by official split.
        split_rule: how validation and test come about.
        columns: columns read.
        shown: name of the input in the source text.
        content: writes the input.
        target: column of the text to write.
        references: reads the texts to score against; by default the target.
        metrics: metric names, the table's first.
    """
    return Task(
        name=name,
        published_name=name,
        hub=repository.source(config, columns, split_rule, rows),
        texts=partial(
            generation_pairs, shown, content, target, references or partial(row_target, target)
        ),
        labels=None,
        metrics=metrics,
        split_rule=split_rule,
        input_length=128,
        target_length=128,
        group_by_source=True,
        suites=("nlg",),
        scorers=("bleu", "rouge", "meteor"),
    )


E2E = generation(
    "e2e",
    Repository("tuetschek/e2e_nlg", PARQUET_BRANCH),
    config=None,
    rows={"train": 42061, "validation": 4672, "test": 4693},
    split_rule="official",
    columns=("meaning_representation", "human_reference"),
    shown="meaning",
    content=partial(string, "meaning_representation"),
    target="human_reference",
    metrics=_BLEU_FIRST,
)

COMMON_GEN = generation(
    "common_gen",
    Repository("allenai/common_gen", PARQUET_BRANCH),
    config=None,
    rows={"train": 67389, "validation": 4018, "test": 1497},
    # The test split has no public references.
    split_rule="hold-out-train",
    columns=("concepts", "target"),
    shown="concepts",
    content=partial(joined, "concepts", ", "),
    target="target",
)

WEB_NLG = generation(
    "web_nlg",
    Repository("GEM/web_nlg", PARQUET_BRANCH),
    config="en",
    rows={"train": 35426, "validation": 1667, "test": 1779},
    split_rule="official",
    columns=("input", "target", "references"),
    shown="triples",
    content=partial(joined, "input", " ; "),
    target="target",
    references=partial(listed_references, "references", "target"),
)

TASKS = (E2E, COMMON_GEN, WEB_NLG)
