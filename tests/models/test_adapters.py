"""Forward passes and answers against plain transformers runs, row by row and without padding."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig

from bench.errors import ConfigError, ModelError
from bench.method import Batch
from bench.models.base import FrozenLM
from bench.models.encoder_decoder import ENCODED_AT_ONCE
from bench.models.loading import load
from tests.models.conftest import MODELS, Rows, known, make_model

PROMPT = [17, 2005, 400]
MOST = 14


def plain_run(lm: FrozenLM, prompt: list[int], read: list[int], written: list[int]) -> Any:
    """Scores ``(T, V)``, hidden states and loss of one row, from token ids by transformers."""
    ids = prompt + read
    if lm.architecture == "encoder-decoder":
        output = lm.model(input_ids=torch.tensor([ids]), labels=torch.tensor([written]))
        return output.logits[0], output.encoder_last_hidden_state[0], output.loss
    labels = torch.tensor([[-100] * len(ids) + written])
    sequence = torch.tensor([ids + written])
    output = lm.model(input_ids=sequence, labels=labels, output_hidden_states=True)
    hidden = output.hidden_states[-1][0, : len(ids)]
    return output.logits[0, len(ids) - 1 : -1], hidden, output.loss


def check_rows(lm: FrozenLM, rows: Rows, batch: Batch, prompt: list[int]) -> None:
    embedded = lm.embed(torch.tensor([prompt], dtype=torch.long))
    with lm.inference():
        output = lm.run(embedded, batch)
        losses, total = 0.0, sum(len(written) for _, written in rows)
        for at, (read, written) in enumerate(rows):
            scores, hidden, loss = plain_run(lm, prompt, read, written)
            ours = output.logits[at, : len(written)]
            torch.testing.assert_close(ours, scores.float(), atol=2e-5, rtol=1e-5)
            kept = output.hidden[at][output.hidden_mask[at].bool()]
            torch.testing.assert_close(kept, hidden, atol=2e-5, rtol=1e-5)
            losses += float(loss) * len(written) / total
    # The mean is over all target tokens of the batch, not over rows.
    assert float(output.loss) == pytest.approx(losses, rel=1e-5)
    assert output.hidden.isfinite().all()


@pytest.mark.parametrize("prompt", [PROMPT, []], ids=["prompt", "no_prompt"])
def test_rows_equal_a_plain_run(lm: FrozenLM, rows: Rows, batch: Batch, prompt: list[int]) -> None:
    check_rows(lm, rows, batch, prompt)


@pytest.mark.parametrize("name", ["tiny", "tiny-llama"])
def test_rows_of_bundled_models_equal_a_plain_run(name: str, rows: Rows, batch: Batch) -> None:
    """In double precision: how much rounding a padded sum adds depends on the weights."""
    lm = load(name)
    lm.model.double()
    check_rows(lm, rows, batch, PROMPT)
    # States behind answer tokens give the scores; T5 scales them.
    output = lm.run(lm.embed(torch.tensor([PROMPT])), batch)
    scores = lm.model.lm_head(output.answer_hidden).float()
    ratio = (scores * output.logits).sum() / scores.square().sum()
    torch.testing.assert_close(ratio * scores, output.logits, atol=1e-4, rtol=1e-4)


def wandering(lm: FrozenLM, seed: int = 0) -> FrozenLM:
    """Copy whose next token depends on the one before, with an end behind every eighth token."""
    lm = copy.deepcopy(lm)
    draw = torch.Generator().manual_seed(seed)
    left = torch.randn(len(lm.tokenizer), 8, generator=draw)
    right = torch.randn(8, len(lm.tokenizer), generator=draw) / 2
    end = lm.encoder.end_id

    def wander(module: Any, args: Any, options: dict[str, Any], output: Any) -> None:
        ids = options.get("decoder_input_ids", options.get("input_ids"))
        if ids is not None:
            scores, before = output.logits[:, -1], ids[:, -1]
            scores += scores.std(dim=-1, keepdim=True) * (left[before] @ right)
            scores[before % 8 == 3, end] = 1e4

    lm.model.register_forward_hook(wander, with_kwargs=True)
    return lm


def answers(
    lm: FrozenLM, batch: Batch, monkeypatch: pytest.MonkeyPatch, beams: int = 1, most: int = MOST
) -> tuple[list[list[int]], list[int]]:
    """Tokens of the answers up to their ends, and the rows of each pass through the decoder."""
    passes: list[int] = []
    hook = lm.model.register_forward_hook(lambda *call: passes.append(len(call[-1].logits)))
    with monkeypatch.context() as patch:
        patch.setattr(lm, "decode", lambda ids: ids)
        ids: Any = lm.answer(lm.embed(torch.tensor([PROMPT])), batch, most, beams)
    hook.remove()
    return cut(lm, ids), passes[passes[0] < len(batch) :]  # A pass over a prompt for all rows.


def cut(lm: FrozenLM, ids: Tensor) -> list[list[int]]:
    end, start = lm.encoder.end_id, lm.start_token
    found = [row[1:] if start is not None and row[0] == start else row for row in ids.tolist()]
    return [row[: row.index(end) + 1] if end in row else row for row in found]


def theirs(lm: FrozenLM, batch: Batch, most: int = MOST, **options: Any) -> list[list[int]]:
    """Answers by ``generate`` of transformers, each row for itself."""
    found = []
    for ids, mask in zip(batch.input_ids, batch.mask, strict=True):
        embeds = lm.embed(torch.tensor([PROMPT + ids[mask.bool()].tolist()]))
        ones = torch.ones(embeds.shape[:2], dtype=torch.long)
        search = {"max_new_tokens": most, "do_sample": False, **options}
        made = lm.model.generate(inputs_embeds=embeds, attention_mask=ones, **search)
        found += cut(lm, made)
    return found


def test_greedy_answers(lm: FrozenLM, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """With rows of other lengths that end at other steps."""
    lm = wandering(lm)
    monkeypatch.setitem(ENCODED_AT_ONCE, "cpu", 60)  # So that an encoder reads in parts.
    expected = theirs(lm, batch)
    found, passes = answers(lm, batch, monkeypatch)
    assert found == expected
    steps = [len(row) for row in expected]
    assert len(set(steps)) >= 4  # Equal answers say something.
    if lm.model.config.model_type == "mamba":
        return  # Its answers are those of generate itself.
    # Passes hold the rows that go on, and fewer than a third more.
    going = [sum(step > at for step in steps) for at in range(max(steps))]
    assert passes[0] == len(batch)
    assert all(m >= n > 3 / 4 * m for n, m in zip(going[1:], passes[1:], strict=True))


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_answers_without_end(kind: str, batch: Batch, monkeypatch: Any) -> None:
    lm = wandering(known(kind))
    lm.encoder.end_id = 4095
    for most in (1, 5):
        found, passes = answers(lm, batch, monkeypatch, most=most)
        assert {len(row) for row in found} == {most}
        assert passes == [len(batch)] * most
    lm.first_token = lm.encoder.end_id = 9
    assert answers(lm, batch, monkeypatch) == ([[9]] * len(batch), [len(batch)])


@pytest.mark.parametrize("kind", ["bart", "llama"])
def test_settings_of_a_model(kind: str, batch: Batch, monkeypatch: Any) -> None:
    batch = batch.rows(0, 4)
    plain, module = known(kind), make_model(kind).model
    given = {"decoder_start_token_id": 0, "forced_bos_token_id": 7}
    rules = {"repetition_penalty": 50.0, "min_length": 9, "no_repeat_ngram_size": 1}
    module.generation_config = GenerationConfig(do_sample=True, temperature=0.6, **rules, **given)
    lm = wandering(type(plain)(module, plain.tokenizer, plain.device))
    for beams in (1, 3):
        first = {"forced_bos_token_id": 7} if kind == "bart" else {}
        expected = theirs(wandering(plain), batch, num_beams=beams, **first)
        found, _ = answers(lm, batch, monkeypatch, beams)
        assert found == expected
        assert ({row[0] for row in found} == {7}) == (kind == "bart")


@pytest.mark.parametrize("kind", ["t5", "bart", "llama"])
def test_beams_equal_peer(kind: str, batch: Batch, monkeypatch: Any) -> None:
    lm, batch = wandering(known(kind)), batch.rows(0, 6)
    found, _ = answers(lm, batch, monkeypatch, beams=4)
    assert found == theirs(lm, batch, num_beams=4)
    assert found != answers(lm, batch, monkeypatch)[0]


def test_answers_are_shown_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Llama's own tokenizer_config.json asks for the spaces before punctuation to be removed."""
    lm = known("llama")
    monkeypatch.setattr(lm.tokenizer, "clean_up_tokenization_spaces", True)
    text = "the dog runs , then it does n't ."
    ids = lm.encoder.encode(["x"], [text], 64, 64)["labels"]
    assert lm.decode(torch.tensor(ids)) == [text]


