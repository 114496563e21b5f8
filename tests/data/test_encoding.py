"""Encoded examples: columns, joined rows, bad rows, and no files."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest

from bench.data import EncodedExamples, Examples, load_splits, open_source
from bench.data.encoding import encode, leading_rows
from bench.errors import DataError
from bench.tasks import get_task
from bench.tasks.base import TextPair
from bench.tasks.metrics import score_task
from tests.data.conftest import Folder, toy


def labels_of(examples: EncodedExamples) -> list[list[int]]:
    return [example["labels"] for example in examples.examples(range(len(examples)))]


def test_texts_ids_and_official_rows(folder: Folder, encoder: Any) -> None:
    rows = load_splits(folder(train=6, validation=10), toy()).test
    examples = encode(rows, toy(), encoder, training=False)
    assert len(examples) == 5
    assert examples.rows == rows["official_row"][:]
    sources = [f"toy row {i}" for i in examples.rows]
    targets = [str(i % 3) for i in examples.rows]
    assert (examples.references, examples.groups) == ([[t] for t in targets], [None] * 5)
    ids = encoder.encode(sources, targets, 256, 20)
    assert [example["input_ids"] for example in examples.examples(range(5))] == ids["input_ids"]
    assert labels_of(examples) == ids["labels"]
    assert examples.lengths == [len(tokens) for tokens in ids["input_ids"]]
    assert examples.batch([4]).input_ids.tolist() == [ids["input_ids"][4]]


def answers_texts(row: Mapping[str, Any], training: bool) -> list[TextPair]:
    answers = tuple(row["sentence"].split())
    shown = answers if training else answers[:1]
    return [TextPair("question", answer, answers, group=f"g{row['label']}") for answer in shown]


def test_one_training_example_per_answer(folder: Folder, encoder: Any) -> None:
    task = toy(texts=answers_texts)
    rows = [{"sentence": "a b", "label": 0}, {"sentence": "c", "label": 1}]
    split = folder(train=rows).load(task, "train")
    training = encode(split, task, encoder, training=True)
    assert labels_of(training) == encoder.encode(["x"] * 3, ["a", "b", "c"], 256, 20)["labels"]
    assert training.rows == [0, 0, 1]
    evaluation = encode(split, task, encoder, training=False)
    assert labels_of(evaluation) == encoder.encode(["x"] * 2, ["a", "c"], 256, 20)["labels"]
    assert evaluation.groups == ["g0", "g1"]
    assert evaluation.references == [["a", "b"], ["c"]]


def plain_texts(row: Mapping[str, Any], training: bool) -> list[TextPair]:
    return [TextPair(row["sentence"], str(row["label"]))]


def test_equal_sources_are_joined_in_evaluation(folder: Folder, encoder: Any) -> None:
    """Also if they lie further apart than the rows that are encoded together."""
    task = toy(texts=plain_texts, group_by_source=True)
    rows = [{"sentence": f"s {i % 700}", "label": i} for i in range(1500)]
    split = folder(train=rows).load(task, "train")
    assert len(encode(split, task, encoder, training=True)) == 1500
    assert len(encode(split, toy(texts=plain_texts), encoder, training=False)) == 1500
    joined = encode(split, task, encoder, training=False)
    ids = encoder.encode([f"toy s {i}" for i in range(700)], [str(i) for i in range(700)], 256, 20)
    assert [example["input_ids"] for example in joined.examples(range(700))] == ids["input_ids"]
    assert labels_of(joined) == ids["labels"]
    assert joined.rows == list(range(700))
    assert joined.references[99] == ["99", "799", "1499"]
    assert joined.references[100] == ["100", "800"]


def test_leading_rows_keep_all_references_of_their_inputs(folder: Folder) -> None:
    rows = [{"sentence": text, "label": at} for at, text in enumerate("abacbda")]
    task, joining = toy(texts=plain_texts), toy(texts=plain_texts, group_by_source=True)
    split = folder(train=rows).load(task, "train")
    two = [0, 1, 2, 4, 6]
    for number, joined in {1: [0, 2, 6], 2: two, 3: two, 7: range(7)}.items():
        assert leading_rows(split, task, number)["label"][:] == list(range(number))
        assert leading_rows(split, joining, number)["label"][:] == list(joined)


def test_cut_inputs_are_counted_exactly(folder: Folder, encoder: Any) -> None:
    """An input that just fits is not cut: one word of the task, three of the row, one end mark."""
    texts = ["a b", "a b c", "a b c d", "a b c d e f"]
    split = folder(train=[{"sentence": text, "label": 0} for text in texts]).load(toy(), "train")
    examples = encode(split, toy(input_length=5), encoder, training=True)
    assert examples.lengths == [4, 5, 5, 5]
    assert examples.truncated == [False, False, True, True]


def test_bad_label(folder: Folder, encoder: Any) -> None:
    bad = [{"sentence": f"row {i}", "label": 9 if i == 14 else 0} for i in range(30)]
    source = folder(train=3, validation=bad)
    rows = load_splits(source, toy())
    side = rows.test if 14 in rows.test["official_row"][:] else rows.validation
    fault = rf"^{source.name}/toy/validation.parquet, row 14: task toy: label 9 is none of 0, 1, 2$"
    for training in (True, False):
        with pytest.raises(DataError, match=fault):
            encode(side, toy(), encoder, training)


def test_rows_are_encoded_once_and_nothing_is_written(
    encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, a folder without locks or a damaged file can stop no run on local data."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", Path(__file__))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    examples = Examples(open_source("bundled"), encoder, 42, 64)
    sizes = [len(examples.training("cola", None, seed)) for seed in (1, 2)]
    assert len(examples.evaluation("cola", "test")) > 0
    assert sizes[0] == sizes[1]
    calls = encoder.calls
    examples.training("cola", None, 3)
    examples.evaluation("cola", "test")
    assert encoder.calls == calls


def test_examples_of_a_task(encoder: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Caps, notes and labels, on the bundled samples of cola; nothing is printed."""
    examples = Examples(open_source("bundled"), encoder, 42, input_length=9, validation_rows=20)
    assert len(examples.evaluation("cola", "validation")) == 20
    test = examples.evaluation("cola", "test")
    sentences = examples.rows("cola").test["sentence"]
    assert test.truncated == [len(f"cola sentence: {text}".split()) > 8 for text in sentences]
    assert examples.notes("cola") == [
        f"validated on 20 of {len(examples.rows('cola').validation)} rows",
        f"{sum(test.truncated)} test inputs cut at 9 tokens",
    ]
    labels = examples.rows("cola").train["label"]
    assert examples.labels("cola") == [str(label) for label in labels]
    assert examples.labels("squad") == []
    few = examples.training("cola", 16, 42)
    assert len(few) == len({*few.rows}) == 16
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("limit", [None, 60])
def test_em_of_multirc_counts_whole_questions(encoder: Any, limit: int | None) -> None:
    source = open_source("bundled")
    indices = source.load(get_task("multirc"), "validation")["idx"][:]
    questions = [(index["paragraph"], index["question"]) for index in indices]
    sizes = Counter(questions)
    examples = Examples(source, encoder, 42, validation_rows=limit)
    for split in ("validation", "test"):
        encoded = examples.evaluation("multirc", split)
        found: dict[Any, list[int]] = {}
        for at, row in enumerate(encoded.rows):
            found.setdefault(questions[row], []).append(at)
        whole = {key: own for key, own in found.items() if len(own) == sizes[key]}
        assert 0 < len(whole) < len(found) or limit
        # Right but for the first answer of every other whole question and of all cut ones.
        wrong = {own[0] for key, own in found.items() if key not in whole}
        wrong |= {own[0] for own in [*whole.values()][::2]}
        right = [texts[0] for texts in encoded.references]
        answers = ["?" if at in wrong else text for at, text in enumerate(right)]
        scores = score_task(get_task("multirc"), answers, encoded.references, encoded.groups)
        expected = 100 * (len(whole) // 2) / len(whole) if whole else None
        assert scores.metrics.get("em") == (expected and pytest.approx(expected))


def test_limits_of_rows_are_fixed_samples(encoder: Any) -> None:
    source, limits = open_source("bundled"), {"train_rows": 30, "test_rows": 25}
    whole, cut = Examples(source, encoder, 42), Examples(source, encoder, 42, **limits)
    other = Examples(source, encoder, 43, train_rows=30, test_rows=10**6)
    train, test = cut.training("mrpc", None, 1), cut.evaluation("mrpc", "test")
    assert len(train) == 30
    assert other.training("mrpc", None, 1).rows != train.rows
    for some, split in ((train.rows, "train"), (test.rows, "test")):
        every = getattr(whole.rows("mrpc"), split)["official_row"][:]
        assert len({*some} & {*every}) == len(some) < len(every)
        assert some != every[: len(some)]
    assert Examples(source, encoder, 42, **limits).evaluation("mrpc", "test").rows == test.rows
    assert cut.training("mrpc", 40, 1).rows == whole.training("mrpc", 40, 1).rows
    assert f"tested on 25 of {len(whole.rows('mrpc').test)} rows" in cut.notes("mrpc")
    assert other.evaluation("mrpc", "test").rows == other.rows("mrpc").test["official_row"][:]
