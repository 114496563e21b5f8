"""Multitask prompt tuning: decomposition, source stage, target stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from baselines.mpt import MPT, MPTSettings, MPTSourceStage, compose, logits_divergence
from bench.errors import PromptError
from bench.protocol import IGNORED_LABEL, Batch, Ingredients, ModelOutput, Needs, SoftPrompt

ARCHIVE = "mpt.npz"
EXAMPLES = {"mnli": 300, "qnli": 200, "sst2": 100}

Make = Callable[..., Ingredients]


def test_published_prompts_and_gradients(case: dict[str, Tensor]) -> None:
    shared, columns, rows = (
        case[name].clone().requires_grad_() for name in ("shared", "cols", "rows")
    )

    prompts = compose(shared, columns, rows)[case["task_ids"]]
    (prompts * case["probe"]).sum().backward()  # type: ignore[no-untyped-call]

    torch.testing.assert_close(prompts, case["prompt"], atol=1e-5, rtol=1e-5)
    for tensor, name in ((shared, "shared"), (columns, "cols"), (rows, "rows")):
        torch.testing.assert_close(tensor.grad, case[f"grad_{name}"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rank", [1, 3])
def test_composition_equals_peft(rank: int) -> None:
    peft = pytest.importorskip("peft")
    tuners = pytest.importorskip("peft.tuners.multitask_prompt_tuning")
    tasks, length, width = 4, 5, 8
    config = peft.MultitaskPromptTuningConfig(
        task_type="SEQ_2_SEQ_LM",
        num_tasks=tasks,
        num_ranks=rank,
        num_virtual_tokens=length,
        token_dim=width,
        num_transformer_submodules=1,  # the default of 2 allocates a second prompt
        prompt_tuning_init="RANDOM",
    )
    theirs = tuners.MultitaskPromptEmbedding(config, torch.nn.Embedding(10, width))
    ids = torch.tensor([2, 0, 3])

    ours = compose(
        theirs.embedding.weight, theirs.prefix_task_cols[ids], theirs.prefix_task_rows[ids]
    )

    indices = torch.arange(length).expand(len(ids), -1)
    torch.testing.assert_close(ours, theirs(indices, ids))


def test_target_stage_starts_from_the_means_over_sources(ingredients: Make) -> None:
    parts = ingredients()
    stored = parts.shared
    assert stored is not None

    method = MPT.build(MPTSettings(), parts)

    columns = (stored["columns"][0] + stored["columns"][1] + stored["columns"][2]) / 3
    rows = (stored["rows"][0] + stored["rows"][1] + stored["rows"][2]) / 3
    torch.testing.assert_close(method()[0], stored["shared"] * (columns @ rows))
    assert MPT.needs(MPTSettings()) == Needs(shared=True)
    rates = [group.learning_rate for group in method.parameter_groups()]
    assert rates == [0.3, 0.4]


def stage(parts: Ingredients, **options: Any) -> MPTSourceStage:
    torch.manual_seed(0)
    return MPT.source_stage(MPTSettings(**options), parts, EXAMPLES)


@pytest.mark.parametrize("rank", [1, 4])
def test_source_prompts_start_near_the_initial_prompt(rank: int, ingredients: Make) -> None:
    parts = ingredients(length=50, width=40)

    made = stage(parts, rank=rank)

    for index in range(len(parts.sources)):
        factors = made.task_prompt(index) / parts.initial
        assert factors.mean().item() == pytest.approx(1, abs=0.02)
        assert 0.001 < factors.std().item() < 0.1
    told = made.diagnostics()["initialisation"]
    assert told == {
        "shared": "P_init",
        "factor_mean": pytest.approx(rank**-0.5),
        "factor_std": 0.02,
    }


def test_stage_hands_on_what_the_target_stage_takes(ingredients: Make) -> None:
    parts = ingredients()
    made = stage(parts, rank=2)

    method = MPT.build(MPTSettings(rank=2), replace(parts, shared=made.shared_state()))

    assert torch.equal(method.shared, made.shared)
    torch.testing.assert_close(method.columns, made.columns.mean(dim=0))
    torch.testing.assert_close(method.rows, made.rows.mean(dim=0))
    assert not any(tensor.requires_grad for tensor in made.shared_state().values())


def test_logits_are_distilled_from_teacher_to_student() -> None:
    torch.manual_seed(0)
    none, mask = torch.zeros(()), torch.ones(1, 1)
    student, teacher = (
        ModelOutput(none, logits, torch.zeros(1, 1, 1), mask)
        for logits in 3 * torch.randn(2, 1, 2, 7)
    )
    labels = torch.tensor([[4, IGNORED_LABEL]])

    value = logits_divergence(student, teacher, labels)

    ours, theirs = (Categorical(logits=output.logits[0, 0]) for output in (student, teacher))
    assert value.item() == pytest.approx(kl_divergence(theirs, ours).item(), rel=1e-5)
    assert value.item() != pytest.approx(kl_divergence(ours, theirs).item(), rel=0.1)


def distillation_by_hand(
    student: ModelOutput, teacher: ModelOutput, batch: Batch, mask: Tensor
) -> float:
    """``L_logits + L_hidden``, token by token."""
    divergences: list[float] = []
    squares: list[float] = []
    for row, labels in enumerate(batch.labels.tolist()):
        for step, label in enumerate(labels):
            if label != IGNORED_LABEL:
                ours = Categorical(logits=student.logits[row, step])
                theirs = Categorical(logits=teacher.logits[row, step])
                divergences.append(kl_divergence(theirs, ours).item())
        for position, real in enumerate(mask[row].tolist()):
            if real:
                gap = student.hidden[row, position] - teacher.hidden[row, position]
                squares.extend((gap**2).tolist())
    return sum(divergences) / len(divergences) + sum(squares) / len(squares)


@pytest.mark.parametrize("weight", [0.9, 2.0])
def test_loss_adds_the_teachers(weight: float, ingredients: Make, model: Any, batch: Batch) -> None:
    parts = ingredients()
    made = stage(parts, distillation=weight)
    assert batch.task_ids is not None
    students = torch.stack([made.task_prompt(k) for k in batch.task_ids.tolist()])
    teachers = torch.stack([parts.sources[k].matrix for k in batch.task_ids.tolist()])
    student, teacher = model.run(students, batch), model.run(teachers, batch)
    model.runs.clear()

    loss = made.loss(model, batch)

    distilled = distillation_by_hand(student, teacher, batch, student.hidden_mask)
    assert distilled > 0.01
    assert loss.item() == pytest.approx(student.loss.item() + weight * distilled, rel=1e-5)
    # One pass of the students in training, one of the teachers in inference, whatever the tasks.
    assert model.runs == [(True, True), (False, False)]


def test_nothing_to_distil_when_the_teachers_are_the_students(
    ingredients: Make, model: Any, batch: Batch
) -> None:
    parts = ingredients()
    assert batch.task_ids is not None
    same = tuple(replace(prompt, matrix=parts.initial) for prompt in parts.sources)
    made = stage(replace(parts, sources=same), factor_std=0.0)

    plain = model.run(parts.initial.unsqueeze(0), batch).loss

    assert made.loss(model, batch).item() == pytest.approx(plain.item(), abs=1e-6)


def test_a_step_moves_the_shared_prompt_and_the_factors_of_the_tasks_in_the_batch(
    ingredients: Make, model: Any, batch: Batch
) -> None:
    made = stage(ingredients())
    batch = replace(batch, task_ids=torch.tensor([0, 0, 2, 2]))
    before = {name: value.clone() for name, value in made.state_dict().items()}
    teachers = made.teachers.clone()
    frozen = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.SGD([p for g in made.parameter_groups() for p in g.parameters], lr=0.1)

    made.loss(model, batch).backward()  # type: ignore[no-untyped-call]
    optimiser.step()

    assert set(before) == {"shared", "columns", "rows"}
    assert not torch.equal(made.shared, before["shared"])
    for name in ("columns", "rows"):
        changed = (made.state_dict()[name] != before[name]).flatten(1).any(dim=1)
        assert changed.tolist() == [True, False, True]
    assert torch.equal(made.teachers, teachers)
    assert all(torch.equal(value, frozen[name]) for name, value in model.state_dict().items())


def draws(made: MPTSourceStage, batch_size: int, number: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [made.sample_tasks(batch_size, generator) for _ in range(number)]


def sampler(examples: Mapping[str, int]) -> MPTSourceStage:
    teachers = torch.zeros(len(examples), 1, 1)
    return MPTSourceStage(teachers[0], teachers, examples, MPTSettings())


def test_tasks_are_drawn_in_proportion_to_their_examples_up_to_the_cap() -> None:
    # With two rows for two tasks every row is a draw of its own.
    made = sampler({"huge": 10**9, "half": 2**17})

    rows = Counter(task for tasks in draws(made, 2, 3000) for task in tasks)

    assert rows[0] / rows.total() == pytest.approx(2 / 3, abs=0.03)


def test_number_of_tasks_in_a_batch_is_uniform_from_two() -> None:
    made = sampler(dict.fromkeys("abc", 1000))

    shapes = Counter(tuple(sorted(Counter(t).values())) for t in draws(made, 6, 3000))

    # Two tasks of three, with replacement: 3 + 3 rows in 2/3 of their batches, else all the same.
    # Three tasks: all different in 2/9, two of them equal in 6/9, all the same in 1/9.
    expected = {(3, 3): 2 / 6, (2, 2, 2): 2 / 18, (2, 4): 6 / 18, (6,): 1 / 6 + 1 / 18}
    assert set(shapes) == set(expected)
    for shape, share in expected.items():
        assert shapes[shape] / 3000 == pytest.approx(share, abs=0.035)


def test_batch_is_split_evenly_with_the_remainder_for_one_task() -> None:
    made = sampler({"a": 10, "b": 10})

    for tasks in draws(made, 7, 50):
        assert len(tasks) == 7
        assert sorted(Counter(tasks).values()) in ([3, 4], [7])


@pytest.mark.parametrize(("number", "batch_size"), [(1, 4), (3, 1), (5, 2)])
def test_few_tasks_or_rows(number: int, batch_size: int) -> None:
    made = sampler({str(k): 10 for k in range(number)})

    for tasks in draws(made, batch_size, 20):
        assert len(tasks) == batch_size
        assert set(tasks) <= set(range(number))


def test_sampling_follows_from_the_generator_alone() -> None:
    made = sampler(EXAMPLES)
    first = draws(made, 8, 20)
    torch.manual_seed(123)

    assert draws(made, 8, 20) == first
    assert len(set(map(tuple, first))) > 1


def test_teacher_may_have_started_anywhere_but_must_fit(
    ingredients: Make, stray: SoftPrompt
) -> None:
    made = MPT.source_stage(MPTSettings(), ingredients(sources=(stray,)), {"stray": 1})

    assert torch.equal(made.teachers[0], stray.matrix)
    with pytest.raises(PromptError, match=r"prompt of stray has shape \(4, 6\)"):
        MPT.source_stage(MPTSettings(), ingredients(length=5, sources=(stray,)), {"stray": 1})


@pytest.mark.parametrize("names", [["qnli", "mnli", "sst2"], ["mnli", "qnli"], []])
def test_teachers_and_examples_must_agree(names: list[str], ingredients: Make) -> None:
    with pytest.raises(PromptError, match="teachers for"):
        MPT.source_stage(MPTSettings(), ingredients(), dict.fromkeys(names, 10))


def test_shared_prompt_of_another_shape_is_refused(ingredients: Make) -> None:
    with pytest.raises(PromptError, match=r"left columns of shape \(3, 4, 1\), expected \(4, 2\)"):
        MPT.build(MPTSettings(rank=2), ingredients())
    with pytest.raises(PromptError, match="left shared of shape none"):
        MPT.build(MPTSettings(), ingredients(shared=None))


def test_batch_without_tasks_is_refused(ingredients: Make, model: Any, batch: Batch) -> None:
    with pytest.raises(ValueError, match="task_ids"):
        stage(ingredients()).loss(model, replace(batch, task_ids=None))


@pytest.mark.parametrize(
    "values",
    [{"rank": 0}, {"sampling_cap": 0}, {"factor_learning_rate": 0.0}, {"distillation": -0.1}],
)
def test_settings_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        MPTSettings(**values)
