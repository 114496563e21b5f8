"""Causal language models against plain transformers runs, row by row and without padding."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from bench.data.batches import Example, collate
from bench.errors import ModelError
from bench.models.catalog import BUNDLED
from bench.models.decoder_only import DecoderOnlyLM
from bench.models.loading import load
from bench.protocol import Batch

SOURCES = [
    "sst2 sentence: the cook likes the small boat .",
    "rte sentence1: the dog sleeps . sentence2: an animal sleeps .",
    "cola sentence: she sees .",
]
TARGETS = ["1", "0", "a longer answer"]
LENGTH, ROOM = 5, 64
POSITIONS = 96

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2, "tie_word_embeddings": False},
    "qwen2": {"num_key_value_heads": 2},
    "gpt2": {},
    # Scales its embeddings, caps its scores and sees a window only.
    "gemma2": {
        "num_key_value_heads": 2,
        "head_dim": 8,
        "sliding_window": 16,
        "tie_word_embeddings": False,
    },
    # No positions in its call: learned ones counted by the mask, and distances.
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {},
}


def make(kind: str) -> DecoderOnlyLM:
    """A model of two layers with random weights large enough that its answers vary."""
    from transformers import AutoConfig

    words = AutoTokenizer.from_pretrained(BUNDLED["tiny"].path)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    if kind not in ("gpt2", "bloom"):
        sizes |= {"intermediate_size": 48}
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(words),
        max_position_embeddings=POSITIONS,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        **sizes,
        **ARCHITECTURES[kind],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = AutoModelForCausalLM.from_config(config)
        for parameter in module.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return DecoderOnlyLM(module, words, torch.device("cpu"))


known = functools.cache(make)


@pytest.fixture(params=ARCHITECTURES)
def lm(request: pytest.FixtureRequest) -> DecoderOnlyLM:
    return known(request.param)


@pytest.fixture
def llama() -> DecoderOnlyLM:
    return known("llama")


def encoded(lm: DecoderOnlyLM) -> list[Example]:
    ids = lm.encoder.encode(SOURCES, TARGETS, ROOM, 20)
    return [
        Example(input_ids=source, labels=target)
        for source, target in zip(ids["input_ids"], ids["labels"], strict=True)
    ]


@pytest.fixture
def batch(lm: DecoderOnlyLM) -> Batch:
    return collate(encoded(lm), lm.encoder.pad_id)


def prompts(lm: DecoderOnlyLM, rows: int = 3) -> Tensor:
    noise = torch.randn(rows, LENGTH, lm.width, generator=torch.Generator().manual_seed(0))
    return lm.initial_prompt(LENGTH, 42) + 0.3 * noise


def in_front(lm: DecoderOnlyLM, prompt: Tensor, ids: Sequence[int]) -> Tensor:
    """``(1, r+L, d)``: a prompt ``(r, d)`` before the embeddings of a row."""
    embeddings = lm.model.get_input_embeddings()  # type: ignore[operator]
    return torch.cat([prompt, embeddings(torch.tensor(ids))]).unsqueeze(0)


def plain_run(lm: DecoderOnlyLM, prompt: Tensor, example: Example) -> Any:
    """Loss, scores and hidden states of one row, as transformers gives them."""
    ids = example["input_ids"] + example["labels"]
    unread = [-100] * (LENGTH + len(example["input_ids"]))
    return lm.model(
        inputs_embeds=in_front(lm, prompt, ids),
        labels=torch.tensor([unread + example["labels"]]),
        output_hidden_states=True,
    )


def plain_answer(lm: DecoderOnlyLM, prompt: Tensor, example: Example, most: int) -> list[int]:
    """The likeliest token after the other, each by a run over all before it."""
    ids = list(example["input_ids"])
    while len(ids) - len(example["input_ids"]) < most:
        with torch.no_grad():
            ids.append(
                int(lm.model(inputs_embeds=in_front(lm, prompt, ids)).logits[0, -1].argmax())
            )
        if ids[-1] == lm.encoder.end_id:
            break
    return ids[len(example["input_ids"]) :]


def answer_ids(
    lm: DecoderOnlyLM,
    prompt: Tensor,
    batch: Batch,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
    beams: int = 1,
) -> list[list[int]]:
    """The tokens behind the answers, up to the end of text."""
    with monkeypatch.context() as patch:
        patch.setattr(lm, "decode", lambda ids: ids.tolist())
        rows: Any = lm.answer(prompt, batch, most, beams)
    end = lm.encoder.end_id
    return [row[: row.index(end) + 1] if end in row else row for row in rows]


def test_rows_equal_a_plain_run_without_padding(lm: DecoderOnlyLM, batch: Batch) -> None:
    prompt = prompts(lm)
    with lm.inference():
        output = lm.run(prompt, batch)
    losses, counts = [], []
    for row, example in enumerate(encoded(lm)):
        with torch.no_grad():
            plain = plain_run(lm, prompt[row], example)
        read, written = LENGTH + len(example["input_ids"]), len(example["labels"])
        logits = plain.logits[0, read - 1 : -1]
        torch.testing.assert_close(output.logits[row, :written], logits, atol=1e-5, rtol=1e-5)
        kept = output.hidden[row][output.hidden_mask[row].bool()]
        last = plain.hidden_states[-1][0, :read]
        torch.testing.assert_close(kept, last, atol=1e-5, rtol=1e-5)
        alone = collate([example], lm.encoder.pad_id)
        with lm.inference():
            single = lm.run(prompt[row : row + 1], alone).loss
        torch.testing.assert_close(single, plain.loss, atol=1e-5, rtol=1e-5)
        losses.append(plain.loss)
        counts.append(written)
    mean = sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)
    assert output.loss.item() == pytest.approx(mean.item(), abs=1e-5)
    assert output.hidden.isfinite().all()
    assert output.logits.shape == (3, max(counts), len(lm.tokenizer))


def test_gradients_equal_those_of_a_plain_run(lm: DecoderOnlyLM, batch: Batch) -> None:
    ours, theirs = prompts(lm).requires_grad_(), prompts(lm).requires_grad_()
    lm.run(ours, batch).loss.backward()
    examples = encoded(lm)
    tokens = sum(len(example["labels"]) for example in examples)
    for row, example in enumerate(examples):
        loss = plain_run(lm, theirs[row], example).loss
        (loss * len(example["labels"]) / tokens).backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4)
    assert [name for name, p in lm.model.named_parameters() if p.grad is not None] == []


def test_answers_are_the_greedy_ones_token_by_token(
    lm: DecoderOnlyLM, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = prompts(lm)
    ours = answer_ids(lm, prompt, batch, 8, monkeypatch)
    assert ours == [plain_answer(lm, prompt[row], e, 8) for row, e in enumerate(encoded(lm))]
    assert len({tuple(row) for row in ours}) == 3  # Equal answers say something.
    # A row that says the end of text stops there, while the others go on.
    monkeypatch.setattr(lm.encoder, "end_id", ours[0][2])
    stopped = answer_ids(lm, prompt, batch, 8, monkeypatch)
    assert stopped == [plain_answer(lm, prompt[row], e, 8) for row, e in enumerate(encoded(lm))]
    assert len(stopped[0]) <= 3


def test_one_prompt_serves_every_row(lm: DecoderOnlyLM, batch: Batch) -> None:
    one = prompts(lm, 1)
    with lm.inference():
        shared, spread = lm.run(one, batch), lm.run(one.expand(3, -1, -1), batch)
    assert torch.equal(shared.logits, spread.logits)
    assert lm.answer(one, batch, 4) == lm.answer(one.expand(3, -1, -1), batch, 4)


LENGTHS = st.integers(1, 24)


@settings(max_examples=25, deadline=None)
@given(
    own=st.tuples(LENGTHS, st.integers(1, 6)),
    others=st.lists(st.tuples(LENGTHS, st.integers(1, 6)), min_size=1, max_size=3),
    seed=st.integers(0, 99),
    place=st.integers(0, 3),
)
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_row_does_not_depend_on_its_padding(
    kind: str, own: tuple[int, int], others: list[tuple[int, int]], seed: int, place: int
) -> None:
    lm = known(kind)
    draw = torch.Generator().manual_seed(seed)

    def example(sizes: tuple[int, int]) -> Example:
        ids = [torch.randint(3, 4000, (size,), generator=draw).tolist() for size in sizes]
        return Example(input_ids=ids[0], labels=ids[1])

    row = example(own)
    rows = [example(sizes) for sizes in others]
    place = min(place, len(rows))
    rows.insert(place, row)
    prompt = prompts(lm, 1)
    alone, together = (collate(part, lm.encoder.pad_id) for part in ([row], rows))
    with lm.inference():
        apart = lm.run(prompt, alone)
        within = lm.run(prompt, together)
    logits = within.logits[place, : own[1]]
    torch.testing.assert_close(logits, apart.logits[0], atol=1e-5, rtol=1e-5)
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(row["labels"]))
    torch.testing.assert_close(loss, apart.loss, atol=1e-5, rtol=1e-5)
    assert lm.answer(prompt, together, 4)[place] == lm.answer(prompt, alone, 4)[0]


def test_habits_of_a_chat_model_are_left_out(
    llama: DecoderOnlyLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, prompt = collate(encoded(llama), llama.encoder.pad_id), prompts(llama)
    usual = answer_ids(llama, prompt, batch, 8, monkeypatch)
    module = make("llama").model
    module.generation_config = GenerationConfig(
        do_sample=True, temperature=0.6, repetition_penalty=50.0, eos_token_id=usual[1][0]
    )
    loaded = DecoderOnlyLM(module, llama.tokenizer, torch.device("cpu"))
    assert answer_ids(loaded, prompt, batch, 8, monkeypatch) == usual


def test_beams_are_those_of_transformers(
    llama: DecoderOnlyLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, prompt = collate(encoded(llama), llama.encoder.pad_id), prompts(llama)
    found = answer_ids(llama, prompt, batch, 6, monkeypatch, beams=4)
    for row, example in enumerate(encoded(llama)):
        ids = llama.model.generate(  # type: ignore[operator]
            inputs_embeds=in_front(llama, prompt[row], example["input_ids"]),
            attention_mask=torch.ones(1, LENGTH + len(example["input_ids"]), dtype=torch.long),
            max_new_tokens=6,
            num_beams=4,
            do_sample=False,
            pad_token_id=llama.encoder.pad_id,
            eos_token_id=llama.encoder.end_id,
        )
        assert ids[0].tolist() == found[row]
    assert found != answer_ids(llama, prompt, batch, 6, monkeypatch)


def test_answers_are_shown_as_they_were_written(
    llama: DecoderOnlyLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Llama's own tokenizer_config.json asks for the spaces before punctuation to be removed."""
    monkeypatch.setattr(llama.tokenizer, "clean_up_tokenization_spaces", True)
    text = "the dog runs , then it does n't ."
    ids = llama.encoder.encode(["x"], [text], ROOM, ROOM)["labels"]
    assert llama.decode(torch.tensor(ids)) == [text]


