"""From rows to token ids: ``datasets.map`` with a cache that every process shares.

The cache goes by digests of the rows, the tasks' code and the encoder, never by file times.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import bench.tasks
from bench.data.batches import Example, collate
from bench.data.rows import (
    OFFICIAL_ROW,
    blaming,
    cache_folder,
    digest,
    number_rows,
    quiet_datasets,
    rows_of,
)
from bench.protocol import Batch
from bench.tasks.task import Task, TextPair

if TYPE_CHECKING:
    import datasets

_LAYOUT = "1"
"""Number of the stored layout: a change of what is stored must change it."""


class TextEncoder(Protocol):
    """Turns texts into token ids the way one language model reads and writes them."""

    @property
    def fingerprint(self) -> str:
        """Digest of everything the ids depend on."""
        ...

    @property
    def pad_id(self) -> int:
        """Id that fills up shorter inputs of a batch."""
        ...

    def encode(
        self, sources: list[str], targets: list[str], input_length: int, target_length: int
    ) -> dict[str, list[list[int]]]:
        """Encode pairs of texts, cut at the given numbers of tokens, without padding.

        Returns:
            ``input_ids`` and ``labels``, one list of ids per pair.
        """
        ...


class EncodedExamples:
    """Encoded examples on disk, with the texts they came from.

    Only what is asked for is read into memory: ids by batch, the other columns as a whole when
    evaluation wants them.

    Args:
        table: one line per example.
        pad_id: of the encoder.
    """

    def __init__(self, table: datasets.Dataset, pad_id: int) -> None:
        self.pad_id = pad_id
        self._table = table
        self._ids = table.select_columns(["input_ids", "labels"])

    def __len__(self) -> int:
        return len(self._table)

    def examples(self, indices: Sequence[int]) -> list[Example]:
        """Token ids of the given examples."""
        return [cast(Example, row) for row in rows_of(self._ids[list(indices)])]

    def batch(self, indices: Sequence[int]) -> Batch:
        """The given examples, padded to the longest of them."""
        return collate(self.examples(indices), self.pad_id)

    @functools.cached_property
    def lengths(self) -> list[int]:
        """Tokens of each input."""
        return cast("list[int]", self._table["length"][:])

    @functools.cached_property
    def truncated(self) -> int:
        """How many inputs were cut."""
        return sum(self._table["truncated"][:])

    @functools.cached_property
    def sources(self) -> list[str]:
        """What the model reads, as text."""
        return cast("list[str]", self._table["source"][:])

    @functools.cached_property
    def targets(self) -> list[str]:
        """What the model is to write, as text."""
        return cast("list[str]", self._table["target"][:])

    @functools.cached_property
    def references(self) -> list[list[str]]:
        """All right answers of each example."""
        return cast("list[list[str]]", self._table["references"][:])

    @functools.cached_property
    def groups(self) -> list[str | None]:
        """What a metric judges together with the example, if anything."""
        return cast("list[str | None]", self._table["group"][:])

    @functools.cached_property
    def rows(self) -> list[int]:
        """Number of each example's row in its official split (of joined rows, the first)."""
        return cast("list[int]", self._table["row"][:])


def encode_examples(
    rows: datasets.Dataset, task: Task, encoder: TextEncoder, training: bool, code: str = ""
) -> EncodedExamples:
    """Encode a task's rows, or read them from the cache where that has been done before.

    A row may give several training examples (one per answer). In evaluation, rows of equal source
    become one example where the task says so (:attr:`Task.group_by_source`), with all their
    references.

    Args:
        rows: of one split, in the hub's columns.
        task: turns rows into texts.
        encoder: turns texts into ids.
        training: whether to train on the examples or to evaluate on them.
        code: digest of the task's own code, if it is none of :mod:`bench.tasks`.

    Raises:
        DataError: a row gives no text (the message names it), or the cache cannot be written.
    """
    quiet_datasets()
    fingerprint = digest(
        _LAYOUT,
        rows._fingerprint,
        task.name,
        _tasks_digest(),
        code,
        task.input_length,
        task.target_length,
        encoder.fingerprint,
        "training" if training else "evaluation",
    )
    join = task.group_by_source and not training
    columns = [*task.hub.columns, OFFICIAL_ROW]
    encode = functools.partial(
        _encode_batch,
        task=task,
        encoder=encoder,
        training=training,
        join=join,
        origin=rows.info.description or task.name,
    )
    table = (
        number_rows(rows)
        .select_columns(columns)
        .map(
            encode,
            batched=True,
            batch_size=None if join else 1000,  # rows to be joined may lie anywhere
            remove_columns=columns,
            features=_features(),
            new_fingerprint=fingerprint,
            cache_file_name=str(cache_folder("encoded") / f"{fingerprint}.arrow"),
            load_from_cache_file=True,
        )
    )
    return EncodedExamples(table, encoder.pad_id)


