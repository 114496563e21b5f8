from __future__ import annotations

import dataclasses
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import predictions as module
from bench.errors import PredictionsError
from bench.predictions import (
    Prediction,
    Predictions,
    judge,
    load_predictions,
    predictions_block,
    predictions_file,
    write_predictions,
)
from bench.records import Record, RecordError, read_record, write_record
from bench.tasks import TASKS, get_task
from bench.tasks.metrics import score_task

GOLDEN = Path(__file__).parent / "reports" / "golden" / "records"
NAMES = [task.name for task in TASKS]

Answered = Callable[[str], Predictions]


@pytest.fixture
def record() -> Record:
    return read_record(GOLDEN / "mrpc-dtvg-16-42-ab2de0c6077d.json")


def store(record: Record, predictions: Predictions, folder: Path) -> Record:
    """Write predictions and the record that names them."""
    assert record.rows is not None
    rows = dataclasses.replace(record.rows, test=len(predictions))
    block = predictions_block(record, predictions)
    record = dataclasses.replace(record, rows=rows, predictions=block)
    write_predictions(predictions, folder / block.file)
    return read_record(write_record(record, folder))


def few() -> Predictions:
    texts = [["1"], ["0"], ["1"]]
    return judge(("accuracy",), [7, 3, 9], ["1", " 0 ", "yes"], texts, [None] * 3)


@pytest.mark.parametrize("name", NAMES)
def test_stored_answers_give_the_scores_of_every_task(
    name: str, answered: Answered, record: Record, tmp_path: Path
) -> None:
    """What is read back has the very scores that the harness gives to the answers."""
    task, given = get_task(name), answered(name)
    read = load_predictions(tmp_path, store(record, given, tmp_path))
    assert read == given
    expected = score_task(
        task,
        [example.prediction for example in given.examples],
        [list(example.references) for example in given.examples],
        [example.group for example in given.examples],
    ).metrics
    scores = read.metrics()
    assert task.table_metric in expected
    for metric, value in expected.items():
        assert scores[metric] == pytest.approx(value, abs=1e-9)
    assert 0 < sum(example.correct for example in read.examples) < len(read)


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_are_those_that_the_metric_counts(name: str, answered: Answered) -> None:
    given = answered(name)
    share = 100.0 * sum(example.correct for example in given.examples) / len(given)
    scores = given.metrics()
    exact = scores.get("accuracy", scores.get("em"))
    if name == "multirc":
        right: dict[str | None, bool] = {}
        for example in given.examples:
            right[example.group] = right.get(example.group, True) and example.correct
        share = 100.0 * sum(right.values()) / len(right)
    if exact is not None:
        assert share == pytest.approx(exact, abs=1e-9)
    assert all(e.prediction.strip() not in e.references for e in given.wrong)


@pytest.mark.parametrize(
    ("scorer", "prediction", "references", "correct"),
    [
        ("accuracy", " 1\n", ["1"], True),
        ("accuracy", "1.0", ["1"], False),
        ("pearson", "3.80", ["3.8"], True),
        ("pearson", "nan", ["3.8"], False),
        ("pearson", "many", ["-1"], False),
        ("squad", "The  Tower!", ["a bridge", "tower"], True),
        ("squad", "towers", ["tower"], False),
        ("bleu", "a cat sits.", ["A cat sits.", "a cat sits."], True),
        ("bleu", "A cat sits", ["A cat sits."], False),
    ],
)
def test_what_counts_as_right(
    scorer: str, prediction: str, references: list[str], correct: bool
) -> None:
    (example,) = judge((scorer,), [0], [prediction], [references], [None]).examples
    assert example.correct is correct
    assert example.prediction == prediction


def test_lines_are_as_documented(record: Record, tmp_path: Path) -> None:
    stored = store(record, few(), tmp_path)
    assert stored.predictions is not None
    assert stored.predictions.file == "mrpc-dtvg-16-42-ab2de0c6077d.jsonl.gz"
    data = gzip.decompress((tmp_path / stored.predictions.file).read_bytes())
    assert [json.loads(line) for line in data.splitlines()] == [
        {"row": 7, "prediction": "1", "references": ["1"], "correct": True},
        {"row": 3, "prediction": " 0 ", "references": ["0"], "correct": True},
        {"row": 9, "prediction": "yes", "references": ["1"], "correct": False},
    ]


