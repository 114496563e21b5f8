"""Makes the bundled samples: small English datasets for all 26 tasks, from one sample world.

They are not the real data, only of its shape: the hub's columns and types, labels that follow from
the text, and knowledge that carries over from task to task. See ``README.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bench.errors import DataError, UnknownNameError
from tools.sample_world.registry import SAMPLERS
from tools.sample_world.sampling import Row, draw

SIZES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {task: MappingProxyType(dict(sampler.sizes)) for task, sampler in SAMPLERS.items()}
)
"""Default number of rows by task and official split."""


def generate(task: str, split: str, rows: int, seed: int = 0) -> list[Row]:
    """Make sample rows of a task in the hub's columns.

    Splits share no example, whatever their sizes and seeds; within a split none occurs twice, and
    asking for fewer rows gives a prefix of asking for more.

    Args:
        task: name of one of the 26 tasks.
        split: one of the task's splits in :data:`SIZES`.
        rows: how many.
        seed: another seed gives other rows of the same split.

    Raises:
        UnknownNameError: no such task or split.
        DataError: ``rows`` is negative, or the world holds fewer distinct examples.
    """
    if task not in SAMPLERS:
        raise UnknownNameError("task", task, SAMPLERS)
    sampler = SAMPLERS[task]
    if split not in sampler.sizes:
        raise UnknownNameError(f"split of the samples of {task}", split, sampler.sizes)
    if rows < 0:
        raise DataError(f"samples of {task} {split}: cannot make {rows} rows; ask for 0 or more")
    return draw(task, sampler, split, rows, seed)


__all__ = ["SIZES", "generate"]
