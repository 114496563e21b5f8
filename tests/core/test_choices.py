"""Values to choose from on validation, and prompts trained on a mixture of source tasks."""

from collections import Counter
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from baselines.pt import MixtureStage, PTSettings
from bench import worker
from bench.errors import RunError, UnknownNameError
from bench.grid import make_grid
from bench.method import StartPrompts
from bench.registry import parse_method
from bench.store import ResultStore
from tests.core.small_grids import SOURCES, by_label, comparable, configure, do, failing

CHOICES = ("dtvg:learning_rate=0.3|0.03", "attempt:hidden=4|8,learning_rate=0.03|0.3")


def test_values_give_their_product() -> None:
    text = "attempt:learning_rate=0.3|3e-2,temperature=null|7,hidden=4|4"
    spec = parse_method(text, {"hidden": 5})
    assert spec.label == "attempt:hidden=4,learning_rate=0.3|0.03,temperature=null|7.0"
    found = [(t.settings.learning_rate, t.settings.temperature, t.label) for t in spec.tries]
    assert found == [
        (0.3, None, "attempt:hidden=4"),
        (0.3, 7.0, "attempt:hidden=4,temperature=7.0"),
        (0.03, None, "attempt:hidden=4,learning_rate=0.03"),
        (0.03, 7.0, "attempt:hidden=4,learning_rate=0.03,temperature=7.0"),
    ]
    values = spec.values()
    assert [values[key] for key in ("hidden", "learning_rate")] == [4, [0.3, 0.03]]
    assert parse_method("pt:learning_rate=0.2|2e-1", {}) == parse_method("pt:learning_rate=0.2", {})


def test_tries_are_plain_runs(finished: ResultStore) -> None:
    """Their prompts are those of plain variants; the prompts they start from keep their rates."""
    grid = make_grid(configure(methods=["mpt", *CHOICES]), finished)
    plain = make_grid(configure(), finished)
    assert grid.to_run == 2
    assert {
        run.prompt_id for run in grid.runs.values() if run.method.name == "pt"
    } < plain.runs.keys()


@pytest.mark.parametrize(("variant", "stages"), [("learning_rate=9|8", 1), ("rank=1|2", 2)])
def test_tries_share_a_source_stage(variant: str, stages: int, finished: ResultStore) -> None:
    grid = make_grid(configure(methods=["mpt", f"mpt:{variant}"]), finished)
    found = [run for run in grid.runs.values() if run.is_source_stage]
    assert len(found) == stages
    assert found[0].prompt_id in make_grid(configure(), finished).runs


def test_the_best_on_validation_is_reported(copy: ResultStore, monkeypatch: Any) -> None:
    do(configure(methods=CHOICES), copy)
    grid = make_grid(configure(methods=CHOICES), copy)
    assert grid.todo == ()
    # The tries only have to be scored.
    monkeypatch.setattr(worker, "train", Mock(side_effect=AssertionError("nothing to be trained")))
    for run in grid.reported.values():
        labels = [spec.label for spec in run.method.tries]
        do(configure(methods=labels), copy)
        record, plain = copy.find(run), [by_label(copy)[label] for label in labels]
        scores = [other.training.best_score for other in plain]
        best = plain[scores.index(max(scores))]
        assert [block.score for block in record.tries] == scores
        assert [block.chosen for block in record.tries] == [other is best for other in plain]
        assert [block.prompt for block in record.tries] == [o.training.prompt for o in plain]
        keys = record.tries[0].settings.keys()
        variant = run.method.label.partition(":")[2]
        assert keys == {part.partition("=")[0] for part in variant.split(",")}
        for block, other in zip(record.tries, plain, strict=True):
            assert block.settings.items() <= other.run.settings.items()
        same = comparable(record) | {"run": None, "id": None, "tries": None, "predictions": None}
        assert same == comparable(best) | dict.fromkeys(("run", "id", "tries", "predictions"))
        assert record.predictions.digest == best.predictions.digest
        # The tries are repeated with the run, but not what they start from.
        again = make_grid(configure(methods=[run.method.label]), copy, "always")
        (repeated,) = again.reported.values()
        assert set(again.todo) == {repeated, *repeated.start.tries}


def test_the_first_of_equal_tries_is_chosen(copy: ResultStore) -> None:
    text = "pt:learning_rate=1e-12|1e-13|1e-14"
    do(configure(methods=[text]), copy)
    record = by_label(copy)[text]
    assert len({block.score for block in record.tries}) == 1
    assert [block.chosen for block in record.tries] == [True, False, False]


