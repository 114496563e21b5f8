"""Runs in this process: failures, stops, damage, full disks; and what is continued afterwards."""

import os
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import safetensors.torch
import torch

from bench import run_setup, worker
from bench.errors import ModelError, OutputError, PromptError, RunError
from bench.grid import make_grid
from bench.progress import Reporter
from bench.provenance import provenance
from bench.record import read_record
from bench.runner import run_grid
from bench.store import ResultStore
from bench.training import evaluation
from bench.training.loop import Validation
from tests.core.small_grids import assert_clean, by_label, configure, do, failing, flip, results

Bench = Callable[..., tuple[int, str]]


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "train", Mock(side_effect=AssertionError("nothing to be trained")))


def test_a_finished_grid(finished: ResultStore) -> None:
    found = by_label(finished)
    assert {record.status for record in found.values()} == {"finished"}
    assert_clean(finished)
    for record in found.values():
        assert record.run.model.parameters > 1_000_000
        assert record.majority is not None
        assert (record.rows.train, record.rows.validation) == (4, 12)
        assert len(record.rows.few_shot or ()) == 4
        assert "validated on 12 of" in " ".join(record.rows.notes)
        prompt = finished.load_prompt(record.training.prompt)  # type: ignore[union-attr]
        assert prompt.record.provenance == record.provenance
    assert found["dtvg"].diagnostics["changes"].keys() == {"group"}  # type: ignore[union-attr]
    assert [block.task for block in found["mpt"].sources] == ["sst2", "qnli"]
    assert len(list(finished.configs.glob("*.yaml"))) == 1


@pytest.mark.usefixtures("no_training")
def test_a_prompt_without_a_record_is_scored(finished: ResultStore, copy: ResultStore) -> None:
    for name in ("cb-pt-*", "cb-attempt-*"):  # A merged prompt, and a module.
        for path in copy.records.glob(name):
            path.unlink()
    do(configure(), copy)
    assert results(copy.folder) == results(finished.folder)


def test_damaged_prompts_are_replaced(finished: ResultStore, copy: ResultStore, capfd: Any) -> None:
    flip(next(copy.prompts.glob("sst2-pt-*.safetensors")))  # One that others start from,
    flip(next(copy.prompts.glob("cb-spot-*.json")))  # one that is scored,
    missing = [*copy.prompts.glob("sources-*"), *copy.prompts.glob("cb-mpt-*")]
    for name in ("cb-spot-*", "cb-mpt-*"):
        missing += copy.records.glob(name)
    for path in missing:
        path.unlink()
    do(configure(), copy, verbosity="normal")
    said = capfd.readouterr().err
    assert said.count("it is trained again") == said.count("warning: ") == 2
    assert results(copy.folder) == results(finished.folder)


def test_needs_of_failed_prompts(copy: ResultStore, monkeypatch: Any) -> None:
    config, whole = configure(methods=["pt", "mpt", "dtvg"]), results(copy.folder)
    for name in ("qnli-pt", "sources-mpt", "cb-mpt", "cb-dtvg", "cb-spot", "cb-attempt"):
        for path in (*copy.prompts.glob(f"{name}-*"), *copy.records.glob(f"{name}-*")):
            path.unlink()
    grid = make_grid(config, copy)
    with monkeypatch.context() as patch:
        fault = RunError("loss\nnan")
        patch.setattr(worker, "train", failing(fault, "qnli pt full data seed 42"))
        assert run_grid(grid, copy, verbosity="quiet") == {"failed": 2}
    name = next(run.prompt_name for run in grid.runs.values() if run.task == "qnli")
    found = by_label(copy)
    assert found.pop("pt").status == "finished"
    for label, record in found.items():
        assert (record.status, record.training, record.scores) == ("failed", None, None)
        assert record.error.type == "RunError"
        reason = f"not run: {name} failed (loss nan)"
        if label == "mpt":
            stage = next(run.prompt_name for run in grid.runs.values() if run.is_source_stage)
            reason = f"not run: {stage} failed ({reason})"
        assert record.error.message == reason
    # A failure stays until it is to be repeated.
    assert run_grid(make_grid(config, copy), copy, verbosity="quiet") == {}
    again = run_grid(make_grid(config, copy, "failed"), copy, verbosity="quiet")
    assert again == {"finished": 2}
    assert results(copy.folder).items() <= whole.items()


@pytest.mark.parametrize("error", [ValueError("a\nb"), RuntimeError()])
def test_a_failed_run_stops_no_other(error: Exception, copy: ResultStore, monkeypatch: Any) -> None:
    monkeypatch.setattr(worker, "train", failing(error, "cb spot 4 shots seed 42"))
    grid = make_grid(configure(methods=["spot", "dtvg"]), copy, "always")
    counts = run_grid(grid, copy, verbosity="quiet")
    assert counts == {"finished": 1, "failed": 1}
    record = by_label(copy)["spot"]
    assert record.error.type == type(error).__name__
    assert record.error.message == " ".join(str(error).split())
    assert not list(copy.records.glob("cb-spot-*.jsonl.gz"))
    assert not list(copy.prompts.glob("cb-spot-*"))  # The former prompt is not its result.


def test_the_commit_is_read_when_a_worker_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    provenance.cache_clear()
    worker.Worker(None, None, None, (), None, False)  # type: ignore[arg-type]
    monkeypatch.setattr("bench.provenance.subprocess.check_output", Mock(return_value="pulled"))
    assert provenance().git_commit != "pulled"


