"""Records, answers and prompts on disk: what is read is what was written, or one line says why."""

import errno
import gzip
import hashlib
import json
import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import CliRunner

from bench.commands.results import status
from bench.errors import BenchError, OutputError, PromptError, RecordError
from bench.files import atomic_write, file_digest
from bench.predictions import Predictions, load_predictions, make_predictions, write_predictions
from bench.record import Record, read_record, read_records, write_record
from bench.store import ABANDONED, ResultStore
from bench.tasks import get_task
from bench.tasks.metrics import score_task
from tests.conftest import sealed

FAILED: dict[str, Any] = {"error": {"type": "X", "message": "y"}, "status": "failed"}
FAILED |= dict.fromkeys(("scores", "rows", "training", "predictions", "majority"))


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


@pytest.fixture
def record(finished: ResultStore) -> Record:
    return read_record(only(finished.records, "cb-pt-*.json"))


@pytest.mark.parametrize("line", [b"{}", b"no JSON", b"[1]", b'{"references": 1}'])
def test_answers_that_are_none_are_refused(record: Record, tmp_path: Path, line: bytes) -> None:
    """The digest of the record holds, as whoever made both files may have wished."""
    assert record.predictions is not None
    block = record.predictions.model_copy(update={"digest": hashlib.sha256(line).hexdigest()})
    (tmp_path / block.file).write_bytes(gzip.compress(line))
    with pytest.raises(RecordError, match="cannot read predictions"):
        load_predictions(tmp_path, record.model_copy(update={"predictions": block}))


def test_records_are_read_as_they_were_written(record: Record, tmp_path: Path) -> None:
    path = tmp_path / record.file_name
    write_record(record, path)
    again = read_record(path)
    assert again == record  # The seal follows from the content.
    assert json.loads(path.read_bytes())["schema"] == 2
    assert list(json.loads(path.read_bytes()))[:4] == ["seal", "schema", "id", "status"]
    assert record.run.describe() == "cb pt 4 shots seed 42"
    assert record.file_name == f"cb-pt-4-42-{record.id[:12]}.json"
    record.model_json_schema()


def damaged(data: bytes, step: int) -> list[bytes]:
    """The bytes cut, and with one bit flipped, at a sample of positions."""
    draw = random.Random(0)
    places = [*range(0, len(data), step), len(data) - 1]
    bits = [bytes([data[at] ^ (1 << draw.randrange(8))]) for at in places]
    flips = [data[:at] + bit + data[at + 1 :] for at, bit in zip(places, bits, strict=True)]
    return [*flips, *(data[:at] for at in places), data + b" ", b"", b"[" * 9999]


def refused(read: Callable[[], object], error: type[BenchError], name: str) -> None:
    with pytest.raises(error) as caught:
        read()
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


FILES = {"records/cb-pt-*.json": 211, "records/cb-pt-*.jsonl.gz": 31}
FILES |= {"prompts/cb-pt-*.json": 1501, "prompts/cb-pt-*.safetensors": 1501}


@pytest.mark.parametrize(("pattern", "step"), FILES.items())
def test_damage_is_one_line(pattern: str, step: int, copy: ResultStore, record: Record) -> None:
    path = only(copy.folder, pattern)
    whole, key = path.read_bytes(), path.name.partition(".")[0][-12:]
    read: Callable[[], object] = partial(read_record, path)
    if path.suffix == ".gz":
        read = partial(load_predictions, copy.records, record)
    elif path.parent == copy.prompts:
        read = partial(copy.load_prompt, key)
    error = PromptError if path.parent == copy.prompts else RecordError
    for data in damaged(whole, step):
        path.write_bytes(data)
        refused(read, error, key)
    path.unlink()
    refused(read, error, key)
    path.write_bytes(whole)
    read()


