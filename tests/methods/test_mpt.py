"""Multitask prompt tuning: decomposition, source stage, target stage."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from baselines.mpt import MPT, MPTSettings, MPTSourceStage, compose
from bench.method import IGNORED_LABEL, Batch, ModelOutput, Needs, StartPrompts

EXAMPLES = {"mnli": 300, "qnli": 200, "sst2": 100}

Make = Callable[..., StartPrompts]


def test_published_prompts_and_gradients(mpt_case: dict[str, Tensor]) -> None:
    case = mpt_case
    parts = [case[name].clone().requires_grad_() for name in ("shared", "cols", "rows")]
    shared, columns, rows = parts
    prompts = compose(shared, columns, rows)[case["task_ids"]]
    (prompts * case["probe"]).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(prompts, case["prompt"], atol=1e-5, rtol=1e-5)
    for tensor, name in ((shared, "shared"), (columns, "cols"), (rows, "rows")):
        torch.testing.assert_close(tensor.grad, case[f"grad_{name}"], atol=1e-4, rtol=1e-4)


def stage(parts: StartPrompts, **options: Any) -> MPTSourceStage:
    torch.manual_seed(0)
    return MPT.source_stage(MPTSettings(**options), parts, EXAMPLES)


def test_target_stage_starts_from_the_means_over_sources(make: Make) -> None:
    parts = make()
    stored = parts.source_state
    method = MPT.build(MPTSettings(), parts)
    columns = (stored["columns"][0] + stored["columns"][1] + stored["columns"][2]) / 3
    rows = (stored["rows"][0] + stored["rows"][1] + stored["rows"][2]) / 3
    torch.testing.assert_close(method()[0], stored["shared"] * (columns @ rows))
    assert MPT.needs(MPTSettings()) == Needs(source_stage=True)


def test_stage_starts_near_the_initial_prompt_and_hands_on_its_result(make: Make) -> None:
    parts = make(length=50, width=40)
    made = stage(parts, rank=2)
    for index in range(len(parts.sources)):
        factors = made.task_prompt(index) / parts.initial
        assert factors.mean().item() == pytest.approx(1, abs=0.02)
        assert 0.001 < factors.std().item() < 0.1
    told = {"shared": "P_init", "factor_mean": pytest.approx(2**-0.5), "factor_std": 0.02}
    assert made.diagnostics() == {"source_stage_initialisation": told}
    method = MPT.build(MPTSettings(rank=2), replace(parts, source_state=made.source_state()))
    assert torch.equal(method.shared, made.shared)
    torch.testing.assert_close(method.columns, made.columns.mean(dim=0))
    torch.testing.assert_close(method.rows, made.rows.mean(dim=0))
    assert method.diagnostics() == made.diagnostics()
    assert not any(tensor.requires_grad for tensor in made.source_state().values())


def distillation_by_hand(
    student: ModelOutput, teacher: ModelOutput, batch: Batch, heat: float, both: bool
) -> float:
    """``L_logits + L_hidden``, token by token."""
    divergences, squares, behind = [], [], []
    for row, step in (batch.labels != IGNORED_LABEL).nonzero().tolist():
        one, two = (Categorical(logits=o.logits[row, step] / heat) for o in (student, teacher))
        divergences.append(heat**2 * kl_divergence(two, one).item())
        gap = student.answer_hidden[row, step] - teacher.answer_hidden[row, step]
        behind.extend((gap**2).tolist())
    for row, position in student.hidden_mask.nonzero().tolist():
        gap = student.hidden[row, position] - teacher.hidden[row, position]
        squares.extend((gap**2).tolist())
    return fmean(divergences) + fmean(squares) + both * fmean(behind)


@pytest.mark.parametrize(
    ("weight", "heat", "hidden"), [(0.9, 1.0, "encoder"), (2.0, 3.0, "encoder"), (0.9, 0.5, "both")]
)
def test_loss_adds_the_teachers(
    weight: float, heat: float, hidden: Any, make: Make, model: Any, batch: Batch
) -> None:
    parts = make()
    options = {"distillation_temperature": heat, "distilled_hidden": hidden}
    made = stage(parts, distillation=weight, **options)
    students = torch.stack([made.task_prompt(k) for k in batch.task_ids.tolist()])
    teachers = torch.stack([parts.sources[k].matrix for k in batch.task_ids.tolist()])
    student, teacher = model.run(students, batch), model.run(teachers, batch)
    model.runs.clear()
    loss = made.loss(model, batch)
    distilled = distillation_by_hand(student, teacher, batch, heat, hidden == "both")
    assert distilled > 0.01
    assert loss.item() == pytest.approx(student.loss.item() + weight * distilled, rel=1e-5)
    # One pass of the students in training, one of the teachers in inference, whatever the tasks.
    assert model.runs == [(True, True), (False, False)]
    loss.backward()  # type: ignore[no-untyped-call]
    moved = {name for name, value in made.named_parameters() if value.grad.any()}
    assert moved == {"shared", "columns", "rows"} == set(made.state_dict())


def draws(counts: list[int], batch_size: int, number: int) -> list[list[int]]:
    teachers, examples = torch.zeros(len(counts), 1, 1), dict(enumerate(counts))
    made = MPTSourceStage(teachers[0], teachers, examples, MPTSettings())  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    return [made.sample_tasks(batch_size, generator) for _ in range(number)]


def test_tasks_are_drawn_in_proportion_to_their_examples_up_to_the_cap() -> None:
    # With two rows for two tasks every row is a draw of its own.
    rows = Counter(task for tasks in draws([10**9, 2**17], 2, 3000) for task in tasks)
    assert rows[0] / rows.total() == pytest.approx(2 / 3, abs=0.03)


def test_number_of_tasks_in_a_batch_is_uniform_from_two() -> None:
    shapes = Counter(tuple(sorted(Counter(t).values())) for t in draws([1000] * 3, 6, 3000))
    # Two tasks of three, with replacement: 3 + 3 rows in 2/3 of their batches, else all equal.
    # Three tasks: all different in 2/9, two of them equal in 6/9, all equal in 1/9.
    expected = {(3, 3): 2 / 6, (2, 2, 2): 2 / 18, (2, 4): 6 / 18, (6,): 1 / 6 + 1 / 18}
    assert set(shapes) == set(expected)
    for shape, share in expected.items():
        assert shapes[shape] / 3000 == pytest.approx(share, abs=0.035)


@pytest.mark.parametrize(("number", "batch_size"), [(2, 7), (1, 4), (3, 1), (5, 2)])
def test_batch_is_split_evenly(number: int, batch_size: int) -> None:
    for tasks in draws([10] * number, batch_size, 50):
        assert len(tasks) == batch_size
        assert set(tasks) <= set(range(number))
        if batch_size == 7:
            assert sorted(Counter(tasks).values()) in ([3, 4], [7])