@pytest.mark.parametrize(("kind", "written"), [("llama", 5), ("bart", 0)])
def test_too_few_positions_are_refused(kind: str, written: int, batch: Batch) -> None:
    """Those of an encoder are not those of answers."""
    lm = known(kind)
    room = 96 - batch.mask.shape[1] - written
    fits, long = (torch.zeros(1, length, lm.width) for length in (room, room + 1))
    assert lm.run(fits, batch).loss.isfinite()
    assert len(lm.answer(fits, batch, 5)) == len(batch)
    for use in (lambda: lm.run(long, batch), lambda: lm.answer(long, batch, 5)):
        with pytest.raises(ModelError, match="have 97 tokens, the model takes 96: lower") as caught:
            use()
        assert "\n" not in str(caught.value)


ENCODER_DECODER = {
    **{**MODELS["bart"], "decoder_layers": 1, "decoder_start_token_id": 2},
    **{"forced_eos_token_id": None, "forced_bos_token_id": None},
}
SCALED = {**ENCODER_DECODER, "scale_embedding": True}
CAUSAL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 16}
CAUSAL |= {"intermediate_size": 48, "num_key_value_heads": 1}
DISTANT = {
    "bart": SCALED,
    "marian": {**SCALED, "decoder_vocab_size": 4096},  # This and the next two scale ids alone.
    "pegasus": SCALED,
    "mvp": SCALED,
    "m2m_100": SCALED,  # This and the next have no way of their own to shift labels.
    "blenderbot": ENCODER_DECODER,
    "switch_transformers": {
        **{"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 2},
        **{"num_decoder_layers": 1, "num_experts": 2, "decoder_start_token_id": 0},
        **{"num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1},
    },
    "gemma": CAUSAL,
    "gemma3_text": CAUSAL,
    "xglm": {"d_model": 32, "ffn_dim": 48, "num_layers": 1, "attention_heads": 2},
    "biogpt": {**CAUSAL, "scale_embedding": True},
}


@pytest.mark.parametrize("kind", DISTANT)
def test_families_equal_a_plain_run(kind: str, rows: Rows, batch: Batch) -> None:
    """Their embeddings are scaled, their labels shifted or their outputs made in other ways."""
    lm = make_model(kind, **DISTANT[kind])
    check_rows(lm, rows, batch, PROMPT)
    equal = lm.initial_prompt(5, 0).unsqueeze(1) == lm.embed(torch.arange(4096))  # (5, V, d)
    assert equal.all(dim=2).any(dim=1).all()
    assert len(lm.answer(lm.embed(torch.tensor([PROMPT])), batch, 3)) == len(batch)


@pytest.mark.parametrize(
    ("kind", "options", "fault"),
    [
        ("bert", {**CAUSAL, "is_decoder": False}, "attends to padding or later tokens"),
        ("rwkv", {"hidden_size": 32, "num_hidden_layers": 2}, "RwkvForCausalLM attends to padding"),
        ("roberta", {**CAUSAL, "is_decoder": True}, "other scores from embeddings"),
        (
            "gemma4_text",
            {
                **{**CAUSAL, "layer_types": ["full_attention"], "global_head_dim": 16},
                **{"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 4096},
            },
            "fails in a tiny step",
        ),
    ],
)
def test_families_that_cannot_be_tuned_are_refused_in_one_line(
    kind: str,
    options: dict[str, Any],
    fault: str,
) -> None:
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    with pytest.raises(ModelError, match=fault) as caught:
        make_model(kind, **options)
    assert "\n" not in str(caught.value)
    assert torch.equal(torch.rand(2), expected)


def test_initial_prompts_are_distinct_embeddings_of_the_first_tokens() -> None:
    lm = known("tiny")
    initial = lm.initial_prompt(50, 7)
    first = lm.embedding.weight.detach()[:5000]
    nearest = torch.cdist(initial, first).argmin(dim=1)
    assert torch.equal(first[nearest], initial)
    assert len(set(nearest.tolist())) == 50
    torch.manual_seed(3)
    assert torch.equal(initial, load("tiny").initial_prompt(50, 7))  # For every task.
    assert not torch.equal(initial, lm.initial_prompt(50, 8))
    with pytest.raises(ConfigError, match="prompt_length: 6000 is more than"):
        lm.initial_prompt(6000, 0)


@pytest.mark.parametrize("name", ["tiny", "tiny-llama"])
def test_bf16_rounds_the_weights_alone(name: str, batch: Batch) -> None:
    full, half, batch = known(name), load(name, precision="bf16"), batch.rows(0, 6)
    weights, buffers = dict(half.model.named_parameters()), dict(half.model.named_buffers())
    for key, weight in full.model.named_parameters():
        assert torch.equal(weights[key], weight.bfloat16())
    for key, buffer in full.model.named_buffers():  # Frequencies of positions among them.
        assert torch.equal(buffers[key], buffer)
    heads = half.model.get_output_embeddings()
    assert half.model.config.tie_word_embeddings == (heads.weight is half.embedding.weight)
    starts = [lm.initial_prompt(6, 42).requires_grad_() for lm in (full, half)]
    assert torch.equal(*starts)
    losses = []
    for lm, start in zip((full, half), starts, strict=True):
        output = lm.run(start.unsqueeze(0), batch)
        output.loss.backward()
        losses.append(float(output.loss.detach()))
        assert output.logits.dtype == output.loss.dtype == torch.float32
    # A rounding errs by at most 2^-9; some twenty in a row come to five percent.
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert not any(p.requires_grad or p.grad is not None for p in half.model.parameters())
    exact, rounded = (start.grad for start in starts)
    assert float(torch.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0)) > 0.9
    with half.inference():
        scores = half.run(starts[1].unsqueeze(0), batch).logits.double().log_softmax(-1)
    counted = batch.labels != -100
    by_hand = -scores[counted].gather(1, batch.labels[counted].unsqueeze(1)).mean()
    assert losses[1] == pytest.approx(float(by_hand), rel=1e-6)
    assert len(half.answer(starts[1].detach().unsqueeze(0), batch, 5)) == len(batch)


def test_gradients_of_rows_are_added_up_in_float32(batch: Batch) -> None:
    """Of a prompt for all rows it is the sum over prompts for each, to the last bits."""
    lm, batch = load("tiny", precision="bf16"), batch.rows(0, 6)
    prompt = lm.initial_prompt(6, 42).requires_grad_()
    apart = prompt.expand(len(batch), -1, -1).detach().clone().requires_grad_()
    for start in (prompt.unsqueeze(0), apart):
        lm.run(start, batch).loss.backward()
    assert torch.allclose(prompt.grad, apart.grad.sum(dim=0), rtol=1e-6, atol=1e-9)
