"""The loop: optimiser and schedule against torch and transformers, best state, patience, faults."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import get_linear_schedule_with_warmup

from bench.errors import RunError
from bench.method import IGNORED_LABEL, Batch, ParameterGroup, Trainable
from bench.seeding import derive_seed
from bench.training.callbacks import Callback, EvaluationEvent
from bench.training.checkpoint import load_checkpoint
from bench.training.loop import Validation, backward
from tests.training.conftest import At, Pull, Stream, StubModel

SHARE = {"warmup_steps": None, "warmup_share": 0.25}


class Rates(Callback):
    def __init__(self) -> None:
        self.rates: list[list[float]] = []

    def on_evaluation(self, event: EvaluationEvent) -> None:
        self.rates.append(list(event.learning_rates.values()))


@pytest.mark.parametrize("clip", [None, 0.5, 1e6])
@pytest.mark.parametrize(("total", "warmup"), [(7, 0), (10, 3), (7, 7), (60, 20), (3, 10)])
def test_steps_equal_a_plain_loop(total: int, warmup: int, clip: float | None, run: Any) -> None:
    module, plain, rates = Pull(), Pull(), Rates()
    rising = range(total)  # So that the last state is the best.
    changes = {"steps": total, "warmup_steps": warmup, "evaluate_every": 1, "gradient_clip": clip}
    run(module, *rising, callbacks=[rates], **changes)
    optimiser = torch.optim.AdamW([plain.vector], lr=0.1, weight_decay=0.01, eps=1e-8)
    small = {"params": [plain.scale], "lr": 0.02, "weight_decay": 0.0, "eps": 0.5}
    optimiser.add_param_group(small)
    schedule = get_linear_schedule_with_warmup(optimiser, warmup, total)
    for step in range(1, total + 1):
        torch.manual_seed(derive_seed("step", 1, step))
        batch = Stream().batch(step)
        torch.manual_seed(derive_seed("step", 1, step))
        optimiser.zero_grad()
        plain.loss(None, batch).backward()  # type: ignore[no-untyped-call]
        if clip is not None:
            nn.utils.clip_grad_norm_(plain.parameters(), clip)
        optimiser.step()
        assert rates.rates[step - 1] == schedule.get_last_lr()
        schedule.step()
    assert torch.equal(module.vector, plain.vector)
    assert torch.equal(module.scale, plain.scale)


def test_module_ends_in_its_best_state(run: Any) -> None:
    module = Pull()
    states: list[Tensor] = []
    scores = iter([10.0, 30.0, 30.0, 20.0])

    def validate() -> Validation:
        states.append(module.vector.detach().clone())
        score = next(scores)
        return Validation({"accuracy": score, "f1": 90.0 - score}, score, None)

    result = run(module, validate=validate, steps=12)
    # The first of equal scores; a metric that the score leaves out decides nothing.
    assert (result.best_step, result.best_score, result.steps) == (6, 30.0, 12)
    assert not result.stopped_early
    assert torch.equal(module.vector, states[1])
    assert [point["step"] for point in result.curve] == [3, 6, 9, 12]
    assert result.curve[0]["validation"] == {"accuracy": 10.0, "f1": 80.0}
    firsts = {entry["step"]: entry["first"] for entry in result.history}
    assert firsts == {0: 0.0, **{3 * i: float(s[0]) for i, s in enumerate(states, 1)}}


@pytest.mark.parametrize(
    ("patience", "scores", "steps", "best"),
    [(2, (5, 4, 3, 9), 9, 3), (2, (5, 4, 6, 5, 5), 15, 9), (1, (5, 5, 9), 6, 3)],
)
def test_patience(patience: int, scores: Any, steps: int, best: int, run: Any) -> None:
    result = run(Pull(), *scores, steps=30, patience=patience)
    assert (result.steps, result.best_step, result.stopped_early) == (steps, best, True)


class NoParameters(Pull):
    def parameter_groups(self) -> list[ParameterGroup]:
        return []


def test_module_without_parameters_is_validated_once(run: Any, tmp_path: Path) -> None:
    module, file = NoParameters(), tmp_path / "checkpoint"
    first = run(module, 40.0, checkpoint=file)
    for result in (first, run(module, validate=None, checkpoint=file)):
        assert (result.steps, result.best_step, result.best_score) == (0, 0, 40.0)
        point = {"step": 0, "loss": 0.0, "validation": {"accuracy": 40.0}, "valid_label_share": 0.5}
        assert result.curve == [point]
        assert result.history == [{"step": 0, "first": 0.0}]
        assert not result.stopped_early
        assert torch.equal(module.vector, torch.zeros(4))


@pytest.mark.parametrize(
    ("step", "scores", "error", "message"),
    [
        (5, (1, 99), RunError, r"training diverged before step 6 \(loss nan\); lower"),
        (6, (1, 99), RunError, r"before step 6 \(NaN or infinite parameters\)"),
        (99, (1, math.nan), RunError, "validation after step 6 gave accuracy nan; a task"),
        (99, (1, math.inf), RunError, "validation after step 6 gave accuracy inf; a task"),
    ],
)
def test_not_finite_is_an_error_and_never_the_best(
    step: int, scores: Any, error: Any, message: str, run: Any, tmp_path: Path
) -> None:
    module, file = Pull(), tmp_path / "checkpoint"
    spoil = At(step, lambda: module.vector.data[2:3].fill_(math.nan))
    with pytest.raises(error, match=message) as caught:
        run(module, *scores, checkpoint=file, callbacks=[spoil])
    assert "\n" not in str(caught.value)
    saved = load_checkpoint(file)
    assert (saved.progress.best_step, saved.progress.best_score) == (3, 1)
    assert saved.best["vector"].isfinite().all()


class TokenMean(Trainable):
    """A loss that is a mean over the target tokens, like a language model's."""

    def __init__(self, fits: int = 99) -> None:
        super().__init__()
        self.fits = fits
        self.sizes: list[int] = []
        self.scores = nn.Parameter(torch.linspace(-1, 1, 11, dtype=torch.float64))

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup("scores", [self.scores], 0.1)]

    def loss(self, model: Any, batch: Batch) -> Tensor:
        self.sizes.append(len(batch))
        if len(batch) > self.fits:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: ...")
        logits = self.scores * (1 + batch.input_ids[:, :1, None].double())  # (B, 1, V)
        logits = logits.expand(-1, batch.labels.shape[1], -1)
        return nn.functional.cross_entropy(
            logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED_LABEL
        )


