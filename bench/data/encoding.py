"""Encodes rows as token ids in memory, and makes batches.

The rows of a step depend only on the seed and the step number, so that runs can be resumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache, partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bench.data.sources import OFFICIAL_ROW, DataSource, read_split
from bench.data.splits import TaskRows, load_splits, random_order, sample_shots
from bench.seeding import generator
from bench.tasks import get_task
from bench.tasks.base import Row, Task, TextPair
from bench.tasks.metrics import PART

if TYPE_CHECKING:
    import datasets
    import torch

    from bench.method import Batch, SourceStage

MAX_MEGABATCH = 50  # Maximum number of batches sorted by length together, as in transformers.

Example = dict[str, list[int]]  # ``input_ids`` and ``labels``, without padding.


class TextEncoder(Protocol):
    """Interface of an encoder from texts to the token ids of a language model."""

    pad_id: int

    def encode(
        self, sources: list[str], targets: list[str], input_length: int, target_length: int
    ) -> Mapping[str, list[list[int]]]: ...


def _column(name: str) -> cached_property[list[Any]]:
    return cached_property(lambda examples: examples.table[name][:])


class EncodedExamples:
    """Encoded examples as an Arrow table; columns become lists on first use."""

    lengths: cached_property[list[int]] = _column("length")  # tokens of each input
    references: cached_property[list[list[str]]] = _column("references")  # all references
    groups: cached_property[list[str | None]] = _column("group")  # of examples scored together
    rows: cached_property[list[int]] = _column("row")  # official row, the first of joined rows
    truncated: cached_property[list[bool]] = _column("truncated")  # whether the input was cut

    def __init__(self, table: datasets.Dataset, pad_id: int) -> None:
        self.table, self.pad_id = table, pad_id
        self._ids = table.select_columns(["input_ids", "labels"]).with_format("arrow")

    def __len__(self) -> int:
        return len(self.table)

    def examples(self, indices: Sequence[int]) -> list[Example]:
        """Token ids of the given examples."""
        rows: list[Example] = self._ids[list(indices)].to_pylist()
        return rows

    def batch(self, indices: Sequence[int]) -> Batch:
        """The given examples, padded to the longest of them."""
        return collate(self.examples(indices), self.pad_id)


@dataclass
class Examples:
    """Rows, labels and encoded examples of tasks, full splits loaded once per process."""

    source: DataSource
    encoder: TextEncoder
    data_seed: int
    input_length: int | None = None  # Limits, as in bench.config.RunConfig.
    validation_rows: int | None = None
    train_rows: int | None = None
    test_rows: int | None = None

    def __post_init__(self) -> None:
        self.rows: Callable[[str], TaskRows] = cache(self._rows)
        self.labels: Callable[[str], list[str]] = cache(self._labels)
        self.evaluation: Callable[[str, str], EncodedExamples] = cache(self._evaluation)
        self._full: Callable[[str], EncodedExamples] = cache(partial(self._encode, "train"))

    def task(self, name: str) -> Task:
        """Task with the cap on its input length."""
        task = get_task(name)
        cap = self.input_length or task.input_length
        return replace(task, input_length=min(task.input_length, cap))

    def training(self, name: str, shots: int | None, seed: int) -> EncodedExamples:
        """Training examples of a run; ``shots=None`` means all."""
        if shots is None:
            return self._full(name)
        task, rows = self.task(name), self.rows(name).train
        rows = rows.select(sample_shots(task, rows, shots, seed))
        return encode(rows, task, self.encoder, training=True)

    def notes(self, name: str) -> list[str]:
        """Remarks on the rows for the record."""
        notes = list(self.rows(name).notes)
        for split, done in (("validation", "validated"), ("test", "tested")):
            used, full = len(self.used(name, split)), len(getattr(self.rows(name), split))
            if used < full:
                notes.append(f"{done} on {used} of {full} rows")
        if truncated := sum(self.evaluation(name, "test").truncated):
            notes.append(f"{truncated} test inputs cut at {self.task(name).input_length} tokens")
        return notes

    def used(self, name: str, split: str) -> datasets.Dataset:
        """Rows of a split within its limit: the first in validation, a sample in train and test."""
        rows: datasets.Dataset = getattr(self.rows(name), split)
        limit: int | None = getattr(self, f"{split}_rows")
        if limit is None or limit >= len(rows):
            return rows
        if split != "validation":
            rows = rows.select(random_order(len(rows), f"{split} rows", name, self.data_seed))
        if split == "train":
            return rows.select(range(limit))
        return leading_rows(rows, self.task(name), limit)

    def _rows(self, name: str) -> TaskRows:
        return load_splits(self.source, self.task(name), self.data_seed)

    def _encode(self, split: str, name: str) -> EncodedExamples:
        return encode(self.used(name, split), self.task(name), self.encoder, split == "train")

    def _evaluation(self, name: str, split: str) -> EncodedExamples:
        task, splits, examples = self.task(name), self.rows(name), self._encode(split, name)
        origin = getattr(splits, split).info.description
        if any(examples.groups):  # Mark groups that have more examples in the official split.
            counts, official_counts = Counter(examples.groups), Counter[str | None]()
            for rows in (splits.train, splits.validation, splits.test):
                if rows.info.description == origin:
                    for pairs in read_split(rows, lambda row: task.to_text(row, False)):
                        official_counts.update(pair.group for pair in pairs)
            examples.groups = [
                group + PART if group and counts[group] < official_counts[group] else group
                for group in examples.groups
            ]
        return examples

    def _labels(self, name: str) -> list[str]:
        """Label of each training row; empty for a task without labels."""
        task, rows = self.task(name), self.rows(name).train
        if task.labels is None or task.label_of is None:
            return []
        return [task.labels[index] for index in read_split(rows, task.label_of)]


def leading_rows(rows: datasets.Dataset, task: Task, number: int) -> datasets.Dataset:
    """First ``number`` rows; for tasks that join rows, also later rows with equal sources."""
    if not task.group_by_source:
        return rows.select(range(number))
    examples = read_split(rows, lambda row: task.to_text(row, False))
    sources = [{pair.source for pair in pairs} for pairs in examples]
    leading = set[str]().union(*sources[:number])
    return rows.select([index for index, texts in enumerate(sources) if texts & leading])


def encode(
    rows: datasets.Dataset, task: Task, encoder: TextEncoder, training: bool
) -> EncodedExamples:
    """Encode rows of a source; in training, a row may become several examples (one per answer).

    Evaluation joins rows with equal sources and their references if ``task.group_by_source``.
    """
    import datasets
    import pyarrow as pa

    def pairs_of(row: Row) -> list[tuple[int, TextPair]]:
        return [(row[OFFICIAL_ROW], pair) for pair in task.to_text(row, training)]

    pairs: Iterator[tuple[int, TextPair]] = chain.from_iterable(read_split(rows, pairs_of))
    if task.group_by_source and not training:
        joined: dict[str, tuple[int, TextPair]] = {}
        for row, pair in pairs:
            first_row, first = joined.get(pair.source, (row, pair))
            references = tuple(dict.fromkeys([*first.references, *pair.references]))
            joined[pair.source] = first_row, replace(first, references=references)
        pairs = iter(joined.values())
    ids, integer, text = pa.list_(pa.int32()), pa.int32(), pa.string()
    columns = [("input_ids", ids), ("labels", ids), ("length", integer), ("row", integer)]
    columns += [("group", text), ("references", pa.list_(text)), ("truncated", pa.bool_())]
    schema = pa.schema(columns)
    tables = [schema.empty_table()]
    while batch := list(islice(pairs, 1000)):
        tables.append(pa.table(_encode_pairs(batch, task, encoder), schema))
    # An explicit fingerprint saves datasets from hashing all rows.
    table = datasets.Dataset(pa.concat_tables(tables), fingerprint="encoded")
    return EncodedExamples(table, encoder.pad_id)


def _encode_pairs(
    pairs: Sequence[tuple[int, TextPair]], task: Task, encoder: TextEncoder
) -> dict[str, list[Any]]:
    """Columns of a batch of encoded examples."""
    sources, targets = [pair.source for _, pair in pairs], [pair.target for _, pair in pairs]
    ids = encoder.encode(sources, targets, task.input_length, task.target_length)
    lengths = [len(tokens) for tokens in ids["input_ids"]]
    truncated = [False] * len(pairs)
    # Truncated inputs become longer if one more token is allowed.
    if full := [i for i, length in enumerate(lengths) if length >= task.input_length]:
        texts = [sources[i] for i in full], [targets[i] for i in full]
        longer = encoder.encode(*texts, task.input_length + 1, task.target_length)["input_ids"]
        for i, tokens in zip(full, longer, strict=True):
            truncated[i] = len(tokens) > lengths[i]
    return {
        "input_ids": ids["input_ids"],
        "labels": ids["labels"],
        "length": lengths,
        "row": [row for row, _ in pairs],
        "group": [pair.group for _, pair in pairs],
        "references": [list(pair.references) for _, pair in pairs],
        "truncated": truncated,
    }


def collate(
    examples: Sequence[Example], pad_id: int, task_ids: Sequence[int] | None = None
) -> Batch:
    """Pad examples on the right to the longest of them; ``task_ids`` for source stages."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from bench.method import IGNORED_LABEL, Batch

    inputs = [torch.tensor(example["input_ids"], dtype=torch.long) for example in examples]
    labels = [torch.tensor(example["labels"], dtype=torch.long) for example in examples]
    return Batch(
        input_ids=pad_sequence(inputs, batch_first=True, padding_value=pad_id),
        mask=pad_sequence([torch.ones_like(ids) for ids in inputs], batch_first=True),
        labels=pad_sequence(labels, batch_first=True, padding_value=IGNORED_LABEL),
        task_ids=None if task_ids is None else torch.tensor(list(task_ids)),
    )


