"""``bench show`` on records of bundled samples and made-up answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from bench.cli import main
from bench.data import load_splits, open_source
from bench.data.rows import OFFICIAL_ROW
from bench.predictions import Predictions, predictions_block, predictions_file, write_predictions
from bench.records import DataBlock, Record, read_record, write_record
from bench.runs.plan import task_data
from bench.tasks import get_task

GOLDEN = Path(__file__).parents[1] / "reports" / "golden" / "records"
FINISHED = GOLDEN / "mrpc-dtvg-16-42-ab2de0c6077d.json"
FAILED = GOLDEN / "mrpc-dtvg-16-44-281f9db047a1.json"
TASKS = ("rte", "multirc", "stsb", "squad", "record", "e2e")

Answered = Callable[[str], Predictions]
Bench = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Runs ``bench``; gives exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["bench", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


def store(task: str, predictions: Predictions, folder: Path, **data: Any) -> Record:
    """A finished record of a task on the bundled samples, with its answers."""
    record = read_record(FINISHED)
    assert record.rows is not None
    assert record.scores is not None
    block = DataBlock(**dataclasses.asdict(task_data(open_source("bundled"), task)) | data)
    metrics = predictions.metrics()
    record = dataclasses.replace(
        record,
        cell=dataclasses.replace(record.cell, task=task, data=block),
        rows=dataclasses.replace(record.rows, test=len(predictions)),
        scores=dataclasses.replace(
            record.scores, table_metric=get_task(task).table_metric, test=metrics
        ),
    )
    record = dataclasses.replace(record, predictions=predictions_block(record, predictions))
    write_predictions(predictions, folder / predictions_file(record))
    write_record(record, folder)
    return record


def blocks(out: str) -> list[dict[str, str]]:
    """The wrong examples as they were printed."""
    found = out.split(" test examples wrong\n")[1].strip("\n").split("\n\n")
    return [
        {line[:14].strip(): line[14:] for line in block.strip("\n").splitlines()} for block in found
    ]


def test_a_record_by_file_name_and_digest(bench: Bench, answered: Answered, tmp_path: Path) -> None:
    record = store("rte", answered("rte"), tmp_path / "out" / "records")
    file = tmp_path / "out" / "records" / record.file_name
    code, out, err = bench("show", file)
    assert (code, err) == (0, "")
    for words in (
        ("rte-dtvg", "--out", tmp_path / "out"),
        (record.digest[:8], "--out", tmp_path / "out"),
        (record.digest, "--out", tmp_path / "out" / "records"),
    ):
        assert bench("show", *words) == (0, out, "")
    accuracy = answered("rte").metrics()["accuracy"]
    assert record.training is not None
    for said in (
        record.digest,
        "rte, dtvg, 16 shots, seed 42: finished",
        f"accuracy *    {accuracy:>10.1f}",
        f"{record.training.trainable_parameters:,} trainable parameters",
        "▁",
        record.provenance.command,
        predictions_file(record),
    ):
        assert said in out
    assert "wrong" not in out


@pytest.mark.parametrize("name", TASKS)
def test_wrong_examples_with_their_inputs(
    name: str, bench: Bench, answered: Answered, tmp_path: Path
) -> None:
    given = answered(name)
    record = store(name, given, tmp_path)
    code, out, err = bench("show", tmp_path / record.file_name, "--errors")
    assert (code, err) == (0, "")
    assert f"\n{len(given.wrong)} of {len(given)} test examples wrong\n" in out
    shown = blocks(out)
    task = get_task(name)
    rows = {
        row[OFFICIAL_ROW]: task.to_text(row, training=False)
        for row in load_splits(open_source("bundled"), task).test
    }
    assert len(shown) == len(given.wrong)
    for block, example in zip(shown, given.wrong, strict=True):
        assert block["row"].split()[0] == str(example.row)
        (pair,) = rows[example.row]
        assert block["input"] == pair.source.replace("\n", "\\n").rstrip()
        assert pair.references[0] in example.references
        assert block["prediction"] == printable(example.prediction)
        assert block["right"] == " or ".join(map(printable, example.references))


def printable(text: str) -> str:
    for char in "\n\x00\u2028":
        text = text.replace(char, char.encode("unicode_escape").decode())
    return f'"{text}"'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"fingerprint": "other"}, "the rows of rte are no longer those of the record"),
        ({"kind": "local", "name": "nowhere"}, "there is no data folder nowhere"),
    ],
)
def test_without_the_rows_the_inputs_are_left_out(
    data: dict[str, str], reason: str, bench: Bench, answered: Answered, tmp_path: Path
) -> None:
    record = store("rte", answered("rte"), tmp_path, **data)
    code, out, err = bench("show", tmp_path / record.file_name, "--errors")
    assert code == 0
    assert err.startswith("warning: inputs are not shown: ")
    assert reason in err
    assert err.count("\n") == 1
    assert len(blocks(out)) == len(answered("rte").wrong)
    assert "input  " not in out


def test_nothing_steers_the_terminal(bench: Bench, answered: Answered, tmp_path: Path) -> None:
    given = answered("rte")
    first = dataclasses.replace(given.examples[0], prediction="\x1b[2J\r\x9b", correct=False)
    given = dataclasses.replace(given, examples=(first, *given.examples[1:]))
    record = store("rte", given, tmp_path)
    _, out, _ = bench("show", tmp_path / record.file_name, "--errors")
    assert '"\\x1b[2J\\r\\x9b"' in out
    assert all(char.isprintable() or char == "\n" for char in out)


def test_a_failed_record(bench: Bench) -> None:
    code, out, _ = bench("show", FAILED)
    error = read_record(FAILED).error
    assert code == 0
    assert error is not None
    assert f"{error.type}: {error.message}" in out
    code, out, err = bench("show", FAILED, "--errors")
    assert (code, out) == (2, "")
    assert err.endswith("it failed; run the cell again\n")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["rte"], "no cell matches 'rte' in"),
        (["../records/x"], "no cell matches '../records/x' in"),
        (["mrpc"], "cells match 'mrpc' in"),
        ([__file__], "is damaged: "),
        ([str(FINISHED), "--errors"], "has no predictions: it was made before"),
    ],
)
def test_bad_input_is_one_line(words: list[str], fault: str, bench: Bench) -> None:
    code, out, err = bench("show", *words, "--out", GOLDEN.parent)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert fault in err
    assert err.count("\n") == 1


def test_missing_folder(bench: Bench, tmp_path: Path) -> None:
    code, _, err = bench("show", "rte", "--out", tmp_path / "none")
    assert code == 2
    assert err.startswith("error: no cell matches 'rte'")


def test_missing_answers_are_named(bench: Bench, answered: Answered, tmp_path: Path) -> None:
    record = store("rte", answered("rte"), tmp_path)
    path = tmp_path / predictions_file(record)
    path.unlink()
    code, out, err = bench("show", tmp_path / record.file_name, "--errors")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {path} is missing")