def test_equal_answers_give_equal_bytes(record: Record, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        store(record, few(), tmp_path / folder)
    name = predictions_file(record)
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_file_is_small(answered: Answered, record: Record, tmp_path: Path) -> None:
    given = answered("rte")
    many = Predictions(given.examples * (200 // len(given) + 1), given.scorers)
    rows = [dataclasses.replace(e, row=37 * i % 211) for i, e in enumerate(many.examples[:200])]
    write_predictions(Predictions(tuple(rows), given.scorers), tmp_path / "a.jsonl.gz")
    assert (tmp_path / "a.jsonl.gz").stat().st_size < 4096


def test_reading_needs_no_heavy_package() -> None:
    code = (
        "import sys, bench.predictions, bench.reports.resampling\n"
        "print([m for m in ('torch', 'datasets', 'evaluate', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_record_without_predictions(record: Record, tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match="has no predictions: it was made before"):
        load_predictions(tmp_path, record)
    failed = read_record(GOLDEN / "mrpc-dtvg-16-44-281f9db047a1.json")
    with pytest.raises(PredictionsError, match="has no predictions: it failed"):
        load_predictions(tmp_path, failed)


def gzipped(*lines: str) -> bytes:
    return gzip.compress("".join(f"{line}\n" for line in lines).encode())


GOOD = '{"row":7,"prediction":"1","references":["1"],"correct":true}'


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (None, "is missing"),
        (b"", "digest is another"),
        (b"no gzip at all", "is damaged"),
        (gzipped(GOOD)[:-9], "is damaged"),
        (gzipped(GOOD)[:20] + b"\xff" * 20, "is damaged"),
        (gzipped(GOOD), "digest is another"),
    ],
    # The bytes of a gzip file hold the time, and names of tests must agree between processes.
    ids=["missing", "empty", "no gzip", "cut", "overwritten", "replaced"],
)
def test_a_damaged_file_is_named(
    data: bytes | None, fault: str, record: Record, tmp_path: Path
) -> None:
    stored = store(record, few(), tmp_path)
    path = tmp_path / predictions_file(stored)
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(PredictionsError, match=fault) as caught:
        load_predictions(tmp_path, stored)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "scorers", "fault"),
    [
        ((GOOD, "{}", GOOD), ("accuracy",), "is not valid: row"),
        ((GOOD, "[", GOOD), ("accuracy",), "is not valid: line"),
        ((GOOD, GOOD.replace("7", "-7"), GOOD), ("accuracy",), "is not valid: row"),
        ((GOOD, GOOD.replace("true", '"yes"'), GOOD), ("accuracy",), "is not valid: correct"),
        ((GOOD, GOOD.replace('["1"]', "[]"), GOOD), ("accuracy",), "is not valid: references"),
        ((GOOD, GOOD), ("accuracy",), "has 2 lines, its record says 3"),
        ((GOOD, GOOD, GOOD), ("shininess",), "scored by 'shininess'"),
        ((GOOD, GOOD, GOOD), ("multirc",), "without a group"),
    ],
)
def test_lines_that_no_program_of_ours_wrote(
    lines: tuple[str, ...],
    scorers: tuple[str, ...],
    fault: str,
    record: Record,
    tmp_path: Path,
) -> None:
    import hashlib

    stored = store(record, few(), tmp_path)
    data = gzipped(*lines)
    (tmp_path / predictions_file(stored)).write_bytes(data)
    assert stored.predictions is not None
    digest = hashlib.sha256(gzip.decompress(data)).hexdigest()
    block = dataclasses.replace(stored.predictions, digest=digest, scorers=scorers)
    with pytest.raises(PredictionsError, match=fault) as caught:
        load_predictions(tmp_path, dataclasses.replace(stored, predictions=block))
    assert predictions_file(stored) in str(caught.value)


def test_a_file_that_unpacks_to_too_much_is_not_read(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = store(record, few(), tmp_path)
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    with pytest.raises(PredictionsError, match="unpacks to more than 100 bytes"):
        load_predictions(tmp_path, stored)


@pytest.mark.parametrize(
    "changes",
    [
        {"file": "../rte.jsonl.gz"},
        {"file": "/etc/passwd"},
        {"file": ".jsonl.gz"},
        {"file": "a/b.jsonl.gz"},
        {"file": "rte.pkl"},
        {"digest": "abc"},
        {"rows": 4},
        {"scorers": []},
        {"surprise": 1},
    ],
)
def test_a_record_that_names_them_wrongly_is_refused(
    changes: dict[str, object], record: Record, tmp_path: Path
) -> None:
    stored = store(record, few(), tmp_path)
    path = tmp_path / stored.file_name
    content = json.loads(path.read_text())
    content["predictions"] |= changes
    del content["seal"]  # Else that is what is found wrong.
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match=r"\$\.predictions"):
        read_record(path)


def test_a_failed_record_has_none(record: Record, tmp_path: Path) -> None:
    failed = read_record(GOLDEN / "mrpc-dtvg-16-44-281f9db047a1.json")
    block = predictions_block(failed, few())
    with pytest.raises(RecordError, match=r"\$\.predictions"):
        write_record(dataclasses.replace(failed, predictions=block), tmp_path)


def test_an_example_is_plain() -> None:
    assert Prediction(1, "a", ("b",), False).group is None