def test_a_repeated_run_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed may have trained wrongly until then."""
    store, first = ResultStore(tmp_path), Validation({"accuracy": 50.0}, 50.0, None)
    validate = Mock(side_effect=[first, RuntimeError("after a checkpoint")])
    monkeypatch.setattr(run_setup.Setup, "validate", validate)
    do(configure(methods=["pt"]), store)
    assert by_label(store)["pt"].error.message == "after a checkpoint"
    assert_clean(store)


def test_always_repeats_the_reported_runs(finished: ResultStore, copy: ResultStore) -> None:
    def seals() -> dict[str, str]:
        return {path.name: read_record(path).seal for path in copy.folder.rglob("*.json")}

    before = seals()
    do(configure(methods=["pt", "mpt"]), copy, "always")
    after = seals()
    assert before.keys() == after.keys()
    changed = {"-".join(name.split("-")[:2]) for name in before if before[name] != after[name]}
    assert changed == {"cb-pt", "cb-mpt"}  # Not the prompts they start from.
    assert results(copy.folder) == results(finished.folder)


@pytest.mark.usefixtures("no_training")
def test_what_does_not_fit_fails_before_any_training(copy: ResultStore) -> None:
    prompt = next(copy.prompts.glob("sst2-pt-*.json")).stem[-12:]
    given = configure(methods=["pt", "dtvg"], seeds=[43], source_prompts={"sst2": prompt})
    fault = r"sst2 was trained from initial prompt .* seed$"
    with pytest.raises(PromptError, match=fault):
        do(given, copy)
    file = copy.folder / "narrow.safetensors"
    safetensors.torch.save_file({"prompt": torch.ones(4, 9)}, file)
    narrow = configure(methods=["spot"], source_prompts={"sst2": str(file)})
    with pytest.raises(PromptError, match=r"sst2 has shape \(4, 9\), the initial prompt \(4, 128"):
        do(narrow, copy)
    long = configure("prompt_length=1010", model="tiny-llama", methods=["pt"])
    with pytest.raises(ModelError, match="lower prompt_length or input_length"):
        do(long, copy)
    assert len([*copy.configs.iterdir()]) == 1  # That of the finished grid.


def test_a_smaller_batch_is_kept(tmp_path: Path, finished: ResultStore, monkeypatch: Any) -> None:
    asked: list[int] = []
    evaluate = run_setup.evaluate

    def short_of_memory(*arguments: Any) -> Any:
        asked.append(arguments[4])
        done = evaluate(*arguments)
        return type(done)(done.scores, done.predictions, 7 if len(asked) == 2 else None)

    monkeypatch.setattr(run_setup, "evaluate", short_of_memory)
    store = ResultStore(tmp_path / "out")
    do(configure(methods=["pt"]), store)
    assert asked == [100, 100, 7]  # Two on validation, one on test.
    (record,) = by_label(store).values()
    assert record.training.evaluation_micro_batch_size == 7
    assert record.scores == by_label(finished)["pt"].scores


MOMENTS: dict[str, tuple[Any, str, signal.Signals]] = {
    "loading": (worker, "load", signal.SIGINT),
    "training": (Reporter, "on_step", signal.SIGINT),
    "validation": (evaluation, "score_task", signal.SIGTERM),
    "storing": (ResultStore, "save_prompt", signal.SIGTERM),
    "test": (worker, "make_predictions", signal.SIGINT),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stopped_grid_is_continued(
    moment: str, bench: Bench, finished: ResultStore, tmp_path: Path, monkeypatch: Any
) -> None:
    place, name, number = MOMENTS[moment]
    call, sent = getattr(place, name), []

    def stopped(*arguments: Any, **named: Any) -> Any:
        if not sent:
            sent.append(moment)
            os.kill(os.getpid(), number)
        return call(*arguments, **named)

    store, config = ResultStore(tmp_path / "out"), configure(methods=["pt"])
    with monkeypatch.context() as patch:
        patch.setattr(place, name, stopped)
        code, said = bench(config, store.folder)
    assert code == 128 + number
    assert said.splitlines()[-1].startswith(f"error: stopped by {number.name}; ")
    assert "Traceback" not in said
    assert by_label(store) == {}
    left = moment in ("training", "validation", "storing")
    assert len(list(store.checkpoints.glob("[!.]*"))) == left
    assert bench(config, store.folder)[0] == 0
    assert results(store.folder).items() <= results(finished.folder).items()
    assert_clean(store)


def test_a_disk_fills_up(finished: ResultStore, tmp_path: Path, request: Any) -> None:
    """A small file system in memory; later it is larger."""
    config, store = configure(methods=["pt", "spot"]), ResultStore(tmp_path / "out")
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(tmp_path), "-o"]
    if subprocess.run([*mount, "size=44k"], capture_output=True).returncode:
        pytest.skip("needs Linux and the right to mount a file system")
    request.addfinalizer(partial(subprocess.run, ["umount", "--lazy", tmp_path], check=True))
    with pytest.raises(OutputError, match=r"cannot (write|lock) .*: No space left") as caught:
        do(config, store)
    assert str(store.folder) in str(caught.value)
    assert not list(store.folder.rglob("*.tmp"))
    done = results(store.folder)
    assert done  # It was in the middle of the grid.
    subprocess.run([*mount, "remount,size=10m"], check=True)
    do(config, store)
    whole = results(store.folder).items()
    assert done.items() <= whole <= results(finished.folder).items()
    assert len(by_label(store)) == 2