@pytest.mark.parametrize("failed", [1, 2])
def test_failed_tries(failed: int, copy: ResultStore, monkeypatch: Any) -> None:
    tries = [f"cb pt:learning_rate={rate} 4 shots seed 42" for rate in (0.2, 0.1)]
    monkeypatch.setattr(worker, "train", failing(RunError("diverged"), *tries[:failed]))
    do(configure(methods=["pt:learning_rate=0.2|0.1"]), copy)
    record = by_label(copy)["pt:learning_rate=0.2|0.1"]
    if failed == 1:
        assert [block.chosen for block in record.tries] == [False, True]
        assert record.tries[0].score is None
        assert record.tries[1].score == record.training.best_score
    else:
        assert record.error.message.endswith("failed (diverged)")
        assert record.error.message.startswith("not run: cb-pt-4-42-")


MIXTURES = ("spot:source=all", "spot:source=qnli+sst2,learning_rate=1e-9", "spot:source=sst2+qnli")


def test_a_mixture_is_one_prompt_by_the_settings_of_pt(finished: ResultStore) -> None:
    config = configure(methods=MIXTURES, tasks=["cb", "rte"], shots=[4, 5], seeds=[42, 43])
    grid = make_grid(config, finished)
    mixtures = [run for run in grid.runs.values() if run.is_source_stage]
    assert [(run.task, run.tasks, run.seed) for run in mixtures] == [
        ("sst2+qnli", SOURCES, seed) for seed in (42, 43)
    ]
    assert {run.start.source_stage for run in grid.reported.values()} == set(mixtures)
    assert {run.method.name for run in grid.runs.values()} == {"pt", "spot"}
    source = make_grid(configure(methods=["attempt"]), finished).runs.values()
    pt = next(run for run in source if run.task == "sst2")
    for key in ("settings", "training", "shots"):
        assert getattr(mixtures[0].protocol, key) == getattr(pt.protocol, key)
    # A mixture of one task is its source prompt.
    one = make_grid(configure(methods=["spot:source=all"], sources=["sst2"]), finished)
    assert next(iter(one.runs)) == pt.prompt_id


def test_a_named_source_is_the_only_one_that_is_trained(finished: ResultStore) -> None:
    grid = make_grid(configure(methods=["spot:source=qnli"]), finished)
    assert [run.task for run in grid.runs.values()] == ["qnli", "cb"]
    (run,) = grid.reported.values()
    assert [block.task for block in run.sources()] == ["qnli"]


@pytest.mark.parametrize("source", ["mnli", "mnli+sst2", "sst2+", "al", "+"])
def test_tasks_of_a_mixture_must_be_sources(source: str, finished: ResultStore) -> None:
    with pytest.raises(UnknownNameError, match="unknown source task of spot:source="):
        make_grid(configure(methods=[f"spot:source={source}"]), finished)


def test_spot_starts_from_the_mixture(copy: ResultStore) -> None:
    grid = do(configure(methods=MIXTURES[:2]), copy)
    (mixture,) = (run for run in grid.runs.values() if run.is_source_stage)
    stored = copy.load_prompt(mixture.prompt_id)
    assert stored.record.prompt.form == "prompt"
    assert stored.record.training.curve[0].validation.keys() == {*SOURCES}
    assert mixture.prompt_name.startswith("sst2_qnli-pt-full-42-")
    for run in grid.reported.values():
        record = copy.find(run)
        assert [block.task for block in record.sources] == ["sst2+qnli"]
        assert record.training.initial_digest == stored.initial_digest
        if run.method.settings.learning_rate == 1e-9:  # It ends where it started.
            assert torch.allclose(copy.load_prompt(run.prompt_id).matrix, stored.matrix, atol=1e-6)
    do(configure(methods=[f"fixed:prompt={stored.record.id[:12]}"]), copy)
    assert len(by_label(copy)) == 5 + 2 + 1


def test_mixtures_draw_tasks_in_proportion_to_their_examples() -> None:
    examples = {"a": 600, "b": 300, "c": 100}
    stage = MixtureStage.source_stage(PTSettings(), StartPrompts(torch.zeros(2, 3)), examples)
    draw = torch.Generator().manual_seed(0)
    drawn = Counter(task for _ in range(500) for task in stage.sample_tasks(20, draw))
    for index, number in enumerate(examples.values()):
        assert drawn[index] / 10_000 == pytest.approx(number / 1000, abs=0.02)
