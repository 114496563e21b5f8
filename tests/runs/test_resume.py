"""Runs that are repeated, killed or damaged: the same bits in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.config import dump_config
from bench.runs.grid import lay_out
from bench.runs.progress import Display
from bench.runs.results import ResultFolder
from bench.training.listeners import TrainingInfo

ROOT = Path(__file__).resolve().parents[2]


class KilledError(BaseException):
    """No error that a run would tolerate."""


def no_work(*arguments: object, **options: object) -> Any:
    raise AssertionError("this must not be called")


def prompt_bytes(folder: ResultFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.prompts.folder.glob("*.safetensors")}


def without_times(folder: ResultFolder) -> dict[str, Any]:
    """All cards of a prompt store, without times and the command that gave them."""
    cards = {}
    for path in folder.prompts.folder.glob("*.json"):
        cards[path.name] = json.loads(path.read_text())
        del cards[path.name]["timing"], cards[path.name]["seal"]
        for name in ("command", "git_commit", "git_dirty"):
            del cards[path.name]["provenance"][name]
    return cards


def test_the_same_command_twice_trains_nothing(
    configure: Any, run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr("bench.runs.grid.load", no_work)
    again = run(configure(), folder)
    assert again.outcome.finished == again.outcome.failed == []
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_lost_record_is_written_again_without_training(
    configure: Any,
    run: Any,
    folder: Path,
    finished: Any,
    comparable: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = finished.records["cb", "attempt", 42]
    (folder / "records" / lost.file_name).unlink()
    monkeypatch.setattr("bench.runs.workshop.Trainer", no_work)
    again = run(configure(), folder)
    assert [cell.digest for cell in again.outcome.finished] == [lost.digest]
    assert comparable(again.records["cb", "attempt", 42]) == comparable(lost)


def test_killed_between_answers_and_record_a_cell_is_finished_again(
    configure: Any,
    run: Any,
    folder: Path,
    finished: Any,
    comparable: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(*arguments: object) -> Any:
        raise KilledError

    key = ("cb", "dtvg", 42)
    record, config = finished.records[key], configure(methods=["dtvg"], tasks=["cb"], seeds=[42])
    path, answers = (
        folder / "records" / name for name in (record.file_name, record.predictions.file)
    )
    content = answers.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("bench.runs.results.write_record", killed)
        with pytest.raises(KilledError):
            run(config, folder, "always")
    # Without a record nobody reads the answers; with one, both are of the same run.
    assert not path.exists()
    assert answers.read_bytes() == content

    again = run(config, folder)
    assert [cell.digest for cell in again.outcome.finished] == [record.digest]
    assert comparable(again.records[key]) == comparable(record)
    assert answers.read_bytes() == content


def test_a_failure_takes_the_answers_away(
    configure: Any, run: Any, folder: Path, finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> Any:
        raise RuntimeError("broken")

    record = finished.records["cb", "pt", 42]
    assert (folder / "records" / record.predictions.file).is_file()
    monkeypatch.setattr("bench.runs.workshop.evaluate", broken)
    again = run(configure(methods=["pt"], tasks=["cb"], seeds=[42]), folder, "always")
    failed = again.records["cb", "pt", 42]
    assert (failed.status, failed.predictions) == ("failed", None)
    assert not (folder / "records" / record.predictions.file).exists()


def test_a_damaged_record_counts_as_lost(
    configure: Any, run: Any, folder: Path, finished: Any
) -> None:
    damaged = finished.records["cb", "pt", 43]
    path = folder / "records" / damaged.file_name
    path.write_bytes(path.read_bytes()[:100])
    again = run(configure(), folder)
    assert [cell.digest for cell in again.outcome.finished] == [damaged.digest]
    assert again.records["cb", "pt", 43].scores == damaged.scores


class Killing(Display):
    """Kills the run in the third step of each training, the first time that it gets there."""

    def __init__(self, killed: set[str]) -> None:
        self.killed = killed

    def on_start(self, training: TrainingInfo, step: int, total: int) -> None:
        self.what = training.describe()

    def on_step(self, step: int, total: int) -> None:
        if step == 3 and self.what not in self.killed:
            self.killed.add(self.what)
            raise KilledError


def test_a_run_killed_in_every_training_ends_like_an_undisturbed_one(
    configure: Any,
    run: Any,
    tmp_path: Path,
    finished: Any,
    comparable: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All methods, source prompts and MPT's source stage; in another folder, task by task."""
    config = configure(tasks=["cb"], seeds=[42])
    killed: set[str] = set()
    monkeypatch.setattr("bench.runs.grid.make_display", lambda units, **options: Killing(killed))
    done = None
    while done is None:
        before = len(killed)
        try:
            done = run(config, tmp_path)
        except KilledError:
            assert len(killed) == before + 1
            assert len(list((tmp_path / "checkpoints").glob("*.safetensors"))) == 1
    assert len(killed) == len(done.grid.plan.trainings) == 6 + 1 + 5

    expected = {key: r for key, r in finished.records.items() if (key[0], key[2]) == ("cb", 42)}
    assert done.records.keys() == expected.keys()
    for key, record in done.records.items():
        assert comparable(record) == comparable(expected[key])
    assert prompt_bytes(done.folder).items() <= prompt_bytes(finished.folder).items()
    assert without_times(done.folder).items() <= without_times(finished.folder).items()
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.fixture
def command(quiet_machine: Path, tmp_path: Path) -> Callable[[Any, Path], subprocess.Popen[bytes]]:
    """Starts ``bench run`` for a configuration in a process of its own."""

    def start(config: Any, out: Path) -> subprocess.Popen[bytes]:
        file = tmp_path / "config.yaml"
        file.write_text(dump_config(config))
        words = ["run", "--config", str(file), "--out", str(out)]
        one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        places = {"HF_DATASETS_CACHE": str(quiet_machine), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-m", "bench.cli", *words],
            env=os.environ | one_thread | places,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    return start


def kill_when(process: subprocess.Popen[bytes], path: Path) -> None:
    """Kill a process as soon as a file is there."""
    end = time.monotonic() + 240
    while not path.exists():
        assert process.poll() is None, process.stderr.read().decode()  # type: ignore[union-attr]
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert process.stderr is not None
    process.stderr.close()


def test_kill_9_and_the_same_command_again(
    configure: Any, run: Any, command: Any, tmp_path: Path, comparable: Any
) -> None:
    """Another process is killed while it trains DTVG, behind PT; this one does the rest."""
    config = configure(
        "training.steps=60",
        "training.evaluate_every=5",
        tasks=["cb"],
        methods=["pt", "dtvg"],
        seeds=[42],
    )
    out = tmp_path / "out"
    killed = lay_out(config, ResultFolder(out), "never")
    pt, dtvg = killed.plan.cells
    checkpoint = killed.folder.checkpoint(dtvg.training.digest)
    kill_when(command(config, out), checkpoint.path)
    assert killed.folder.settled([pt, dtvg], "never") == {pt.digest}
    assert not killed.folder.prompts.has(dtvg.training.digest)
    reached = checkpoint.load()
    assert reached is not None
    assert 0 < reached.progress.step < 60

    resumed = run(config, out)
    undisturbed = run(config, tmp_path / "undisturbed")
    assert [cell.training.method.name for cell in resumed.outcome.finished] == ["dtvg"]
    assert resumed.records.keys() == undisturbed.records.keys()
    for key, record in resumed.records.items():
        assert comparable(record) == comparable(undisturbed.records[key])
    assert prompt_bytes(resumed.folder) == prompt_bytes(undisturbed.folder)
    assert without_times(resumed.folder) == without_times(undisturbed.folder)


@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_a_damaged_prompt_is_trained_again_to_the_same_bytes(
    suffix: str,
    configure: Any,
    run: Any,
    folder: Path,
    finished: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = prompt_bytes(finished.folder)
    digest = finished.records["cb", "attempt", 42].cell.requires[3]
    path = folder / "prompts" / f"{digest}.{suffix}"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data if suffix == "safetensors" else data[:-9])
    again = run(configure(tasks=["rte"], methods=["attempt"], seeds=[42]), folder)
    assert len(again.outcome.finished) == 1
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warnings
    assert all(line.startswith(f"warning: prompt {path}: ") for line in warnings)
    assert prompt_bytes(again.folder)[f"{digest}.safetensors"] == expected[f"{digest}.safetensors"]
