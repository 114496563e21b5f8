"""Runs in this process: failures, stops, damage, full disks; and what is continued afterwards."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_grids import assert_clean, configure, do, results

from bench import stages, worker
from bench.errors import BenchError, InitialPromptMismatchError, ModelError, OutputError, RunError
from bench.grid import make_grid
from bench.record import Record, read_record, read_records
from bench.runner import run_grid
from bench.store import ResultStore
from bench.training.loop import DivergedError

Bench = Callable[..., tuple[int, str]]


def by_label(store: ResultStore) -> dict[str, Record]:
    return {record.run.label: record for record in read_records(store.records)[0]}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("nothing is to be trained")

    monkeypatch.setattr(worker, "train", refuse)


def test_a_finished_grid(finished: ResultStore) -> None:
    found = by_label(finished)
    assert {record.status for record in found.values()} == {"finished"}
    assert_clean(finished)
    for record in found.values():
        assert record.run.model.parameters > 1_000_000
        assert record.majority is not None
        assert record.rows is not None
        assert (record.rows.train, record.rows.validation) == (4, 12)
        assert len(record.rows.few_shot or ()) == 4
        assert "validated on 12 of" in " ".join(record.rows.notes)
        prompt = finished.load_prompt(record.training.prompt)  # type: ignore[union-attr]
        assert prompt.record.provenance == record.provenance
    assert found["dtvg"].diagnostics["changes"].keys() == {"group"}  # type: ignore[union-attr]
    assert [block.task for block in found["mpt"].sources] == ["sst2", "qnli"]
    assert len(list(finished.configs.glob("*.yaml"))) == 1


@pytest.mark.usefixtures("no_training")
def test_a_prompt_without_its_record_is_only_scored(
    finished: ResultStore, copy: ResultStore
) -> None:
    for path in copy.records.iterdir():
        path.unlink()
    do(configure(), copy)
    assert results(copy.folder) == results(finished.folder)


def test_a_lost_or_damaged_prompt_is_trained_again(
    finished: ResultStore, copy: ResultStore, capfd: pytest.CaptureFixture[str]
) -> None:
    flip(next(copy.prompts.glob("sst2-pt-*.safetensors")))  # One that others start from,
    flip(next(copy.prompts.glob("cb-spot-*.json")))  # one that is scored,
    for path in copy.prompts.glob("sources-*"):  # and one that is missing.
        path.unlink()
    for name in ("cb-spot-*", "cb-mpt-*"):
        for path in copy.records.glob(name):
            path.unlink()
    for path in copy.prompts.glob("cb-mpt-*"):
        path.unlink()
    do(configure(), copy, verbosity="normal")
    said = capfd.readouterr().err
    assert said.count("it is trained again") == said.count("warning: ") == 2
    assert results(copy.folder) == results(finished.folder)


# Failures


def failing(task: str, method: str, error: Exception) -> Callable[..., Any]:
    train = worker.train

    def fail(*arguments: Any, **named: Any) -> Any:
        if (named["info"].task, named["info"].method) == (task, method):
            raise error
        return train(*arguments, **named)

    return fail


def test_what_needs_a_failed_prompt_is_not_run(
    finished: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ResultStore(tmp_path / "out")
    config = configure(methods=["pt", "mpt", "dtvg"])
    with monkeypatch.context() as patch:
        patch.setattr(worker, "train", failing("qnli", "pt", DivergedError("loss\nnan")))
        grid = make_grid(config, store)
        counts = run_grid(grid, store, verbosity="quiet")
    assert counts == {"finished": 1, "failed": 2}
    name = next(run.prompt_name for run in grid.runs.values() if run.task == "qnli")
    found = by_label(store)
    assert found.pop("pt").status == "finished"
    for label, record in found.items():
        assert (record.status, record.training, record.scores) == ("failed", None, None)
        assert record.error is not None
        assert record.error.type == "RunError"
        reason = f"not run: {name} failed (loss nan)"
        if label == "mpt":
            stage = next(run.prompt_name for run in grid.runs.values() if run.is_source_stage)
            reason = f"not run: {stage} failed ({reason})"
        assert record.error.message == reason
    # A failure stays until it is to be repeated.
    assert run_grid(make_grid(config, store), store, verbosity="quiet") == {}
    again = run_grid(make_grid(config, store, "failed"), store, verbosity="quiet")
    assert again == {"finished": 2}
    assert results(store.folder).items() <= results(finished.folder).items()


@pytest.mark.parametrize("error", [RunError("x"), ValueError("a\nb"), RuntimeError()])
def test_a_run_that_fails_is_recorded_and_stops_no_other(
    error: Exception, copy: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "train", failing("cb", "spot", error))
    grid = make_grid(configure(methods=["spot", "dtvg"]), copy, "always")
    counts = run_grid(grid, copy, verbosity="quiet")
    assert counts == {"finished": 1, "failed": 1}
    record = by_label(copy)["spot"]
    assert record.error is not None
    assert record.error.type == type(error).__name__
    assert record.error.message == " ".join(str(error).split())
    assert not list(copy.records.glob("cb-spot-*.jsonl.gz"))
    assert not list(copy.prompts.glob("cb-spot-*"))  # The former prompt is not its result.


def test_always_repeats_the_reported_runs(finished: ResultStore, copy: ResultStore) -> None:
    def seals(folder: Path) -> dict[str, str]:
        return {path.name: read_record(path).seal for path in folder.glob("*.json")}

    before = seals(copy.records) | seals(copy.prompts)
    do(configure(methods=["pt", "mpt"]), copy, "always")
    after = seals(copy.records) | seals(copy.prompts)
    assert before.keys() == after.keys()
    changed = {"-".join(name.split("-")[:2]) for name in before if before[name] != after[name]}
    assert changed == {"cb-pt", "cb-mpt"}  # Not the prompts they start from.
    assert results(copy.folder) == results(finished.folder)


def test_a_given_prompt_of_another_seed_fails_before_any_training(
    finished: ResultStore, tmp_path: Path, no_training: None
) -> None:
    prompt = next(finished.prompts.glob("sst2-pt-*.json")).stem[-12:]
    store = ResultStore(tmp_path / "out", shutil.copytree(finished.prompts, tmp_path / "prompts"))
    config = configure(methods=["pt", "dtvg"], seeds=[43], source_prompts={"sst2": prompt})
    with pytest.raises(InitialPromptMismatchError, match=r"than that of seed 43, to which dtvg"):
        do(config, store)


def test_inputs_without_room_fail_before_any_training(tmp_path: Path, no_training: None) -> None:
    config = configure("prompt_length=1010", model="tiny-llama", methods=["pt"])
    with pytest.raises(ModelError, match="lower prompt_length or input_length"):
        do(config, ResultStore(tmp_path / "out"))


def test_a_reduced_evaluation_batch_is_kept(
    tmp_path: Path, finished: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    evaluate = stages.evaluate

    def short_of_memory(*arguments: Any) -> Any:
        asked.append(arguments[4])
        done = evaluate(*arguments)
        reduced = 7 if len(asked) == 2 else None
        return type(done)(done.scores, done.predictions, reduced)

    monkeypatch.setattr(stages, "evaluate", short_of_memory)
    store = ResultStore(tmp_path / "out")
    do(configure(methods=["pt"]), store)
    assert asked == [100, 100, 7]  # Two on validation, one on test.
    (record,) = by_label(store).values()
    assert record.training is not None
    assert record.training.evaluation_micro_batch_size == 7
    assert record.scores == by_label(finished)["pt"].scores


# Stops


def stop_at(moment: str, number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a signal to this process once, at some moment of a grid."""
    sent: list[str] = []

    def before(place: Any, name: str, reached: Callable[..., bool]) -> None:
        call = getattr(place, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            if not sent and reached(*arguments, **named):
                sent.append(moment)
                os.kill(os.getpid(), number)
            return call(*arguments, **named)

        monkeypatch.setattr(place, name, wrapped)

    from bench.progress import Display
    from bench.training import evaluation

    if moment == "training":
        original = Display.on_step

        def on_step(self: Display, step: int, total: int) -> None:
            if not sent and step == 1:
                sent.append(moment)
                os.kill(os.getpid(), number)
            original(self, step, total)

        monkeypatch.setattr(Display, "on_step", on_step)
    elif moment == "validation":
        before(evaluation, "score_task", lambda *_: True)
    elif moment == "test":
        before(worker, "judge", lambda *_: True)
    elif moment == "storing":
        before(ResultStore, "save_prompt", lambda *_: True)
    elif moment == "loading":
        before(worker, "load", lambda *_: True)


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("loading", signal.SIGINT),
        ("training", signal.SIGINT),
        ("validation", signal.SIGTERM),
        ("storing", signal.SIGTERM),
        ("test", signal.SIGINT),
    ],
)
def test_a_stopped_grid_is_continued(
    moment: str,
    number: signal.Signals,
    bench: Bench,
    finished: ResultStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, config = ResultStore(tmp_path / "out"), configure(methods=["pt"])
    with monkeypatch.context() as patch:
        stop_at(moment, number, patch)
        code, said = bench(config, store.folder)
    assert code == 128 + number
    assert said.splitlines()[-1].startswith(f"error: stopped by {number.name}; ")
    assert "Traceback" not in said
    assert by_label(store) == {}
    left = moment in ("training", "validation", "storing")
    assert len(list(store.checkpoints.glob("[!.]*"))) == left
    assert bench(config, store.folder)[0] == 0
    whole = results(finished.folder)
    assert {key: whole[key] for key in results(store.folder)} == results(store.folder)
    assert_clean(store)


# Disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A small file system in memory; called again, it takes another size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted: list[str] = []

    def mount(size: str) -> Path:
        remount = 32 if mounted else 0
        try:
            system = ctypes.CDLL(None, use_errno=True)
            options = f"size={size}".encode()
            if system.mount(b"tmpfs", bytes(folder), b"tmpfs", remount, options):
                pytest.skip("needs the right to mount a file system")
        except (OSError, AttributeError):
            pytest.skip("needs Linux")
        mounted.append(size)
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_fills_up(disk: Callable[[str], Path], finished: ResultStore) -> None:
    config = configure(methods=["pt", "spot"])
    store = ResultStore(disk("44k") / "out")
    with pytest.raises(OutputError, match=r"cannot (write|lock) .*: No space left") as caught:
        do(config, store)
    assert str(store.folder) in str(caught.value)
    assert not list(store.folder.rglob("*.tmp"))
    done = results(store.folder)
    assert done  # It was in the middle of the grid.
    disk("10m")
    do(config, store)
    whole = results(finished.folder)
    assert done.items() <= results(store.folder).items()
    assert results(store.folder).items() <= whole.items()
    assert len(by_label(store)) == 2


@pytest.mark.parametrize("what", ["records", "prompts", "checkpoints"])
def test_a_folder_that_cannot_be_written_fails_before_any_run(
    what: str, tmp_path: Path, no_training: None
) -> None:
    store = ResultStore(tmp_path / "out")
    store.folder.mkdir()
    (store.folder / what).write_text("in the way")
    with pytest.raises(BenchError, match=rf"cannot write .*/{what}/.*; choose a folder") as caught:
        do(configure(), store)
    assert "\n" not in str(caught.value)
