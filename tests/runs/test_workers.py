"""Several processes on one grid: the same results, whatever becomes of a worker."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from bench.config import dump_config
from bench.errors import StopRequested
from bench.runs import workers
from bench.runs.grid import lay_out
from bench.runs.results import ResultFolder
from bench.runs.workers import WorkerError, run_workers, worker_environment
from bench.training.stopping import Stop

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def machine_of_workers(quiet_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the session's fixture does here, for processes that start afresh."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(quiet_machine))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def assert_clean(place: ResultFolder) -> None:
    """Nothing is left of the work but its results."""
    assert list(place.claims.folder.iterdir()) == []
    assert list(place.prompts.claims.folder.iterdir()) == []
    assert list(place.checkpoints.iterdir()) == []
    assert not list(place.folder.rglob("*.tmp"))


def test_two_workers_give_what_one_process_gives(
    configure: Any, finished: Any, comparable: Any, tmp_path: Path
) -> None:
    config = configure(tasks=["cb"], seeds=[42])
    place = ResultFolder(tmp_path / "out")
    outcome = run_workers(lay_out(config, place, "never"), 2, Stop())
    assert (len(outcome.finished), outcome.failed) == (5, [])
    for cell in outcome.finished:
        record = place.find(cell)
        assert record is not None
        expected = finished.records["cb", record.cell.method.label, 42]
        assert comparable(record) == comparable(expected)
    assert_clean(place)
    again = run_workers(lay_out(config, place, "never"), 2, Stop())
    assert again.finished == again.failed == []


def test_the_cell_of_a_killed_worker_continues_elsewhere(
    configure: Any,
    run: Any,
    comparable: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    config = configure(
        "training.steps=40",
        "training.evaluate_every=10",
        tasks=["cb"],
        methods=["pt"],
        seeds=[42, 43],
    )
    place = ResultFolder(tmp_path / "out")
    grid = lay_out(config, place, "never")
    killed: list[int] = []

    def kill_one() -> None:
        deadline = time.monotonic() + 240
        while not killed and time.monotonic() < deadline:
            for path in place.checkpoints.glob("*.safetensors"):
                note = place.prompts.claims.note(path.stem)
                if note is not None:
                    killed.append(note.pid)
                    os.kill(note.pid, signal.SIGKILL)
                    return
            time.sleep(0.002)

    killer = threading.Thread(target=kill_one)
    killer.start()
    outcome = run_workers(grid, 2, Stop(), verbosity="verbose")
    killer.join()
    assert len(killed) == 1
    assert (len(outcome.finished), outcome.failed) == (2, [])
    assert_clean(place)
    undisturbed = run(config, tmp_path / "undisturbed").records
    for cell in outcome.finished:
        record = place.find(cell)
        assert record is not None
        assert comparable(record) == comparable(undisturbed["cb", "pt", record.cell.seed])
    # What the killed one had reached was not done again.
    lines = [line for line in capfd.readouterr().err.splitlines() if ": step 10/40" in line]
    assert len(lines) <= 2


def test_a_stop_reaches_every_worker(configure: Any, bench_until: Any, tmp_path: Path) -> None:
    config = configure("training.steps=5000", tasks=["cb"], methods=["pt"])
    out, file = tmp_path / "out", tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    words = ["run", "--config", str(file), "--out", str(out), "--workers", "2"]
    place = ResultFolder(out)
    pids: set[int] = set()

    def both_train() -> bool:
        paths = place.prompts.claims.folder.glob("*.json")
        notes = [place.prompts.claims.note(path.stem) for path in paths]
        pids.update(note.pid for note in notes if note is not None)
        return len(pids) == 2

    code, said = bench_until(both_train, signal.SIGTERM, words)
    assert code == 143
    assert said.splitlines()[-1].startswith("error: stopped by SIGTERM; ")
    assert "Traceback" not in said
    assert len(list(place.checkpoints.iterdir())) == 2
    assert list(place.claims.folder.iterdir()) == []
    assert list(place.prompts.claims.folder.iterdir()) == []
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_error_of_a_worker_is_one_line(configure: Any, tmp_path: Path) -> None:
    grid = lay_out(configure(tasks=["cb"], methods=["pt"]), ResultFolder(tmp_path), "never")
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(WorkerError, match=r"cannot write .*checkpoints/.* choose a folder"):
        run_workers(grid, 1, Stop())


DIES = """
import os, signal, sys
if "--multiprocessing-fork" in sys.orig_argv:
    os.kill(os.getpid(), signal.SIGKILL)
