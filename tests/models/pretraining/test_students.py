"""Both architectures as the pretraining trains them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import torch
from transformers import (
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
)

from bench.models.catalog import BUNDLED
from bench.models.pretraining.mixture import BLUR
from bench.models.pretraining.recipe import RECIPES, Fronts, Recipe
from bench.models.pretraining.students import IdPair, Student, student_of
from bench.models.pretraining.students.encoder_decoder import EncoderDecoderStudent
from bench.models.tiny_tokenizer import COMMON_WORDS


def test_the_loss_is_that_of_the_frozen_model_weighted_by_length(student: Student) -> None:
    model = student.initial_model()
    frozen = student.adapter(model, student.tokenizer, torch.device("cpu"))
    prompt = torch.empty(1, 0, frozen.width)
    pairs = student.task_examples([("a red dog barked", "same"), ("why", "Ada Hill of Novatek")])
    losses, weights = [], []
    for pair in (examples := list(pairs)):
        losses.append(frozen.run(prompt, student.padded([pair])).loss)
        weights.append(len(pair[1]) ** 0.5)
    expected = sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)
    torch.testing.assert_close(student.loss(model, student.padded(examples)), expected)


def test_a_blurred_front_is_the_same_wherever_its_row_stands(
    tokenizer: PreTrainedTokenizerBase, small_recipes: Mapping[str, Recipe]
) -> None:
    plain = small_recipes["tiny"]
    student = student_of(replace(plain, fronts=Fronts(noise=2.0)), tokenizer)
    texts = [(f"all we {BLUR} a red dog", "same"), ("many more words in a longer row", "other")]
    front, long = student.task_examples(texts)
    model = student.initial_model()

    def loss(student: Student, *pairs: IdPair) -> torch.Tensor:
        return student.summed_loss(model, student.padded(pairs))

    alone = loss(student, front)
    assert not torch.isclose(alone, loss(student_of(plain, tokenizer), front))
    without = loss(student_of(plain, tokenizer), long)
    torch.testing.assert_close(loss(student, long), without)
    torch.testing.assert_close(loss(student, long, front), alone + without)


def test_noise_stands_up_to_the_mark_and_has_all_sizes_up_to_the_most(
    tokenizer: PreTrainedTokenizerBase, small_recipes: Mapping[str, Recipe]
) -> None:
    fronts = Fronts(noise=2.0)
    student = student_of(replace(small_recipes["tiny"], fronts=fronts), tokenizer)
    assert isinstance(student, EncoderDecoderStudent)
    words = [word for word in COMMON_WORDS if len(tokenizer(word)["input_ids"]) == 2]
    texts = [(f"{word} {other} {BLUR} a dog", "") for word, other in pairwise(words[:200])]
    ids = student.padded(list(student.task_examples(texts))).input_ids
    noise = student.blur(ids, 4000)
    assert torch.equal(noise.any(dim=2), torch.arange(ids.shape[1]).expand_as(ids) < 3)
    sizes = noise[:, :3].flatten(1).std(dim=1).sort().values
    even = torch.linspace(0, fronts.noise, len(sizes))  # Uniform: Kolmogorov's distance is small.
    assert (sizes - even).abs().max() < 0.15 * fronts.noise


def test_a_llama_has_no_blurred_fronts(
    tokenizer: PreTrainedTokenizerBase, small_recipes: Mapping[str, Recipe]
) -> None:
    recipe = replace(small_recipes["tiny-llama"], fronts=Fronts(noise=0.1))
    with pytest.raises(ValueError, match=r"fronts\.noise is for an encoder-decoder"):
        student_of(recipe, tokenizer)


def test_the_fused_activation_is_the_one_that_the_configuration_names(
    tokenizer: PreTrainedTokenizerBase, small_recipes: Mapping[str, Recipe]
) -> None:
    student = student_of(small_recipes["tiny"], tokenizer)
    model = student.initial_model().eval()
    named = T5ForConditionalGeneration(T5Config(**student.recipe.architecture)).eval()
    named.load_state_dict(model.state_dict())
    batch = student.padded(list(student.task_examples([("a red dog barked", "same")])))
    torch.testing.assert_close(student.scores(model, batch), student.scores(named, batch))
    assert type(named.encoder.block[0].layer[-1].DenseReluDense.act) is not torch.nn.GELU


def test_a_decoder_writes_texts_and_some_of_them_twice(
    tokenizer: PreTrainedTokenizerBase, small_recipes: Mapping[str, Recipe]
) -> None:
    student = student_of(replace(small_recipes["tiny-llama"], twice_share=0.5), tokenizer)
    pairs = [student.text_example("Ada fed a robin.", Random(seed)) for seed in range(40)]
    texts = {tokenizer.decode(target, skip_special_tokens=True) for _, target in pairs}
    assert texts == {"Ada fed a robin.", "Ada fed a robin. Ada fed a robin."}
    assert all(target[-1] == tokenizer.eos_token_id for _, target in pairs)
    assert {tokenizer.decode(source) for source, _ in pairs} == {"Label :"}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_has_the_architecture_of_its_bundled_model(name: str) -> None:
    model = BUNDLED[name]
    for recipe in RECIPES[name]:
        assert recipe.architecture == json.loads((model.path / "config.json").read_text())
        assert recipe.kind == model.architecture


def test_heads_start_at_copies_and_at_neighbours(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = tokenizer("dog red farm Ruth dog boat sold oak")["input_ids"]
    model: Any = student_of(Recipe(), tokenizer).initial_model().eval()
    model.set_attn_implementation("eager")  # Others do not show their attention.
    with torch.no_grad():
        layer = model.encoder(torch.tensor([ids]), output_attentions=True).attentions[0][0]
    for head in (0, 1):
        assert layer[head, 0].argmax() == 4
        assert layer[head, 4].argmax() == 0
        assert layer[head, 0, 0] < 0.1
    # Weights on the word before, and after; other words score at random, and win now and then.
    before, after = layer[2].diagonal(offset=-1), layer[3].diagonal(offset=1)
    assert before.mean() > 0.5
    assert after.mean() > 0.5
    assert layer[2].diagonal(offset=1).mean() < 0.1
    assert layer[3].diagonal(offset=-1).mean() < 0.1
