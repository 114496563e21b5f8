"""From a maker of random examples to splits: seeded, free of duplicates, disjoint for any size.

Each example belongs to one split by the hash of its own text, whatever seed drew it. So two splits
share nothing at any size, and text drawn from ``train`` with another seed (to pretrain on, say)
never meets a validation or test example.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from bench.errors import DataError

Row = dict[str, object]
"""One example in the hub's columns."""

BUCKETS = 10
TRAIN_BUCKETS = 6
PATIENCE = 3000
"""Draws without a new example after which a task counts as exhausted."""


@dataclass(frozen=True)
class Sampler:
    """How the examples of one task are made.

    Attributes:
        make: draws one group of rows that belong together (most tasks: one row).
        sizes: default number of rows by official split, the training split first.
        key: the columns that say whether two groups are the same example.
        number: extra identifying columns of a row, from (row, split, index of group, index of row).
        noise: share of training rows whose label is corrupted, as annotators err in the real data.
        corrupt: changes the label of a row to a wrong one.
    """

    make: Callable[[Random], Sequence[Row]]
    sizes: Mapping[str, int]
    key: tuple[str, ...]
    number: Callable[[Row, str, int, int], Row]
    noise: float = 0.0
    corrupt: Callable[[Row, Random], None] | None = None


def numbered(row: Row, split: str, group: int, index: int) -> Row:
    """The running number that GLUE and SuperGLUE tasks carry."""
    return {"idx": index}


def unnumbered(row: Row, split: str, group: int, index: int) -> Row:
    """No identifying column."""
    return {}


def wrong_label(labels: int) -> Callable[[Row, Random], None]:
    """A corruption that replaces the label by another of ``labels`` classes."""

    def corrupt(row: Row, rng: Random) -> None:
        row["label"] = rng.choice([label for label in range(labels) if label != row["label"]])

    return corrupt


def draw(task: str, sampler: Sampler, split: str, rows: int, seed: int) -> list[Row]:
    """Draw ``rows`` rows of one split; fewer rows are a prefix of more.

    Raises:
        DataError: the world holds no further distinct example for the split.
    """
    splits = tuple(sampler.sizes)
    buckets = _buckets(splits, split)
    rng = Random(seeded(f"{task}|{split}", seed))
    seen: set[int] = set()
    drawn: list[Row] = []
    misses = 0
    while len(drawn) < rows:
        group = sampler.make(rng)
        key = _identity(task, sampler, group[0])
        if key in seen or key % BUCKETS not in buckets:
            misses += 1
            if misses > PATIENCE:
                raise DataError(
                    f"samples of {task} {split}: only {len(drawn)} distinct rows of {rows} exist; "
                    "ask for fewer"
                )
            continue
        misses = 0
        seen.add(key)
        for row in group:
            if split == splits[0] and sampler.corrupt and rng.random() < sampler.noise:
                sampler.corrupt(row, rng)
            drawn.append(row | sampler.number(row, split, len(seen) - 1, len(drawn)))
    return drawn[:rows]


def stream(task: str, sampler: Sampler, seed: int) -> Iterator[Row]:
    """Endless training rows, duplicates and all, without label noise."""
    rng = Random(seeded(f"{task}|stream", seed))
    while True:
        group = sampler.make(rng)
        if is_training(task, sampler, group[0]):
            yield from group


def is_training(task: str, sampler: Sampler, row: Row) -> bool:
    """Whether an example, whoever made it, lies on the training side: in no evaluation split."""
    buckets = _buckets(tuple(sampler.sizes), next(iter(sampler.sizes)))
    return _identity(task, sampler, row) % BUCKETS in buckets


def _buckets(splits: Sequence[str], split: str) -> range:
    """Training has the first buckets; the other splits share the rest evenly."""
    if split == splits[0]:
        return range(TRAIN_BUCKETS)
    share = (BUCKETS - TRAIN_BUCKETS) // (len(splits) - 1)
    start = TRAIN_BUCKETS + share * (splits.index(split) - 1)
    return range(start, start + share)


def _identity(task: str, sampler: Sampler, row: Row) -> int:
    """A number for the example, the same whichever of two texts comes first."""
    return _integer("|".join([task, *sorted(str(row[column]) for column in sampler.key)]))


def seeded(name: str, seed: int) -> int:
    """The state that the random stream ``name`` starts from."""
    return _integer(f"{seed}|{name}")


def _integer(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
