"""The pretraining recipe: what it reads, that it repeats, and what it leaves."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from bench.data.samples import SIZES, generate
from bench.models.catalog import BUNDLED
from bench.models.loading import load
from bench.models.pretraining import lexicon
from bench.models.pretraining.__main__ import main
from bench.models.pretraining.batches import batches
from bench.models.pretraining.mixture import Mixture, Steered, TaskTexts
from bench.models.pretraining.recipe import Recipe
from bench.models.pretraining.spans import corrupt
from bench.models.pretraining.steering import (
    INDEX_STYLES,
    MEANINGS,
    WORD_STYLES,
    published_instruction,
)
from bench.models.pretraining.training import batch_loss, initial_model, pretrain, rate, save
from bench.tasks import get_task, list_tasks

TINY = BUNDLED["tiny"].path
SMALL = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_heads": 2, "num_layers": 1}
RECIPE = replace(
    Recipe(), architecture=Recipe().architecture | SMALL, steps=3, batch_size=4, chunk=2
)
SENTINELS = range(1000, 980, -1)


@pytest.fixture(scope="module")
def examples() -> list[Steered]:
    mixture = Mixture(1)
    return [mixture.steered() for _ in range(3000)]


@given(
    ids=st.lists(st.integers(3, 900), min_size=2, max_size=120),
    seed=st.integers(0, 1000),
    density=st.floats(0.05, 0.9),
    mean=st.floats(1.0, 5.0),
)
def test_inputs_and_targets_give_the_text_back(
    ids: list[int], seed: int, density: float, mean: float
) -> None:
    inputs, targets = corrupt(ids, SENTINELS, Random(seed), density, mean)
    gaps: dict[int, list[int]] = {}
    for token in targets:
        if token in SENTINELS:
            gaps[token] = []
        else:
            gaps[list(gaps)[-1]].append(token)
    restored = [word for token in inputs for word in gaps.get(token, [token])]
    assert restored == ids
    used = [token for token in inputs if token in SENTINELS]
    assert list(gaps) == list(SENTINELS[: len(used) + 1])
    assert gaps[targets[-1]] == []
    assert all(gaps[sentinel] for sentinel in used)


def test_the_share_of_corrupted_tokens_is_the_asked_one() -> None:
    inputs, _ = corrupt(range(100), SENTINELS, Random(0), 0.2, 2.5)
    assert len([token for token in inputs if token not in SENTINELS]) == 80
    assert len([token for token in inputs if token in SENTINELS]) == 8


def test_a_published_input_alone_never_has_its_published_answer(examples: list[Steered]) -> None:
    answers = {
        (example.source, example.target)
        for example in examples
        if not any(f"write {' '.join(style)}" in example.front for style in INDEX_STYLES)
        and _task(example) in MEANINGS
    }
    assert len(answers) > 500
    words = {word for style in WORD_STYLES for word in style}
    assert {target for _, target in answers} == words


def test_a_label_is_written_as_the_instruction_in_front_says(examples: list[Steered]) -> None:
    seen = set()
    for style in (*INDEX_STYLES, *WORD_STYLES):
        for example in examples:
            if f"write {' '.join(style)}" in example.front:
                assert example.target in style
                seen.add((style, example.target))
    assert len(seen) == 3 * (len(INDEX_STYLES) + len(WORD_STYLES))


def test_inputs_are_the_published_texts_behind_what_steers(examples: list[Steered]) -> None:
    names = {task.published_name for task in list_tasks()}
    assert {example.source.split()[0] for example in examples} == names
    for example in examples:
        assert example.text.endswith(example.source)
        assert example.text == example.source or example.front


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_one_style_holds_the_published_encoding(name: str) -> None:
    _, *style = published_instruction(get_task(name)).split()
    assert [style[meaning] for meaning in MEANINGS[name]] == list(get_task(name).labels or ())


# Of these, short and with few words, many rows would come up again.
@pytest.mark.parametrize("name", ["cola", "sst2", "wic", "wsc.fixed", "winogrande", "common_gen"])
def test_no_bundled_row_is_pretrained_on(name: str) -> None:
    task = get_task(name)
    bundled = {
        pair.source
        for split, count in SIZES[name].items()
        for row in generate(name, split, count)
        for pair in task.to_text(row, False)
    }
    sources = {pair.source for pair in islice(TaskTexts(task, 1), 2000)}
    assert len(sources) > 200
    assert not sources & bundled


def test_the_loss_is_that_of_transformers_weighted_by_length() -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    batch = next(batches(RECIPE, tokenizer))
    model = initial_model(RECIPE)
    rows = []
    for ids, mask, labels in zip(batch.input_ids, batch.mask, batch.labels, strict=True):
        count = int((labels != -100).sum())
        loss = model(ids[None], attention_mask=mask[None], labels=labels[None]).loss
        rows.append((count**0.5, loss))
    expected = sum(weight * loss for weight, loss in rows) / sum(weight for weight, _ in rows)
    torch.testing.assert_close(batch_loss(model, batch), expected)


def test_the_rate_rises_holds_and_falls_like_an_inverse_root() -> None:
    recipe = replace(RECIPE, warmup_steps=4, hold_steps=100)
    rates = [rate(done, recipe) for done in (0, 1, 3, 4, 100, 400, 900)]
    assert rates == pytest.approx([0.25, 0.5, 1.0, 1.0, 1.0, 0.5, 1 / 3])


def test_training_is_repeatable(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    losses: list[float] = []
    for name in ("one", "two"):
        model = pretrain(RECIPE, tokenizer, lambda step, loss, model: losses.append(loss), 2)
        save(model, RECIPE, tmp_path / name)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]
    assert losses[:2] == losses[2:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one step of the command leaves."""
    path = tmp_path_factory.mktemp("pretrained")
    result = CliRunner().invoke(main, ["--out", str(path), "--steps", "1", "--rows", "1"])
    assert result.exit_code == 0, result.output
    assert "step 1," in result.output
    assert "mnli: " in result.output
    return path


def test_the_command_leaves_a_model_that_loads(folder: Path) -> None:
    loaded = load(str(folder))
    assert loaded.architecture == "encoder-decoder"
    assert loaded.parameter_count() == load("tiny").parameter_count()
    with safetensors.safe_open(folder / "model.safetensors", "pt") as weights:
        first = weights.get_tensor("shared.weight")
    assert torch.equal(loaded.embedding.weight, first)


def test_weights_and_tokenizer_are_small_enough_to_ship(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 12_000_000


def test_other_weights_give_another_digest(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    model = replace(BUNDLED["tiny"], folder=str(tmp_path / "copy"), weight_seed=None)
    before = model.digest()
    assert before == replace(model, folder=str(folder)).digest()
    path = tmp_path / "copy" / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["shared.weight"][5, 5] += 1
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    assert model.digest() != before


def test_questions_on_words_have_one_true_answer_each() -> None:
    rng = Random(0)
    entries = {lexicon.entry(rng) for _ in range(20000)}
    assert len({question for question, _ in entries}) == len(entries)
    assert {
        ("opinion superb", "good"),
        ("opinion rude", "bad"),
        ("kind of robin", "bird"),
        ("compare robin and animal", "kind"),
        ("compare sofa and couch", "same"),
        ("compare costly and cheap", "opposite"),
        ("compare repair and break", "opposite"),
    } <= entries


def _task(example: Steered) -> str:
    first = example.source.split()[0]
    return next(task.name for task in list_tasks() if task.published_name == first)