def test_records_without_schema(record: Record, tmp_path: Path) -> None:
    changes: dict[str, dict[str, Any]] = {
        "schema 1, this program reads 2": {"schema": 1},
        "a failed record has an error and no scores": {"status": "failed"},
        "a finished record has rows and training and no error": {"rows": None},
        "more: Extra inputs": {"more": 1},
        "id: String should match": {"id": "xyz"},
        "it holds NaN": {"diagnostics": {"x": float("nan")}},
    }
    path, values = tmp_path / "x.json", json.loads(record.to_bytes())
    for message, change in changes.items():
        path.write_bytes(sealed(values | change))
        refused(partial(read_record, path), RecordError, message)


@pytest.mark.parametrize("seal", [{}, {"seal": "0" * 64}, {"seal": "a" * 64}])
def test_records_without_their_seal(seal: dict[str, str], record: Record, tmp_path: Path) -> None:
    values = json.loads(sealed(json.loads(record.to_bytes())))
    del values["seal"]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(seal | values))
    refused(partial(read_record, path), RecordError, "was changed after it was written")


def test_nothing_is_written_that_cannot_be_read(record: Record, tmp_path: Path) -> None:
    for change in ({"diagnostics": {"x": float("inf")}}, {"status": "failed"}):
        with pytest.raises(RecordError, match=r"x\.json"):
            write_record(record.model_copy(update=change), tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []


def test_answers_are_read_as_they_were_written(finished: ResultStore, record: Record) -> None:
    predictions = load_predictions(finished.records, record)
    answers = [example.prediction for example in predictions.examples]
    references = [example.references for example in predictions.examples]
    assert score_task(get_task("cb"), answers, references).metrics == record.scores.test
    assert len(predictions.examples) == record.rows.test  # type: ignore[union-attr]


def test_judge_says_what_is_right(tmp_path: Path, record: Record) -> None:
    given = [" yes\n", "no", '\u2028[1] \x00"é😀', ""]
    judged = make_predictions(["accuracy"], [3, 1, 2, 0], given, [["yes"]] * 4, [None] * 4)
    assert [example.correct for example in judged.examples] == [True, False, False, False]
    block = write_predictions(judged, tmp_path / "x.json")
    written = record.model_copy(update={"predictions": block})
    assert load_predictions(tmp_path, written) == judged
    assert gzip.decompress((tmp_path / block.file).read_bytes()).count(b"\n") == 4


def test_answers_are_those_of_the_record(copy: ResultStore, record: Record) -> None:
    path = only(copy.records, "cb-pt-*.jsonl.gz")
    lines = gzip.decompress(path.read_bytes())
    for data in (gzip.compress(lines[:-1]), gzip.compress(lines + lines), lines):
        path.write_bytes(data)
        refused(lambda: load_predictions(copy.records, record), RecordError, path.name)
    without = record.model_copy(update={"predictions": None})
    refused(lambda: load_predictions(copy.records, without), RecordError, record.file_name)


def test_records_lie_by_their_answers(copy: ResultStore, record: Record, monkeypatch: Any) -> None:
    answers = load_predictions(copy.records, record)
    other = Predictions(answers.examples[::-1], answers.scorers)
    replace = Path.replace
    for allowed in range(3):  # Killed before, between and after the two writes.
        written: list[Path] = []

        def stop(self: Path, target: Path, at: int = allowed, done: list[Path] = written) -> Path:
            if len(done) == at:
                raise KeyboardInterrupt
            done.append(target)
            return replace(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", stop)
            try:
                copy.write(record, other)
            except KeyboardInterrupt:
                assert allowed < 2
        for found in read_records(copy.records)[0]:
            load_predictions(copy.records, found)
    copy.write(Record.model_validate(json.loads(record.to_bytes()) | FAILED))
    assert not list(copy.records.glob("cb-pt-*.jsonl.gz"))


def test_records_and_prompts_are_found_by_name_or_id(finished: ResultStore, record: Record) -> None:
    stem = record.file_name.removesuffix(".json")
    for text in (record.file_name, stem, "cb-pt", record.id, record.id[:12], record.id[:6]):
        assert finished.record(text) == record
    with pytest.raises(RecordError, match=r"5 records begin with 'cb': cb-attempt-4-42-"):
        finished.record("cb")
    with pytest.raises(RecordError, match="did you mean cb-pt-4-42-"):
        finished.record("cb-ptt-4-42-" + record.id[:12])
    prompt = record.training.prompt  # type: ignore[union-attr]
    for text in (prompt, prompt[:12], prompt[:6]):
        stored = finished.load_prompt(text)
        assert (stored.record.id, stored.matrix.shape) == (prompt, (4, 128))
    for text in ("4242", "", "../x", prompt[:12] + "0" * 52):
        with pytest.raises(PromptError, match="no prompt"):
            finished.load_prompt(text)
    with pytest.raises(PromptError, match="is not one matrix"):
        finished.load_prompt(only(finished.prompts, "sources-*.json").stem).matrix  # noqa: B018


def test_the_nearest_names_are_shown(finished: ResultStore, record: Record) -> None:
    path = only(finished.prompts, "cb-spot-*.json")
    key = read_record(path).id
    typed = key[:5] + ("0" if key[5] != "0" else "1") + key[6:]
    for text in (typed, typed[:12], typed[:8], f"cb-spto-4-42-{typed[:12]}", "cb-spt"):
        with pytest.raises(PromptError, match=f"did you mean .*{path.stem}"):
            finished.load_prompt(text)
    with pytest.raises(RecordError, match=f"did you mean {record.file_name[:-5]}"):
        finished.record(record.id[:3] + "fff" + record.id[6:11])


def test_status_goes_on_beside_configurations_that_cannot_be_read(copy: ResultStore) -> None:
    (copy.configs / "a.yaml").write_text("tasks: [cbb]\n")
    (copy.configs / "b.yaml").write_bytes(b"\xff\x00")
    (copy.configs / "c.yaml").mkdir()
    only(copy.records, "cb-pt-*.json").unlink()
    done = CliRunner().invoke(status, [str(copy.folder)])
    assert done.exit_code == 1
    for line in ("finished: 4\n", "missing: 1\n  cb pt 4 shots seed 42\n", "c.yaml cannot be read"):
        assert line in done.output
    assert [f"runs of {name}.yaml are not known: " in done.output for name in "abc"] == [True] * 3


def test_runs_of_one_prompt_are_missed_one_by_one(copy: ResultStore) -> None:
    text = only(copy.configs, "*.yaml").read_text().replace("test_rows: 20\n", "")
    for rows in (7, 9):
        (copy.configs / f"{rows}.yaml").write_text(f"{text}test_rows: {rows}\n")
    out = CliRunner().invoke(status, [str(copy.folder)]).output
    assert "finished: 5\n" in out
    assert "missing: 10\n" in out


def test_old_temporary_files_are_removed(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.check_writable()
    old, new = store.records / ".1-a.tmp", store.prompts / ".1-b.tmp"
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    os.utime(old, (0, old.stat().st_mtime - 2 * ABANDONED))
    store.check_writable()
    assert (old.exists(), new.exists()) == (False, True)


def test_files_are_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.bin"
    atomic_write(path, b"first")
    atomic_write(path, b"second\x00")
    assert path.read_bytes() == b"second\x00"
    assert list(path.parent.iterdir()) == [path]
    atomic_write(path, b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digest(path) == known


@pytest.mark.parametrize("failing", ["fsync", "replace", "interrupt"])
def test_failures_keep_the_old_file(tmp_path: Path, monkeypatch: Any, failing: str) -> None:
    path, full = tmp_path / "file", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    atomic_write(path, b"old")
    fail = Mock(side_effect=KeyboardInterrupt if failing == "interrupt" else full)
    monkeypatch.setattr(*((Path, "replace") if failing == "replace" else (os, "fsync")), fail)
    with pytest.raises((OutputError, KeyboardInterrupt)) as caught:
        atomic_write(path, b"new")
    assert failing == "interrupt" or "No space left on device; choose a" in str(caught.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    for path in (tmp_path / "taken" / "file", Path("/proc/self/file")):
        refused(partial(atomic_write, path, b"data"), OutputError, f"cannot write {path}: ")
