"""The training repeats, and goes in stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.models.pretraining.batches import shares
from bench.models.pretraining.finished import FinishedStages
from bench.models.pretraining.recipe import Recipe
from bench.models.pretraining.students import Student, student_of
from bench.models.pretraining.training import pretrain, rate, save


def test_the_rate_rises_holds_and_falls_like_an_inverse_root() -> None:
    recipe = replace(Recipe(), warmup_steps=4, hold_steps=100)
    rates = [rate(done, recipe) for done in (0, 1, 3, 4, 100, 400, 900)]
    assert rates == pytest.approx([0.25, 0.5, 1.0, 1.0, 1.0, 0.5, 1 / 3])


def test_training_is_repeatable(student: Student, tmp_path: Path) -> None:
    losses: list[float] = []
    for name in ("one", "two"):
        model = pretrain([student], lambda step, loss, model: losses.append(loss), 2)
        save(model, student.recipe, tmp_path / name)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]
    assert losses[:2] == losses[2:]


def test_a_stage_starts_from_what_the_one_before_left(student: Student) -> None:
    first, still = student.recipe, replace(student.recipe, learning_rate=0.0, embedding_rate=0.0)
    stages = [student_of(recipe, student.tokenizer) for recipe in (first, still)]
    steps: list[int] = []
    both = pretrain(stages, lambda step, loss, model: steps.append(step), every=2)
    assert steps == [2, 3, 5, 6]
    alone = pretrain(stages[:1], lambda step, loss, model: None)
    cut = pretrain(stages, lambda step, loss, model: steps.append(step), every=9, steps=5)
    assert steps[4:] == [3, 5]
    for other in (alone, cut):
        for one, two in zip(both.parameters(), other.parameters(), strict=True):
            assert torch.equal(one, two)


def test_finished_stages_are_not_trained_again_and_change_no_bit(
    student: Student, tmp_path: Path
) -> None:
    recipes = (student.recipe, replace(student.recipe, seed=2, steps=2))
    stages = [student_of(recipe, student.tokenizer) for recipe in recipes]
    at_once = pretrain(stages, lambda *_: None)
    finished = FinishedStages(tmp_path / "stages")

    def dies(step: int, loss: float, model: torch.nn.Module) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(stages, dies, every=1, finished=finished)
    steps: list[int] = []
    resumed = pretrain(stages, lambda step, *_: steps.append(step), every=1, finished=finished)
    assert steps == [4, 5]
    again = pretrain(stages, dies, every=1, finished=finished)
    for model in (resumed, again):
        for one, two in zip(at_once.parameters(), model.parameters(), strict=True):
            assert torch.equal(one, two)
    other = student_of(replace(recipes[0], learning_rate=0.1), student.tokenizer)
    assert finished.model([other]) is None
    assert finished.model([stages[1]]) is None
    pretrain(stages[:1], dies, steps=2, finished=FinishedStages(tmp_path / "cut"))
    assert not (tmp_path / "cut").exists()
    finished.remove()
    assert finished.model(stages) is None


def test_drills_give_way_to_tasks_and_then_instructions_come_in() -> None:
    recipe = replace(
        Recipe(),
        **{"first_drill_share": 0.7, "last_drill_share": 0.1, "drill_steps": 300},
        **{"plain_steps": 400, "styling_steps": 100, "styled_share": 0.6},
    )
    found = [shares(recipe, step) for step in (0, 100, 300, 400, 450, 500, 1000)]
    assert [share.drills for share in found] == pytest.approx([0.7, 0.5, *[0.1] * 5])
    assert [share.styled for share in found] == pytest.approx([0, 0, 0, 0, 0.3, 0.6, 0.6])
