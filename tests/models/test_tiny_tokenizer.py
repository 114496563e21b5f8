"""The tokenizer of the tiny model: rebuilds to the byte, covers the world, loses no text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.samples import SIZES, generate
from bench.models import tiny_tokenizer
from bench.models.tiny_tokenizer import FOLDER, SENTINELS, SIZE, SPACE
from bench.tasks import get_task, list_tasks

FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@pytest.fixture(scope="module")
def words() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(FOLDER)


def test_a_rebuild_gives_the_committed_bytes(tmp_path: Path) -> None:
    tiny_tokenizer.save(tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), (
            f"{name} is out of date: run python -m bench.models.tiny_tokenizer"
        )


def test_special_tokens_are_those_of_t5(words: Any) -> None:
    assert (words.pad_token_id, words.eos_token_id, words.unk_token_id) == (0, 1, 2)
    assert len(words) == SIZE
    sentinels = [f"<extra_id_{i}>" for i in range(SENTINELS)]
    assert words.convert_tokens_to_ids(sentinels) == [SIZE - 1 - i for i in range(SENTINELS)]
    assert words("the dog").input_ids[-1] == 1
    assert words("<extra_id_0> the <extra_id_1>").input_ids[0] == SIZE - 1


def test_low_ids_are_words(words: Any) -> None:
    first = words.convert_ids_to_tokens(list(range(3, 2200)))
    assert all(token[0] == SPACE and token[1:].isalpha() for token in first)


def test_labels_grades_and_field_marks_are_single_tokens(words: Any) -> None:
    texts = ["0", "1", "2", *(f"{tenths / 10:.1f}" for tenths in range(51))]
    for task in list_tasks():
        row = generate(task.name, "train", 1)[0]
        source = task.to_text(row, True)[0].source
        texts += [task.published_name.split()[0], *re.findall(r"(?<!\S)[a-z]+\d?:(?!\S)", source)]
    assert "premise:" in texts
    assert "superglue-boolq" in texts
    for text in texts:
        assert len(words(text).input_ids) == 2, text


@pytest.mark.parametrize("task", SIZES)
def test_words_of_the_samples_are_single_tokens(task: str, words: Any) -> None:
    vocabulary = words.get_vocab()
    for row in generate(task, "train", 150, seed=11):
        for pair in get_task(task).to_text(row, True):
            for word in f"{pair.source} {pair.target}".split():
                plain = word.strip(".,?'\"-();")
                if plain.isalpha() and not re.search("[a-z][A-Z]", plain):
                    assert SPACE + plain in vocabulary, word


def test_inputs_fit_the_tiny_model(words: Any) -> None:
    for task in SIZES:
        for row in generate(task, "train", 100):
            for pair in get_task(task).to_text(row, True):
                assert len(words(pair.source).input_ids) <= 96


@given(st.text())
def test_any_text_survives(words: Any, text: str) -> None:
    # The mark of a space, and texts that name special tokens, mean something else.
    normal = " ".join(re.sub(r"\s+", " ", text.replace(SPACE, "")).split(" ")).strip()
    if not re.search(r"<(pad|/s|unk|extra_id_\d+)>", normal):
        ids = words(normal).input_ids
        assert 2 not in ids
        assert words.decode(ids, skip_special_tokens=True) == normal


def test_words_literal_bytes_and_foreign_letters_survive(words: Any) -> None:
    text = "Déjà vu — 東京 <0x41> didn't £20 snake_case"
    assert words.decode(words(text).input_ids, skip_special_tokens=True) == text


def test_files_are_plain_json_without_code() -> None:
    for name in FILES:
        json.loads((FOLDER / name).read_text(encoding="utf-8"))
    config = json.loads((FOLDER / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert "auto_map" not in config
