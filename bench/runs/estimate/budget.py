"""What fits into a budget of time, and the runs that do just that."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.config import RunConfig, Shots
from bench.errors import ConfigError
from bench.runs.cells import Cell
from bench.runs.estimate.schedule import Bound, Unit

ORDER = "whole seeds first; in a seed by shots, then by method, then by task, as the run names them"
"""In which cells are taken."""

_PARTS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_DURATION = re.compile("".join(rf"(?:{_NUMBER}{unit})?" for unit in _PARTS))


def parse_duration(text: str) -> float:
    """Seconds of a time such as ``8h``, ``30m``, ``90s``, ``2d`` or ``1h30m``.

    Raises:
        ConfigError: it is none, or it is zero.
    """
    match = _DURATION.fullmatch(text.strip())
    numbers = match.groups() if match else ()
    seconds = sum(
        float(number) * size
        for number, size in zip(numbers, _PARTS.values(), strict=False)
        if number is not None
    )
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"--budget {text!r}: expected a time such as 8h, 30m, 90s or 1h30m")
    return seconds


def in_order(cells: Iterable[Cell], config: RunConfig) -> list[Cell]:
    """Cells in the order in which a budget takes them."""
    labels = [config.method_spec(method).label for method in config.methods]
    tasks = config.task_names()

    def place(cell: Cell) -> tuple[int, ...]:
        training = cell.training
        return (
            config.seeds.index(training.seed),
            config.shots.index(_shots(cell)),
            labels.index(training.method.label),
            tasks.index(training.task),
        )

    return sorted(cells, key=place)


def pick(
    cells: Sequence[Cell],
    units: Callable[[Sequence[Cell]], Sequence[Unit]],
    workers: int,
    seconds: float,
) -> list[Cell]:
    """The first cells that fit together, up to the first that does not.

    Nothing behind that one is squeezed in, so a larger budget never takes fewer cells.

    Args:
        cells: in the order in which they are taken.
        units: gives the work of some first cells of these, each prompt once.
        workers: that share the work.
        seconds: the budget, without the start of the processes.
    """
    bound = Bound(workers)
    picked: list[Cell] = []
    added = 0
    everything = units(cells)
    ends = _ends(cells, everything)
    for cell, end in zip(cells, ends, strict=True):
        more = everything[added:end]
        if bound.with_units(more) > seconds:
            break
        bound.add(more)
        picked.append(cell)
        added = end
    return picked


def _ends(cells: Sequence[Cell], units: Sequence[Unit]) -> list[int]:
    """Behind which unit each cell is done."""
    places = {unit.name: index for index, unit in enumerate(units)}
    return [places[cell.digest] + 1 for cell in cells]


@dataclass(frozen=True)
class Block:
    """Cells that one run does: all combinations.

    Attributes:
        tasks: names.
        methods: as the configuration names them.
        shots: sizes of few-shot samples, or ``full``.
        seeds: of the run.
    """

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    shots: tuple[Shots, ...]
    seeds: tuple[int, ...]

    def options(self) -> list[str]:
        """As options of ``bench run``."""
        words = [word for task in self.tasks for word in ("--task", task)]
        words += [word for method in self.methods for word in ("--method", method)]
        words += ["--shots", ",".join(map(str, self.shots))]
        return [*words, "--seeds", ",".join(map(str, self.seeds))]


def blocks(cells: Iterable[Cell], config: RunConfig) -> list[Block]:
    """Few runs that do just these cells, each once, in their order."""
    names = {config.method_spec(method).label: method for method in config.methods}
    rows: dict[tuple[int, Shots, str], list[str]] = {}
    for cell in cells:
        row = cell.training.seed, _shots(cell), names[cell.training.method.label]
        rows.setdefault(row, []).append(cell.training.task)
    found = [
        Block(tuple(tasks), (method,), (shots,), (seed,))
        for (seed, shots, method), tasks in rows.items()
    ]
    for axis in ("methods", "shots", "seeds"):
        found = _joined(found, axis)
    return found


def _joined(found: Sequence[Block], axis: str) -> list[Block]:
    """Blocks that differ along one axis alone, as one."""
    groups: dict[tuple[object, ...], Block] = {}
    for block in found:
        values = vars(block)
        key = tuple(value for name, value in values.items() if name != axis)
        if key in groups:
            block = Block(**{**values, axis: vars(groups[key])[axis] + values[axis]})
        groups[key] = block
    return list(groups.values())


def _shots(cell: Cell) -> Shots:
    return "full" if cell.training.shots is None else cell.training.shots


__all__ = ["ORDER", "Block", "blocks", "in_order", "parse_duration", "pick"]
