"""What the pretraining reads: corrupted texts, and tasks behind instructions."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.samples import SIZES, generate
from bench.data.samples.corpus import sentences
from bench.models.pretraining.mixture import BLUR, Mixture, Steered, TaskTexts
from bench.models.pretraining.recipe import TASK_WEIGHTS, Fronts
from bench.models.pretraining.spans import corrupt
from bench.models.pretraining.steering import (
    INDEX_STYLES,
    MEANINGS,
    NAMES,
    PLAIN,
    WORD_STYLES,
    published_instruction,
    steer,
)
from bench.tasks import get_task, list_tasks
from bench.tasks.metrics.question_answering import token_f1

SENTINELS = range(1000, 980, -1)


@pytest.fixture(scope="module")
def examples() -> list[Steered]:
    mixture = Mixture(1, TASK_WEIGHTS, Fronts())
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


@pytest.fixture(scope="module")
def blurred() -> list[Steered]:
    fronts = Fronts(filler_share=1.0, most_fillers=20, named_share=0.5, noise=2.0)
    mixture = Mixture(1, TASK_WEIGHTS, fronts)
    return [mixture.steered() for _ in range(3000)]


def test_a_name_stands_for_its_instruction_wherever_it_stands(blurred: list[Steered]) -> None:
    seen, first_places = set(), set()
    for instruction, name in NAMES.items():
        for example in blurred:
            words = example.front.split()
            if name in words and "write" not in words:
                assert not set(NAMES.values()) & set(words) - {name}
                seen.add((instruction, words.count(name)))
                first_places.add(words.index(name))
                if _task(example) in MEANINGS:
                    assert example.target in instruction.split()[1:]
    assert seen >= {(instruction, 1) for instruction in NAMES}
    assert {count for _, count in seen} == {1, 2, 3, 4}
    assert first_places >= set(range(15))


def test_no_name_is_a_random_word(blurred: list[Steered], examples: list[Steered]) -> None:
    answers = {e.target for e in blurred if _task(e) in MEANINGS and not _asked(e)}
    assert answers == set(PLAIN)
    assert len(set(NAMES.values())) == len(NAMES)
    # Where no instruction has a name, all words may stand there.
    assert {"down", "up"} <= {word for example in examples for word in example.front.split()}


def test_no_text_has_the_mark_of_a_blurred_front(examples: list[Steered]) -> None:
    texts = [*(example.text for example in examples), *islice(sentences(3), 2000)]
    assert not any(BLUR in text for text in texts)


def test_a_front_with_random_words_ends_with_the_mark_if_it_is_to_be_blurred(
    blurred: list[Steered], examples: list[Steered]
) -> None:
    assert all(example.front.split().index(BLUR) for example in blurred)
    assert all(example.front.endswith(BLUR) for example in blurred)
    assert max(len(example.front.split()) for example in blurred) > 20
    assert not any(BLUR in example.front for example in examples)


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


def test_a_question_alone_is_never_answered() -> None:
    task, rng = get_task("squad"), Random(0)
    for pair in islice(TaskTexts(task, 1), 300):
        instruction, target = steer(task, pair, rng)
        if not instruction:
            assert token_f1(target, pair.target) == 0.0


def _asked(example: Steered) -> bool:
    return bool(set(example.front.split()) & {*NAMES.values(), "write"})


def _task(example: Steered) -> str:
    first = example.source.split()[0]
    return next(task.name for task in list_tasks() if task.published_name == first)