"""
"""For a worker that is killed before it has loaded anything."""


def test_workers_that_die_again_and_again_end_the_run(
    configure: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(DIES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    out = ResultFolder(tmp_path / "out")
    grid = lay_out(configure(tasks=["cb"], methods=["pt"]), out, "never")
    monkeypatch.setattr(workers, "MOST_DEATHS", 2)
    with pytest.raises(WorkerError, match=r"2 workers died .*exit code -9.*fewer workers"):
        run_workers(grid, 1, Stop())


@pytest.mark.parametrize(
    ("cores", "number", "wanted", "threads"),
    [(8, 2, None, "4"), (8, 3, None, "2"), (2, 4, None, "1"), (8, 2, "1", "1"), (8, 2, "6", "4")],
)
def test_cores_are_divided(
    cores: int, number: int, wanted: str | None, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "usable_cores", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS")
    if wanted is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert worker_environment(0, number)["OMP_NUM_THREADS"] == threads


def test_each_worker_has_one_of_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def gpus() -> list[str | None]:
        return [worker_environment(index, 3).get("CUDA_VISIBLE_DEVICES") for index in range(3)]

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert gpus() == ["0", "1", "0"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert gpus() == [None] * 3  # One GPU is shared.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert gpus() == ["5", "7", "5"]


def test_workers_share_a_gpu_that_the_run_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert "CUDA_VISIBLE_DEVICES" not in worker_environment(0, 2, "cuda:1")
    assert worker_environment(1, 2, "cuda")["CUDA_VISIBLE_DEVICES"] == "1"


def test_ctrl_c_ends_workers_that_are_just_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the exit code of a fault; the run is stopped nevertheless."""
    stop, order = Stop(), SimpleNamespace()
    starting = SimpleNamespace(sentinel=0, exitcode=1, is_alive=lambda: False, join=lambda: None)
    messages = SimpleNamespace(poll=lambda: False)
    crew = workers.Crew(order, 1)  # type: ignore[arg-type]

    def hire(index: int) -> None:
        crew._members[index] = starting, messages  # type: ignore[assignment]

    monkeypatch.setattr(crew, "_hire", hire)
    monkeypatch.setattr(workers, "wait", lambda *_, **__: stop.request(signal.SIGINT))
    with pytest.raises(StopRequested), stop.deferred():
        crew.work(stop)


class Here:
    """A crew of one that works in this process."""

    def __init__(self, order: workers.Order, number: int) -> None:
        self.order = order

    def work(self, stop: Stop) -> None:
        workers.work(self.order, 0, os.getppid(), mock.Mock())

    def end(self) -> None:
        """It has ended."""


def test_a_worker_takes_the_work_as_the_driver_found_it(
    configure: Any, folder: Path, finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``--overwrite always`` no cell is repeated twice because a worker came late."""
    monkeypatch.setattr(workers, "Crew", Here)
    monkeypatch.setattr(workers, "_end_with", lambda parent: None)  # This process ends by itself.
    config = configure(tasks=["cb"], methods=["pt", "dtvg"], seeds=[42])
    place = ResultFolder(folder)
    grid = lay_out(config, place, "always")
    before = {cell.digest: place.stamp(cell) for cell in grid.plan.cells}
    first = run_workers(grid, 1, Stop())
    between = {cell.digest: place.stamp(cell) for cell in grid.plan.cells}
    assert len(first.finished) == 2
    assert not before.items() & between.items()
    run_workers(grid, 1, Stop())  # The same order again, as for a worker that died.
    assert {cell.digest: place.stamp(cell) for cell in grid.plan.cells} == between
    assert json.loads((place.records / grid.plan.cells[0].file_name).read_text())["seal"]
