"""The pretraining recipe: what it reads, that it repeats, and what it leaves."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
)

from bench.data.samples import SIZES, generate
from bench.models.catalog import BUNDLED
from bench.models.loading import load
from bench.models.pretraining import lexicon
from bench.models.pretraining.__main__ import main
from bench.models.pretraining.batches import shares
from bench.models.pretraining.drills import drill
from bench.models.pretraining.mixture import Mixture, Steered, TaskTexts
from bench.models.pretraining.recipe import (
    DRILL_WEIGHTS,
    LATE_DRILL_WEIGHTS,
    RECIPES,
    TASK_WEIGHTS,
    Recipe,
)
from bench.models.pretraining.spans import corrupt
from bench.models.pretraining.steering import (
    INDEX_STYLES,
    MEANINGS,
    PLAIN,
    WORD_STYLES,
    published_instruction,
    steer,
)
from bench.models.pretraining.students import Student, student_of
from bench.models.pretraining.training import pretrain, rate, save
from bench.tasks import get_task, list_tasks
from bench.tasks.metrics.question_answering import token_f1

TINY = BUNDLED["tiny"].path
SMALL = {
    "tiny": {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1},
    "tiny-llama": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1},
}
SMALL_RECIPES = {
    name: replace(
        stages[0],
        architecture=stages[0].architecture | SMALL[name],
        steps=3,
        batch_size=4,
        processes=1,
        chunk=2,
    )
    for name, stages in RECIPES.items()
}
RECIPE = SMALL_RECIPES["tiny"]
SENTINELS = range(1000, 980, -1)


@pytest.fixture(scope="module")
def examples() -> list[Steered]:
    mixture = Mixture(1, TASK_WEIGHTS)
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
        if "write" not in example.front and _task(example) in MEANINGS
    }
    assert len(answers) > 300
    assert {target for _, target in answers} == set(PLAIN)


def test_a_label_is_written_as_the_instruction_in_front_says(examples: list[Steered]) -> None:
    seen = set()
    for style in (*INDEX_STYLES, *WORD_STYLES):
        for example in examples:
            if f"write {' '.join(style)}" in example.front:
                assert example.target in style
                seen.add((style, example.target))
    assert len(seen) == 3 * (len(INDEX_STYLES) + len(WORD_STYLES))


def test_inputs_are_the_published_texts_behind_what_steers(examples: list[Steered]) -> None:
    names = {get_task(name).published_name for name in TASK_WEIGHTS}
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


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(TINY)  # type: ignore[no-any-return]


@pytest.fixture(params=sorted(RECIPES))
def student(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerBase) -> Student:
    """Each kind of model, small and untrained."""
    return student_of(SMALL_RECIPES[request.param], tokenizer)


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


def test_the_fused_activation_is_the_one_that_the_configuration_names(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    student = student_of(RECIPE, tokenizer)
    model = student.initial_model().eval()
    named = T5ForConditionalGeneration(T5Config(**RECIPE.architecture)).eval()
    named.load_state_dict(model.state_dict())
    batch = student.padded(list(student.task_examples([("a red dog barked", "same")])))
    torch.testing.assert_close(student.scores(model, batch), student.scores(named, batch))
    assert type(named.encoder.block[0].layer[-1].DenseReluDense.act) is not torch.nn.GELU


def test_a_decoder_writes_texts_and_some_of_them_twice(tokenizer: PreTrainedTokenizerBase) -> None:
    student = student_of(replace(SMALL_RECIPES["tiny-llama"], twice_share=0.5), tokenizer)
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


def test_the_rate_rises_holds_and_falls_like_an_inverse_root() -> None:
    recipe = replace(RECIPE, warmup_steps=4, hold_steps=100)
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


@pytest.fixture(scope="module", params=sorted(RECIPES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one small step of the command leaves, in a folder named as the model."""
    path = tmp_path_factory.mktemp("pretrained") / str(request.param)
    words = ["--model", path.name, "--out", str(path), "--steps", "1", "--rows", "1"]
    small = tuple(replace(stage, batch_size=4, chunk=2) for stage in RECIPES[path.name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, path.name, small)
        result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "step 1," in result.output
    assert "mnli: " in result.output
    return path


def test_the_command_leaves_a_model_that_loads(folder: Path) -> None:
    loaded, bundled = load(str(folder)), load(folder.name)
    assert loaded.architecture == bundled.architecture
    assert loaded.parameter_count() == bundled.parameter_count()
    with safetensors.safe_open(folder / "model.safetensors", "pt") as weights:
        tensors = [weights.get_tensor(name) for name in weights.keys()]  # noqa: SIM118
    assert any(torch.equal(loaded.embedding.weight, tensor) for tensor in tensors)


def test_weights_and_tokenizer_are_small_enough_to_ship(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 12_000_000


def test_other_weights_give_another_digest(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    bundled = replace(BUNDLED[folder.name], words=None)
    model = replace(bundled, folder=str(tmp_path / "copy"))
    before = model.digest()
    assert before == replace(model, folder=str(folder)).digest()
    path = tmp_path / "copy" / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    next(iter(tensors.values())).view(-1)[5] += 1
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


@pytest.fixture(scope="module")
def drills() -> list[tuple[str, str]]:
    rng = Random(0)
    return [drill(rng, 0.5, DRILL_WEIGHTS) for _ in range(6000)]


def test_an_answer_to_find_stands_beside_who_is_asked_after(drills: list[tuple[str, str]]) -> None:
    found = [(text, answer) for text, answer in drills if text.startswith("write short")]
    assert len(found) > 500
    for text, answer in found:
        question, context = re.fullmatch(r"write short question: (.*) context: (.*)", text).groups()  # type: ignore[union-attr]
        lines = context.rstrip(".").split(". ")
        told = [line for line in lines if re.search(rf"\b{answer}\b", line)]
        names = set(re.findall(r"\b[A-Z][a-z]+", question)[1:])
        assert told, text
        assert all(names & set(line.split()) for line in told), text


def test_late_drills_say_of_whom_and_in_which_sense() -> None:
    rng = Random(0)
    drills = [drill(rng, 0.5, LATE_DRILL_WEIGHTS) for _ in range(4000)]
    both = [(text, answer) for text, answer in drills if ", " in answer]
    senses = [(text, answer) for text, answer in drills if text.startswith("sense ")]
    assert len(both) > 200
    assert len(senses) > 200
    for text, answer in both:
        assert all(about.rpartition(" ")[0] in text for about in answer.split(", "))
    named: dict[str, set[str]] = {}
    for text, answer in senses:
        word = text.rpartition(" ")[2]
        assert word in answer.split()
        named.setdefault(word, set()).add(answer)
    assert {len(answers) for answers in named.values()} == {2}


def test_a_claim_on_one_of_two_is_true_where_its_names_stand_together() -> None:
    rng = Random(0)
    checked = 0
    for _ in range(400):
        text, meaning = drill(rng, 0.0, {"claimed of two": 1})
        claim, passage = re.fullmatch(r"question: (.*) passage: (.*)\.", text).groups()  # type: ignore[union-attr]
        words = claim.split()
        places = [at for at, word in enumerate(words) if word[0].isupper() or word[0].isdigit()]
        if places[-1] - places[0] + 1 == len(places):
            continue  # Only a subject: its value is no name and no year.
        named = {words[at] for at in places}
        together = any(named <= set(line.split()) for line in passage.split(". "))
        assert together == (meaning == "same"), text
        checked += 1
    assert checked > 100


def test_words_that_differ_stand_in_one_clause_only(drills: list[tuple[str, str]]) -> None:
    found = [(text, answer) for text, answer in drills if text.startswith("differ ")]
    assert len(found) > 300
    for text, answer in found:
        clauses = text.lower().split(" sentence2: ")
        sides = [set(re.findall(r"\w+", clause)) for clause in clauses]
        assert set(answer.split()) <= sides[0] ^ sides[1], text
        assert answer, text


def test_no_drill_is_a_pair_of_an_evaluation_split(drills: list[tuple[str, str]]) -> None:
    pairs = {
        frozenset(text.partition("premise: ")[2].split(" hypothesis: "))
        for text, _ in drills
        if "premise: " in text
    }
    held_out = {
        frozenset((str(row["premise"]), str(row["hypothesis"])))
        for split in ("validation_matched", "validation_mismatched")
        for row in generate("mnli", split, 2000)
    }
    assert len(pairs) > 900
    assert not pairs & held_out


def test_a_question_alone_is_never_answered() -> None:
    task, rng = get_task("squad"), Random(0)
    for pair in islice(TaskTexts(task, 1), 300):
        instruction, target = steer(task, pair, rng)
        if not instruction:
            assert token_f1(target, pair.target) == 0.0


def test_drills_give_way_to_tasks_and_then_instructions_come_in() -> None:
    recipe = replace(
        RECIPE,
        **{"first_drill_share": 0.7, "last_drill_share": 0.1, "drill_steps": 300},
        **{"plain_steps": 400, "styling_steps": 100, "styled_share": 0.6},
    )
    found = [shares(recipe, step) for step in (0, 100, 300, 400, 450, 500, 1000)]
    assert [share.drills for share in found] == pytest.approx([0.7, 0.5, *[0.1] * 5])
    assert [share.styled for share in found] == pytest.approx([0, 0, 0, 0, 0.3, 0.6, 0.6])


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


def _task(example: Steered) -> str:
    first = example.source.split()[0]
    return next(task.name for task in list_tasks() if task.published_name == first)
