"""How long units of work take together, one after the other or with several workers."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """A prompt to train or a cell to evaluate.

    Attributes:
        name: digest.
        seconds: of the work itself.
        after: names of the units that come before it; others are done already.
    """

    name: str
    seconds: float
    after: tuple[str, ...] = ()


def makespan(units: Sequence[Unit], workers: int) -> float:
    """Seconds until all is done: a free worker takes the first unit that can be done.

    Args:
        units: each behind those that it needs.
        workers: at least one.
    """
    if workers == 1:
        return sum(unit.seconds for unit in units)
    place = {unit.name: index for index, unit in enumerate(units)}
    waits: list[int] = []
    followers: dict[int, list[int]] = {}
    for index, unit in enumerate(units):
        before = {place[name] for name in unit.after if name in place}
        waits.append(len(before))
        for each in before:
            followers.setdefault(each, []).append(index)
    ready = [index for index, count in enumerate(waits) if count == 0]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            index = heapq.heappop(ready)
            heapq.heappush(running, (now + units[index].seconds, index))
        now, done = heapq.heappop(running)
        for follower in followers.get(done, ()):
            waits[follower] -= 1
            if waits[follower] == 0:
                heapq.heappush(ready, follower)
    return now


class Bound:
    """A time within which several workers finish units that are added one by one.

    With ``W`` seconds of work and a longest chain of ``C``, no worker who takes what can be done
    leaves more than ``C + (W - C) / n`` (Graham 1969, "Bounds on multiprocessing timing
    anomalies"). It only grows as units are added, which the time itself need not.

    Args:
        workers: ``n``.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._work = 0.0
        self._chains: dict[str, float] = {}
        self._longest = 0.0

    def with_units(self, units: Sequence[Unit]) -> float:
        """The bound if these were added."""
        work = self._work + sum(unit.seconds for unit in units)
        longest = max([self._longest, *self._chain(units).values()])
        return longest + (work - longest) / self._workers

    def add(self, units: Sequence[Unit]) -> None:
        """Add units; each behind those that it needs."""
        self._chains |= self._chain(units)
        self._work += sum(unit.seconds for unit in units)
        self._longest = max([self._longest, *(self._chains[unit.name] for unit in units)])

    def _chain(self, units: Sequence[Unit]) -> Mapping[str, float]:
        """Seconds of the longest chain that ends with each unit."""
        chains: dict[str, float] = {}
        for unit in units:
            before = (chains.get(name, self._chains.get(name, 0.0)) for name in unit.after)
            chains[unit.name] = unit.seconds + max(before, default=0.0)
        return chains
