"""Generation from structured input, with several references: E2E, CommonGen and WebNLG."""

from __future__ import annotations

from functools import partial

from bench.errors import DataError
from bench.tasks.base import PARQUET_BRANCH, Row, TextPair, make_task, read, strings
from bench.tasks.generation import PUBLISHED


def generation_texts(
    label: str, column: str, separator: str, target: str, row: Row, training: bool
) -> list[TextPair]:
    """One example; with ``separator``, the input is a list that it joins."""
    content = separator.join(strings(column, row)) if separator else read(column, row, str)
    text = read(target, row, str)
    if not text:
        raise DataError(f"column {target!r} is empty; use a split with public references")
    # Training rows of WebNLG list no references.
    references = strings("references", row) if row.get("references") else ()
    return [TextPair(f"{label}: {content}", text, references)]


SCORERS = ("bleu_published", "rouge_published", "published_first")

generation = partial(
    make_task,
    scorers=("rouge", "bleu", "meteor", *SCORERS),
    # Without METEOR, so that checkpoints do not depend on whether WordNet is installed.
    selection_metrics=PUBLISHED,
    input_length=128,
    target_length=128,
    group_by_source=True,
    suites=("nlg",),
    version=2,
)

# Name, columns, split rule, rows of train, validation and test.
TASKS = (
    generation(
        "e2e",
        ("meaning_representation", "human_reference"),
        "official",
        (42061, 4672, 4693),
        texts=partial(generation_texts, "meaning", "meaning_representation", "", "human_reference"),
        scorers=("bleu", "rouge", "meteor", *SCORERS),
        repository=f"tuetschek/e2e_nlg@{PARQUET_BRANCH}",
    ),
    generation(
        # The test split has no public references.
        "common_gen",
        ("concepts", "target"),
        "hold-out-train",
        (67389, 4018, 1497),
        texts=partial(generation_texts, "concepts", "concepts", ", ", "target"),
        repository=f"allenai/common_gen@{PARQUET_BRANCH}",
    ),
    generation(
        "web_nlg",
        ("input", "target", "references"),
        "official",
        (35426, 1667, 1779),
        texts=partial(generation_texts, "triples", "input", " ; ", "target"),
        repository=f"GEM/web_nlg@{PARQUET_BRANCH}",
        config="en",
    ),
)
