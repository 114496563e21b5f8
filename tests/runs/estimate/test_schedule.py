"""Units of work on several workers, by hand and by what must hold of any schedule."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.runs.estimate.schedule import Bound, Unit, makespan


@st.composite
def graphs(draw: st.DrawFn) -> list[Unit]:
    """Units, each after some of those before it."""
    units: list[Unit] = []
    for index in range(draw(st.integers(1, 14))):
        after = draw(st.sets(st.sampled_from(units), max_size=3)) if units else set()
        seconds = draw(st.integers(0, 20))
        units.append(Unit(str(index), float(seconds), tuple(sorted(u.name for u in after))))
    return units


def longest_chain(units: list[Unit]) -> float:
    ends: dict[str, float] = {}
    for unit in units:
        ends[unit.name] = unit.seconds + max((ends[name] for name in unit.after), default=0.0)
    return max(ends.values())


@pytest.mark.parametrize(("workers", "expected"), [(1, 16.0), (2, 8.0), (3, 8.0), (9, 8.0)])
def test_two_sources_and_what_needs_them(workers: int, expected: float) -> None:
    # Sources of 3 and 4; a stage of 3 after both; a cell of 1 after it, and one of 5 alone.
    units = [
        Unit("source 1", 3),
        Unit("source 2", 4),
        Unit("stage", 3, ("source 1", "source 2")),
        Unit("cell", 1, ("stage",)),
        Unit("alone", 5),
    ]
    # Two workers: the first is free at 3 and takes what stands alone until 8; the second has the
    # stage from 4 to 7 and the cell until 8. That chain of 4, 3 and 1 no further worker shortens.
    assert makespan(units, workers) == expected


def test_what_is_done_already_holds_nothing_up() -> None:
    assert makespan([Unit("cell", 2.0, ("long done",))], 2) == 2.0


@given(graphs(), st.integers(1, 5))
@settings(deadline=None)
def test_bounds_of_any_schedule(units: list[Unit], workers: int) -> None:
    work, chain = sum(unit.seconds for unit in units), longest_chain(units)
    time = makespan(units, workers)
    assert max(work / workers, chain) - 1e-9 <= time <= work + 1e-9
    if workers == 1:
        assert time == work
    bound = Bound(workers)
    for unit in units:
        bound.add([unit])
    # With nothing to add, the bound is that of what is there.
    assert bound.with_units([]) == pytest.approx(chain + (work - chain) / workers)
    assert time <= bound.with_units([]) + 1e-9


@given(graphs(), st.integers(1, 5))
@settings(deadline=None)
def test_the_bound_only_grows(units: list[Unit], workers: int) -> None:
    bound, before = Bound(workers), 0.0
    for unit in units:
        now = bound.with_units([unit])
        assert now >= before - 1e-9
        bound.add([unit])
        assert bound.with_units([]) == pytest.approx(now)
        before = now