@dataclass
class TaskBatches:
    """Training batches of one task; each example occurs once per epoch, in random order.

    With ``bucketed``, megabatches of at most :data:`MAX_MEGABATCH` batches (at least four per epoch
    if possible) are sorted by length, and their batches are shuffled.
    """

    encoded: EncodedExamples
    batch_size: int
    seed: int
    device: torch.device
    batching: Literal["random", "bucketed"] = "random"

    def __post_init__(self) -> None:
        self.examples = len(self.encoded)
        self._per_epoch = -(-self.examples // self.batch_size)
        self._epoch = lru_cache(maxsize=1)(self._batches)

    def seen(self, steps: int) -> int:
        """Examples in the first ``steps`` batches."""
        epochs, rest = divmod(steps, self._per_epoch)
        return epochs * self.examples + rest * self.batch_size

    def indices(self, step: int) -> list[int]:
        """Indices of the examples of optimiser step ``step`` (from 1)."""
        epoch, batch = divmod(step - 1, self._per_epoch)
        return self._epoch(epoch)[batch].tolist()

    def batch(self, step: int) -> Batch:
        """The batch of optimiser step ``step`` (from 1)."""
        return self.encoded.batch(self.indices(step)).to(self.device)

    def _batches(self, epoch: int) -> Sequence[torch.Tensor]:
        import torch

        size, full = self.batch_size, self.examples // self.batch_size
        order = torch.randperm(self.examples, generator=generator("epoch", self.seed, epoch))
        if self.batching == "random":
            return torch.split(order, size)
        lengths, batches = torch.tensor(self.encoded.lengths), list[torch.Tensor]()
        megabatch = size * max(1, min(full // 4, MAX_MEGABATCH))
        for rows in torch.split(order[: full * size], megabatch) if full else ():
            # A stable sort keeps rows of equal length in their random order.
            batches += torch.split(rows[lengths[rows].argsort(stable=True)], size)
        shuffled = torch.randperm(full, generator=generator("buckets", self.seed, epoch))
        return [batches[index] for index in shuffled] + [order[full * size :]]


@dataclass
class MixtureBatches:
    """Training batches over all source tasks; tasks (by the stage) and rows are drawn at random."""

    sources: Sequence[EncodedExamples]
    stage: SourceStage
    batch_size: int
    seed: int
    device: torch.device

    @property
    def examples(self) -> int:
        return sum(map(len, self.sources))

    def seen(self, steps: int) -> int:
        return steps * self.batch_size

    def batch(self, step: int) -> Batch:
        import torch

        tasks = self.stage.sample_tasks(self.batch_size, generator("source tasks", self.seed, step))
        draw = generator("mixture rows", self.seed, step)
        sources = [self.sources[task] for task in tasks]
        rows = [int(torch.randint(len(source), (), generator=draw)) for source in sources]
        examples = [s.examples([row])[0] for s, row in zip(sources, rows, strict=True)]
        return collate(examples, self.sources[0].pad_id, tasks).to(self.device)


def evaluation_batches(
    examples: EncodedExamples, batch_size: int
) -> Iterator[tuple[list[int], Batch]]:
    """Yield indices and batches, longest inputs first (less padding, early memory errors)."""
    order = sorted(range(len(examples)), key=lambda i: -examples.lengths[i])
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        yield indices, examples.batch(indices)
