"""A prompt that rows share, against a prompt for each row."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.attempt import AttemptPrompt
from baselines.mpt import MPT, MPTSettings, MPTSourceStage
from baselines.pt import PromptTuning, PTSettings
from baselines.spot import SPoT, SPoTSettings
from bench.method import Batch, ModelOutput
from bench.models.base import FrozenLM
from bench.training.loop import adamw, backward
from dtvg import DTVGPrompt
from tests.models.conftest import batch_of, known, make_model

KINDS = ["tiny-llama", "llama", "qwen2", "gpt2"]
LENGTH, ROWS = 6, 12


class Apart:
    """A model that gets a prompt for each row."""

    def __init__(self, lm: FrozenLM) -> None:
        self.embed, self.inference, self.lm, self.device = lm.embed, lm.inference, lm, lm.device
        self.prefixes = None

    def run(self, prompt: Tensor, batch: Batch, prompt_index: Tensor | None = None) -> ModelOutput:
        each = prompt.expand(len(batch), -1, -1) if prompt_index is None else prompt[prompt_index]
        return self.lm.run(each, batch)


class Penalised(PromptTuning):
    """PT whose prompt is computed, with a penalty that takes the same path to the parameter."""

    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        return super().forward(inputs, mask) * self.prompt.exp()

    def loss(self, model: Any, batch: Batch) -> Tensor:
        prompt = self.prompt_for(model, batch)
        return model.run(prompt, batch).loss + 0.1 * prompt.square().mean()


@pytest.fixture
def batch(batch: Batch) -> Batch:
    """Rows of three tasks."""
    return replace(batch, task_ids=torch.tensor([0, 2, 2, 1, 0, 0, 2, 1, 1, 0, 2, 2]))


def build(name: str, lm: FrozenLM) -> Any:
    """A method whose prompts are near embeddings of tokens."""
    initial, *others = (lm.initial_prompt(LENGTH, seed) for seed in range(4))
    sources, settings = torch.stack(others), MPTSettings()
    torch.manual_seed(0)
    makers: dict[str, Callable[[], Any]] = {
        "pt": lambda: PromptTuning(initial, PTSettings()),
        "penalised": lambda: Penalised(initial, PTSettings()),
        "spot": lambda: SPoT(sources[0], {}, SPoTSettings()),
        "dtvg": lambda: DTVGPrompt(initial, sources[0], initial + 0.5 * (sources - initial)),
        "mpt": lambda: MPT(settings, initial, torch.rand(LENGTH, 1), torch.rand(1, lm.width)),
        "stage": lambda: MPTSourceStage(initial, sources, {"a": 5, "b": 5, "c": 5}, settings),
        "attempt": lambda: AttemptPrompt(initial, sources),
    }
    return makers[name]()


@contextmanager
def positions(lm: FrozenLM) -> Iterator[list[int]]:
    """Positions that the model computes, one number for each pass."""
    found: list[int] = []

    def count(module: Any, args: Any, options: dict[str, Any]) -> None:
        read = options.get("inputs_embeds", options.get("input_ids"))
        found.append(read.shape[0] * read.shape[1])

    hook = lm.model.register_forward_pre_hook(count, with_kwargs=True)
    yield found
    hook.remove()


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def step(lm: Any, method: Any, batch: Batch, rows: int = ROWS) -> tuple[float, list[Tensor]]:
    """Loss and gradients of a batch in parts."""
    loss = float(backward(lm, method, batch, 0, rows))
    return loss, [p.grad.clone() for p in method.parameters() if p.grad is not None]


def width(batch: Batch) -> int:
    return batch.mask.shape[1] + batch.labels.shape[1] - 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["pt", "spot", "mpt", "dtvg", "stage"])
def test_losses_and_gradients(name: str, kind: str, batch: Batch) -> None:
    lm = known(kind)
    method, prompts = build(name, lm), 3 if name == "stage" else 1
    with positions(lm) as passes:
        loss, found = step(lm, method, batch)
    assert passes[:2] == [prompts * LENGTH, ROWS * width(batch)]
    expected, reference = step(Apart(lm), method, batch)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert len(found) == len(reference) > 0
    assert max(map(relative, found, reference)) < 1e-4


@pytest.mark.parametrize("name", ["penalised", "dtvg", "stage", "attempt"])
@pytest.mark.parametrize("most", [5, 1])
def test_parts_of_a_batch_share_one_pass(name: str, most: int, batch: Batch) -> None:
    """But not in ATTEMPT, where the prompts of parts of one row look like prompts for all rows."""
    lm = known("llama")
    method, expected = build(name, lm), ROWS * width(batch) + LENGTH
    with positions(lm) as passes:
        loss, found = step(lm, method, batch, most)
    if name != "stage":
        assert sum(passes) == expected + (name == "attempt") * LENGTH * (ROWS - 1)
    plain, reference = step(Apart(lm), method, batch, most)
    assert loss == pytest.approx(plain, rel=1e-5)
    assert max(map(relative, found, reference)) < 1e-4


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_twenty_steps(kind: str, batch: Batch) -> None:
    lm, prompts = known(kind), []
    for model in (lm, Apart(lm)):
        method = build("pt", lm)
        optimiser = adamw(method.parameter_groups())
        for _ in range(20):
            step(model, method, batch)
            optimiser.step()
        prompts.append(method.prompt.detach())
    assert relative(*prompts) < 1e-4
    assert relative(prompts[0], lm.initial_prompt(LENGTH, 0)) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_answers(kind: str, batch: Batch) -> None:
    """States lie as behind a prompt for each row; answers to 64 rows of mixed lengths."""
    lm, draw = known(kind), torch.Generator().manual_seed(1)
    prompt = lm.initial_prompt(LENGTH, 0).unsqueeze(0)
    with lm.inference():
        found, expected = lm.run(prompt, batch), Apart(lm).run(prompt, batch)
    assert torch.equal(found.hidden_mask, expected.hidden_mask)
    masks = {"hidden": expected.hidden_mask.bool(), "answer_hidden": batch.labels >= 0}
    for part, mask in (masks | {"logits": batch.labels >= 0}).items():
        assert relative(getattr(found, part)[mask], getattr(expected, part)[mask]) < 1e-5
    sizes = torch.randint(1, 40, (64,), generator=draw).tolist()
    ids = [torch.randint(3, 4000, (size,), generator=draw).tolist() for size in sizes]
    batch = batch_of([(read, [1]) for read in ids])
    with positions(lm) as passes:
        texts = lm.answer(prompt, batch, 8)
    assert passes[:2] == [LENGTH, 64 * max(sizes)]
    assert texts == lm.answer(prompt.expand(64, -1, -1), batch, 8)
    assert len(set(texts)) > 3


def test_one_pass_over_the_prompt_serves_all_batches(batch: Batch) -> None:
    lm, found = known("llama"), []
    matrix = lm.initial_prompt(LENGTH, 0)
    with positions(lm) as passes, lm.inference():
        for _ in range(2):
            texts = [lm.answer(matrix.unsqueeze(0), batch.rows(n, n + 4), 3) for n in (0, 4, 8)]
            found.append((matrix.clone(), [*texts[0], *texts[1], *texts[2]]))
            matrix += 1  # In place, as an optimiser changes it.
        assert passes.count(LENGTH) == 2
    for prompt, texts in found:
        assert texts == lm.answer(prompt.expand(ROWS, -1, -1), batch, 3)


NONE = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0)
HALF = {"attention_dropout": 0.5}


@pytest.mark.parametrize(
    ("kind", "settings", "shares"),
    [("gpt2", {}, False), ("gpt2", NONE, True), ("llama", {}, True), ("llama", HALF, False)],
)
def test_active_dropout(kind: str, settings: Any, shares: bool, batch: Batch) -> None:
    """In training, each row has its own prompt and its own mask; said once."""
    lm, losses, said = make_model(kind, **settings), [], list[str]()
    lm.warn = said.append
    prompt = lm.initial_prompt(LENGTH, 0).unsqueeze(0)
    with lm.training(), torch.no_grad(), positions(lm) as passes:
        for each in (prompt, prompt, prompt.expand(ROWS, -1, -1)):
            torch.manual_seed(0)
            losses.append(float(lm.run(each, batch).loss))
    assert (passes[0] == LENGTH) == shares
    assert ["dropout is active in training" in text for text in said] == [True] * (not shares)
    assert losses == pytest.approx(losses[:1] * 3, rel=1e-5)
    with lm.inference(), positions(lm) as passes:
        lm.run(prompt, batch)
    assert passes[0] == LENGTH


@pytest.mark.parametrize("kind", ["mistral", "gpt_neo", "gemma2"])
def test_windows(kind: str) -> None:
    """Padding between prompt and input would count as distance."""
    lm, said = make_model(kind), list[str]()
    lm.warn = said.append
    prompt = lm.initial_prompt(LENGTH, 0).unsqueeze(0)
    for length, shares in ((7, True), (8, False), (30, False)):
        batch = batch_of([(list(range(3, 3 + length)), [7, 1]), ([5], [9])])
        with lm.inference(), positions(lm) as passes:
            found, expected = lm.run(prompt, batch).logits, Apart(lm).run(prompt, batch).logits
        assert (passes[0] == LENGTH) == shares
        answered = batch.labels >= 0
        assert relative(found[answered], expected[answered]) < 1e-4
    assert len(said) == 1


@pytest.mark.parametrize("kind", ["mamba", "llama"])
def test_models_that_cannot_continue(kind: str, batch: Batch) -> None:
    """One has other states; the other counts positions anew behind a cache."""
    plain, said = make_model(kind), list[str]()

    def count_anew(module: Any, args: Any, options: dict[str, Any]) -> Any:
        cache = options.get("past_key_values")
        if cache is not None and cache.get_seq_length() and "position_ids" in options:
            options["position_ids"] = options["position_ids"] * 0
        return args, options

    hook = plain.model.register_forward_pre_hook(count_anew, with_kwargs=True)
    lm = type(plain)(plain.model, plain.tokenizer, plain.device)
    hook.remove()
    lm.warn = said.append
    with positions(lm) as passes:
        for _ in range(2):
            lm.run(lm.initial_prompt(LENGTH, 0).unsqueeze(0), batch)
    assert passes == [ROWS * (LENGTH + width(batch))] * 2
    assert len(said) == 1
    assert "reads the prompt for each row: it cannot continue" in said[0]
