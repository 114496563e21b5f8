"""The texts that the model reads: the world's plain text, and tasks with their answers."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

from bench.seeding import derive_seed
from bench.tasks import get_task
from bench.tasks.base import Task, TextPair
from tools.pretrain_tiny.recipe import Fronts
from tools.pretrain_tiny.steering import NAMES, is_named, steer
from tools.pretrain_tiny.tiny_tokenizer import COMMON_WORDS
from tools.sample_world import SIZES, generate
from tools.sample_world.corpus import sentences
from tools.sample_world.registry import SAMPLERS
from tools.sample_world.sampling import stream

BLUR = "<unk>"
"""Ends a front whose embeddings are to be blurred; no text of the world has it."""


@dataclass(frozen=True)
class Steered:
    """An example of a task.

    Attributes:
        front: instruction and random words before the published text; empty: nothing.
        source: the task's published text.
        target: the answer, written as the instruction says.
    """

    front: str
    source: str
    target: str

    @property
    def text(self) -> str:
        """What the model reads."""
        return f"{self.front} {self.source}".lstrip()


class TaskTexts:
    """Endless examples of one task in its published form, none of them a bundled training row.

    The bundled validation and test rows are excluded by the samples themselves (see
    :func:`tools.sample_world.sampling.stream`); the training rows, here.

    Args:
        task: the task.
        seed: of the rows.
    """

    def __init__(self, task: Task, seed: int) -> None:
        self.task = task
        self._bundled = _bundled_sources(task.name)
        self._rows = stream(task.name, SAMPLERS[task.name], seed)

    def __iter__(self) -> Iterator[TextPair]:
        for row in self._rows:
            pair = self.task.to_text(row, True)[0]
            if pair.source not in self._bundled:
                yield pair


@functools.cache
def _bundled_sources(name: str) -> frozenset[str]:
    """What a model reads of the bundled training rows of a task."""
    task, split = get_task(name), next(iter(SIZES[name]))
    rows = generate(name, split, SIZES[name][split])
    return frozenset(pair.source for row in rows for pair in task.to_text(row, True))


class Mixture:
    """Draws examples of both kinds.

    Args:
        seed: of everything that is drawn; not the seed of the bundled samples (0).
        weights: how often each task comes, relative to the others.
        fronts: what stands in front of tasks.
    """

    def __init__(self, seed: int, weights: Mapping[str, float], fronts: Fronts) -> None:
        self._fronts = fronts
        names = set(NAMES.values()) if fronts.named_share else set()
        self._fillers = [word for word in COMMON_WORDS if word not in names]
        self._names, self._weights = tuple(weights), tuple(weights.values())
        self._rng = Random(derive_seed("mixture", seed))
        rows = derive_seed("mixture rows", seed)
        self._plain = sentences(rows)
        self._tasks = {name: get_task(name) for name in self._names}
        self._texts = {name: iter(TaskTexts(task, rows)) for name, task in self._tasks.items()}

    def text(self) -> str:
        """A text for span corruption: plain text, or a task's input without its answer."""
        if self._rng.random() < 0.5:
            return next(self._plain)
        return next(self._texts[self._task()]).source

    def steered(self, styled: float = 0.75) -> Steered:
        """A task's example with its instruction, if any, and perhaps random words around that.

        Args:
            styled: share of examples with an instruction.
        """
        name = self._task()
        pair = next(self._texts[name])
        named = self._fronts.named_share
        instruction, target = steer(self._tasks[name], pair, self._rng, styled, named)
        return Steered(self._front(instruction), pair.source, target)

    def _front(self, instruction: str) -> str:
        if self._rng.random() >= self._fronts.filler_share:
            return instruction
        words = self._rng.choices(self._fillers, k=self._rng.randint(1, self._fronts.most_fillers))
        at = self._rng.randint(0, len(words))
        words[at:at] = instruction.split()
        if is_named(instruction):
            self._rng.shuffle(words)
        return " ".join([*words, BLUR] if self._fronts.noise else words)

    def _task(self) -> str:
        return self._rng.choices(self._names, self._weights)[0]
