"""Disk that a grid takes in its result folder, from files of finished trainings and cells."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CARD_LISTS = (("result", "curve"), ("result", "history"))
RECORD_LISTS = (("training", "curve"), ("diagnostics", "history"))
"""What grows by one entry at every evaluation, in the card of a prompt and in a record."""

CHECKPOINT_COPIES = 4
"""A checkpoint holds the present state, the best one, and the optimiser's two moments."""


@dataclass(frozen=True)
class FileSize:
    """Bytes of a file: ``base`` and ``each`` for every evaluation."""

    base: float
    each: float

    def at(self, evaluations: float) -> float:
        """Bytes after so many evaluations."""
        return self.base + self.each * evaluations


@dataclass(frozen=True)
class Sizes:
    """Bytes of what is kept, by training kind; kinds that were not seen are as the largest.

    Attributes:
        tensors: of a stored prompt.
        cards: of its card.
        records: of a cell's record.
        answer: of one stored answer.
    """

    tensors: dict[tuple[str, bool], float]
    cards: dict[tuple[str, bool], FileSize]
    records: dict[tuple[str, bool], FileSize]
    answer: float

    def prompt(self, kind: tuple[str, bool], evaluations: int) -> float:
        """Tensors and card of a stored prompt."""
        return self._tensors(kind) + _of(self.cards, kind).at(evaluations)

    def checkpoint(self, kind: tuple[str, bool]) -> float:
        """What lies there while the training runs."""
        return CHECKPOINT_COPIES * self._tensors(kind)

    def record(self, kind: tuple[str, bool], evaluations: int, rows: float) -> float:
        """Record and answers of a cell."""
        return _of(self.records, kind).at(evaluations) + self.answer * rows

    def _tensors(self, kind: tuple[str, bool]) -> float:
        return self.tensors.get(kind, max(self.tensors.values(), default=0.0))


def _of(sizes: dict[tuple[str, bool], FileSize], kind: tuple[str, bool]) -> FileSize:
    if kind in sizes:
        return sizes[kind]
    return max(sizes.values(), key=lambda size: size.base, default=FileSize(0.0, 0.0))


def file_size(path: Path, lists: Iterable[tuple[str, str]]) -> FileSize:
    """How a JSON file grows with evaluations: one more entry in each list is tried on its values.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    data = path.read_bytes()
    values: dict[str, Any] = json.loads(data)
    longer = copy.deepcopy(values)
    entries = 0
    for block, name in lists:
        found = (longer.get(block) or {}).get(name)
        if found:
            entries = entries or len(found)
            found.append(found[-1])
    each = len(_text(longer)) - len(_text(values))
    return FileSize(len(data) - each * entries, each)


def mean_size(sizes: Sequence[FileSize]) -> FileSize:
    """Of several files of one kind."""
    count = len(sizes)
    return FileSize(sum(s.base for s in sizes) / count, sum(s.each for s in sizes) / count)


def _text(values: Any) -> bytes:
    return json.dumps(values, indent=1).encode()