def ragged(rows: int) -> Batch:
    """Rows with 1 to 5 target tokens."""
    draw = torch.Generator().manual_seed(rows)
    ids = torch.randint(10, (rows, 5), generator=draw)
    lengths = torch.randint(1, 6, (rows, 1), generator=draw)
    labels = ids.masked_fill(torch.arange(5) >= lengths, IGNORED_LABEL)
    return Batch(ids, torch.ones_like(ids), labels, torch.arange(rows))


class Ragged(Stream):
    def batch(self, step: int) -> Batch:
        return ragged(8)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12))
def test_parts_of_a_batch_give_its_gradients(rows: int, part: int) -> None:
    model: Any = StubModel()
    whole, parted = TokenMean(), TokenMean()
    expected = backward(model, whole, ragged(rows), 0, rows)
    loss = backward(model, parted, ragged(rows), 0, part)
    assert sum(parted.sizes) == rows
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(parted.scores.grad, whole.scores.grad)


def test_a_batch_that_does_not_fit_is_halved_for_good(run: Any, tmp_path: Path) -> None:
    file, options = tmp_path / "checkpoint", {"batches": Ragged(), "steps": 6}
    constant = {"validate": lambda: Validation({"accuracy": 1.0}, 1.0, None)}
    whole, first, second = TokenMean(), TokenMean(fits=3), TokenMean(fits=3)
    expected = run(whole, **constant, **options)
    with pytest.raises(StopIteration):  # There is no second score.
        run(first, 1.0, checkpoint=file, **options)
    assert first.sizes == [8, 4, *[2] * 4 * 6]
    result = run(second, **constant, checkpoint=file, **options)
    assert second.sizes == [2] * 4 * 3  # From step 4 on, without trying more rows.
    assert (expected.micro_batch_size, result.micro_batch_size) == (None, 2)
    assert result.curve[-1]["loss"] == pytest.approx(expected.curve[-1]["loss"])


@pytest.mark.parametrize(
    ("changes", "steps", "rise"),
    [
        ({"epochs": 3}, [4, 8, 12], 2),  # Eight examples in batches of two.
        ({"epochs": 2.5}, [4, 8, 10], 2),
        ({"epochs": 2, "batch_size": 3}, [3, 6], 2),
        ({"steps": 5}, [4, 5], 2),
        ({"steps": 3, "batch_size": 99}, [1, 2, 3], 2),
        ({"steps": 40, "evaluate_every": 20, **SHARE}, [20, 40], 10),
        ({"epochs": 3, **SHARE}, [4, 8, 12], 3),
    ],
)
def test_lengths_that_follow_from_the_examples(
    changes: Any, steps: list[int], rise: int, run: Any
) -> None:
    """Evaluations once an epoch, warm-up as a share of all steps."""
    rates = Rates()
    length = {"steps": None, "epochs": None, "evaluate_every": "epoch"}
    result = run(Pull(), *range(99), callbacks=[rates], **length | changes)
    assert [point["step"] for point in result.curve] == steps
    for step, (rate, _) in zip(steps, rates.rates, strict=True):
        done, total = step - 1, steps[-1]
        assert rate == pytest.approx(0.1 * min(done / rise, (total - done) / (total - rise)))