def leading_rows(rows: datasets.Dataset, task: Task, number: int) -> datasets.Dataset:
    """The first rows of a split, to evaluate on.

    Where evaluation joins rows of equal source (:attr:`Task.group_by_source`), all later rows of
    the same sources come along, so that no input loses some of its references.

    Args:
        rows: of one split, in the hub's columns.
        task: turns rows into texts.
        number: of rows; all of them if there are fewer.

    Raises:
        DataError: a row gives no text (the message names it).
    """
    if number >= len(rows):
        return rows
    chosen = range(number)
    if not task.group_by_source:
        return rows.select(chosen)
    sources = []
    for row in number_rows(rows):
        with blaming(rows.info.description or task.name, row.pop(OFFICIAL_ROW)):
            sources.append({pair.source for pair in task.to_text(row, False)})
    wanted = set[str]().union(*sources[:number])
    behind = (at for at in range(number, len(rows)) if sources[at] & wanted)
    return rows.select([*chosen, *behind])


def _encode_batch(
    columns: dict[str, list[Any]],
    *,
    task: Task,
    encoder: TextEncoder,
    training: bool,
    join: bool,
    origin: str,
) -> dict[str, list[Any]]:
    examples: list[tuple[int, TextPair]] = []
    for row in rows_of(columns):
        number = row.pop(OFFICIAL_ROW)
        with blaming(origin, number):
            examples += [(number, pair) for pair in task.to_text(row, training)]
    if join:
        examples = _join_equal_sources(examples)
    sources = [pair.source for _, pair in examples]
    targets = [pair.target for _, pair in examples]
    ids = encoder.encode(sources, targets, task.input_length, task.target_length)
    return {
        "input_ids": ids["input_ids"],
        "labels": ids["labels"],
        "length": [len(tokens) for tokens in ids["input_ids"]],
        "truncated": _truncated(ids["input_ids"], sources, targets, task, encoder),
        "source": sources,
        "target": targets,
        "references": [list(pair.references) for _, pair in examples],
        "group": [pair.group for _, pair in examples],
        "row": [number for number, _ in examples],
    }


def _join_equal_sources(examples: Iterable[tuple[int, TextPair]]) -> list[tuple[int, TextPair]]:
    first: dict[str, tuple[int, TextPair]] = {}
    references: dict[str, dict[str, None]] = {}
    for number, pair in examples:
        first.setdefault(pair.source, (number, pair))
        references.setdefault(pair.source, {}).update(dict.fromkeys(pair.references))
    return [
        (number, TextPair(source, pair.target, tuple(references[source]), pair.group))
        for source, (number, pair) in first.items()
    ]


def _truncated(
    input_ids: list[list[int]],
    sources: list[str],
    targets: list[str],
    task: Task,
    encoder: TextEncoder,
) -> list[bool]:
    """Whether each input was cut: given room for one more token, a cut input takes it."""
    cut = [False] * len(sources)
    full = [i for i, tokens in enumerate(input_ids) if len(tokens) >= task.input_length]
    if full:
        longer = encoder.encode(
            [sources[i] for i in full],
            [targets[i] for i in full],
            task.input_length + 1,
            task.target_length,
        )["input_ids"]
        for i, tokens in zip(full, longer, strict=True):
            cut[i] = len(tokens) > len(input_ids[i])
    return cut


@functools.lru_cache(maxsize=1)
def _tasks_digest() -> str:
    """Digest of the code that turns rows into texts."""
    folder = Path(bench.tasks.__file__).parent
    return digest(*(file.read_text("utf-8") for file in sorted(folder.rglob("*.py"))))


def _features() -> datasets.Features:
    """The columns of the stored layout."""
    import datasets

    return datasets.Features(
        {
            "input_ids": datasets.List(datasets.Value("int32")),
            "labels": datasets.List(datasets.Value("int32")),
            "length": datasets.Value("int32"),
            "truncated": datasets.Value("bool"),
            "source": datasets.Value("string"),
            "target": datasets.Value("string"),
            "references": datasets.List(datasets.Value("string")),
            "group": datasets.Value("string"),
            "row": datasets.Value("int64"),
        }
    )