def test_what_the_model_has_no_positions_for_is_refused(llama: DecoderOnlyLM) -> None:
    batch = collate(encoded(llama), llama.encoder.pad_id)
    long = prompts(llama, 1).repeat(1, POSITIONS // LENGTH, 1)
    for use in (lambda: llama.run(long, batch), lambda: llama.answer(long, batch, 2)):
        with pytest.raises(ModelError, match=f"the model takes {POSITIONS}: lower") as caught:
            use()
        assert "\n" not in str(caught.value)


def test_a_model_that_generates_from_ids_only_is_refused(llama: DecoderOnlyLM) -> None:
    from transformers import CTRLConfig

    config = CTRLConfig(vocab_size=len(llama.tokenizer), n_embd=8, n_layer=1, n_head=2, dff=8)
    module = AutoModelForCausalLM.from_config(config)
    with pytest.raises(ModelError, match="cannot write behind a soft prompt"):
        DecoderOnlyLM(module, llama.tokenizer, torch.device("cpu"))


def test_a_model_that_reads_padding_is_refused(llama: DecoderOnlyLM) -> None:
    from transformers import RwkvConfig

    config = RwkvConfig(vocab_size=len(llama.tokenizer), hidden_size=32, num_hidden_layers=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = AutoModelForCausalLM.from_config(config)
    with pytest.raises(ModelError, match="RwkvForCausalLM reads padding"):
        DecoderOnlyLM(module, llama.tokenizer, torch.device("cpu"))


def test_the_bundled_llama_is_small_and_always_the_same() -> None:
    first, second = load("tiny-llama"), load("tiny-llama")
    assert first.architecture == "decoder-only"
    assert sum(p.numel() * p.element_size() for p in first.model.parameters()) <= 12e6
    for one, two in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, two)
    files = [*BUNDLED["tiny-llama"].path.iterdir(), *BUNDLED["tiny"].path.glob("token*")]
    assert sum(path.stat().st_size for path in files) <= 12e6
