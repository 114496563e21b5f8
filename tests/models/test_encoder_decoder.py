"""The T5 adapter against a plain transformers run and against PEFT's prompt tuning."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.data.batches import Example, collate
from bench.errors import ConfigError
from bench.models.base import FrozenLM
from bench.models.loading import load
from bench.protocol import Batch

SOURCES = [
    "sst2 sentence: the cook likes the small boat .",
    "rte sentence1: the dog sleeps . sentence2: an animal sleeps .",
    "cola sentence: she the house sees .",
]
TARGETS = ["1", "0", "a longer answer"]
LENGTH = 5


@pytest.fixture(scope="module")
def lm() -> FrozenLM:
    return load("tiny")


@pytest.fixture(scope="module")
def batch(lm: FrozenLM) -> Batch:
    return collate(encoded(lm), lm.encoder.pad_id)


@pytest.fixture(scope="module")
def prompt(lm: FrozenLM) -> Tensor:
    noise = torch.randn(3, LENGTH, lm.width, generator=torch.Generator().manual_seed(0))
    return lm.initial_prompt(LENGTH, 42) + 0.1 * noise


def encoded(lm: FrozenLM) -> list[Example]:
    ids = lm.encoder.encode(SOURCES, TARGETS, 64, 20)
    return [
        Example(input_ids=source, labels=target)
        for source, target in zip(ids["input_ids"], ids["labels"], strict=True)
    ]


def by_hand(lm: FrozenLM, row: int, prompt: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and hidden states of one row without padding, straight through transformers."""
    example = encoded(lm)[row]
    ids = torch.tensor([example["input_ids"]])
    embeds = torch.cat([prompt[row : row + 1], lm.model.get_input_embeddings()(ids)], dim=1)
    with torch.no_grad():
        output = lm.model(inputs_embeds=embeds, labels=torch.tensor([example["labels"]]))
    return output.logits.float(), output.encoder_last_hidden_state


def test_rows_equal_a_plain_run_without_padding(batch: Batch, prompt: Tensor) -> None:
    """In double precision: how much rounding a padded sum adds depends on the weights."""
    lm, prompt = load("tiny"), prompt.double()
    lm.model.double()
    with lm.inference():
        output = lm.run(prompt, batch)
    losses = []
    for row in range(3):
        logits, hidden = by_hand(lm, row, prompt)
        count = logits.shape[1]
        torch.testing.assert_close(output.logits[row, :count], logits[0], atol=1e-5, rtol=1e-5)
        kept = output.hidden[row][output.hidden_mask[row].bool()]
        torch.testing.assert_close(kept, hidden[0], atol=1e-5, rtol=1e-5)
        labels = batch.labels[row, :count]
        losses.append(torch.nn.functional.cross_entropy(logits[0], labels, reduction="none"))
    # The mean is over all target tokens of the batch, not over rows.
    torch.testing.assert_close(output.loss, torch.cat(losses).mean(), atol=1e-5, rtol=1e-5)


def test_one_prompt_serves_every_row(lm: FrozenLM, batch: Batch, prompt: Tensor) -> None:
    with lm.inference():
        one = lm.run(prompt[:1], batch).logits
        many = lm.run(prompt[:1].expand(3, -1, -1), batch).logits
    assert torch.equal(one, many)


def test_logits_equal_peft_prompt_tuning(lm: FrozenLM, batch: Batch, prompt: Tensor) -> None:
    from peft import PromptTuningConfig, TaskType, get_peft_model

    config = PromptTuningConfig(
        task_type=TaskType.SEQ_2_SEQ_LM,
        num_virtual_tokens=LENGTH,
        num_transformer_submodules=1,
    )
    peer = get_peft_model(load("tiny").model, config).eval()
    embedding = peer.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        embedding.copy_(prompt[0])
        theirs = peer(
            input_ids=batch.input_ids, attention_mask=batch.mask, labels=batch.labels
        ).logits
    with lm.inference():
        ours = lm.run(prompt[:1], batch).logits
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_answers_do_not_depend_on_the_rest_of_the_batch(
    lm: FrozenLM, batch: Batch, prompt: Tensor
) -> None:
    together = lm.answer(prompt, batch, 8)
    for row, example in enumerate(encoded(lm)):
        alone = collate([example], lm.encoder.pad_id)
        assert lm.answer(prompt[row : row + 1], alone, 8) == [together[row]]


def test_beams_are_those_of_transformers(lm: FrozenLM, batch: Batch, prompt: Tensor) -> None:
    found = lm.answer(prompt, batch, 6, beams=4)
    for row, example in enumerate(encoded(lm)):
        embeds = lm.embed(torch.tensor([example["input_ids"]]))
        ids = lm.model.generate(  # type: ignore[operator]
            inputs_embeds=torch.cat([prompt[row : row + 1], embeds], dim=1),
            max_new_tokens=6,
            num_beams=4,
            do_sample=False,
        )
        assert lm.decode(ids) == [found[row]]
    greedy = lm.answer(prompt, batch, 6)
    assert len(found) == len(greedy) == 3


def test_initial_prompt_holds_distinct_token_embeddings(lm: FrozenLM) -> None:
    initial = lm.initial_prompt(50, 7)
    vocabulary = lm.embedding.weight.detach()[:5000]
    distances = torch.cdist(initial, vocabulary)
    nearest = distances.argmin(dim=1)
    assert torch.equal(vocabulary[nearest], initial)
    assert len(set(nearest.tolist())) == 50
    assert torch.equal(initial, lm.initial_prompt(50, 7))
    assert not torch.equal(initial, lm.initial_prompt(50, 8))


def test_a_prompt_longer_than_the_vocabulary_is_refused(lm: FrozenLM) -> None:
    with pytest.raises(ConfigError, match="prompt_length"):
        lm.initial_prompt(6000, 0)


def test_modes_are_restored(lm: FrozenLM) -> None:
    assert not lm.model.training
    with lm.training():
        assert lm.model.training
        with lm.inference():
            assert not lm.model.training
            assert not torch.is_grad_enabled()
        assert lm.model.training
        assert torch.is_grad_enabled()
    assert not lm.model.training


def test_nothing_of_the_model_wants_a_gradient(lm: FrozenLM, batch: Batch, prompt: Tensor) -> None:
    wanted = prompt.clone().requires_grad_()
    lm.run(wanted, batch).loss.backward()
    assert wanted.grad is not None
    assert [name for name, p in lm.model.named_parameters() if p.grad is not None] == []
