"""From made-up timings to known seconds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.runs.estimate.costs import (
    MERGED,
    Costs,
    Lines,
    Observation,
    evaluation_features,
    method_kind,
    step_features,
)
from bench.runs.estimate.loads import EvaluationLoad, TrainingLoad
from bench.runs.estimate.sizes import Sizes

NOTHING = Sizes({}, {}, {}, 0.0)


def test_a_line_is_found_again() -> None:
    timed = [Observation("pt", (1.0, x), 2.0 + 0.01 * x) for x in (100.0, 300.0, 900.0)]
    lines = Lines(timed)
    assert lines.seconds("pt", (1.0, 500.0)) == pytest.approx(7.0)
    assert "pt" in lines
    assert "spot" not in lines


def test_methods_have_lines_of_their_own_and_others_the_line_of_all() -> None:
    lines = Lines([Observation("slow", (1.0,), 4.0), Observation("quick", (1.0,), 4.0 / 3)])
    assert lines.seconds("slow", (2.0,)) == pytest.approx(8.0)
    assert lines.seconds("quick", (2.0,)) == pytest.approx(8.0 / 3)
    # Least squares of relative errors: (s/4 - 1)^2 + (3s/4 - 1)^2 is least at s = 1.6.
    assert lines.seconds("other", (1.0,)) == pytest.approx(1.6)


def test_no_work_gets_cheaper_by_being_more() -> None:
    lines = Lines([Observation("pt", (1.0, 100.0), 9.0), Observation("pt", (1.0, 200.0), 6.0)])
    assert lines.seconds("pt", (1.0, 400.0)) >= lines.seconds("pt", (1.0, 100.0)) > 0


@given(
    st.lists(
        st.tuples(st.floats(1, 1e4), st.floats(1, 1e6), st.floats(1e-3, 1e3)),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=50, deadline=None)
def test_predictions_are_never_negative(timed: list[tuple[float, float, float]]) -> None:
    lines = Lines([Observation("pt", (a, b), seconds) for a, b, seconds in timed])
    for a, b, _ in timed:
        assert lines.seconds("pt", (a, b)) > 0


def test_seconds_of_a_training_and_of_a_cell_by_hand() -> None:
    pt, attempt = method_kind("pt", {}), method_kind("attempt", {})
    costs = Costs(
        steps=Lines([Observation((pt, False), (1.0, 0.0), 0.5)]),
        evaluations=Lines(
            [
                Observation(MERGED, (1.0, 0.0, 0.0), 2.0),
                Observation(attempt, (1.0, 0.0, 0.0), 3.0),
            ]
        ),
        per_training=3.0,
        per_evaluation=0.25,
        per_cell=0.75,
        start=0.0,
        sizes=NOTHING,
        origin="made up",
    )
    load = TrainingLoad(steps=100, tokens=0, positions=0.0, evaluations=4)
    once = EvaluationLoad(batches=1)
    assert step_features(load) == (1.0, 0.0)
    assert evaluation_features(once) == (1, 0, 0)
    # 3 s around, 100 steps of half a second, four times 2 s and the checkpoint's quarter.
    assert costs.training((pt, False), load, once) == pytest.approx(3 + 50 + 4 * 2.25)
    assert costs.training((attempt, False), load, once) == pytest.approx(3 + 50 + 4 * 3.25)
    assert costs.cell(MERGED, once + once) == pytest.approx(0.75 + 4)
    assert costs.cell(attempt, once) == pytest.approx(0.75 + 3)


def test_settings_tell_variants_apart_whatever_their_order() -> None:
    assert method_kind("dtvg", {"a": 1, "b": 2}) == method_kind("dtvg", {"b": 2, "a": 1})
    assert method_kind("dtvg", {"a": 1}) != method_kind("dtvg", {"a": 2})
