"""Several processes on one grid: equal results, whatever becomes of a worker or a driver.

BENCH_KILLS=60 adds a test under that many random ``kill -9``, BENCH_RAY=1 one on three local nodes.
"""

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import executors, worker
from bench.config import RunConfig, dump_config
from bench.executors import ExecutorError
from bench.grid import make_grid
from bench.plugins import use_files
from bench.record import read_records
from bench.reports.frame import load_results
from bench.reports.tables import render_tables
from bench.runner import run_grid
from bench.store import ResultStore
from tests.core.small_grids import assert_clean, configure, do, results

ROOT = Path(__file__).resolve().parents[2]
LONG = ("training.steps=40", "training.evaluate_every=5", "source_training.steps=40")
LOGGER = """
import os, signal
from bench.training.callbacks import Callback

class Starts(Callback):
    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "starts"

    def on_start(self, info, step, total):
        self.info = info
        with self.file.open("a") as file:
            file.write(f"{info.name} {step}\\n")

class Kills(Starts):
    def on_step(self, step, total):
        if self.info.run["method"] == "spot" and step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

LOGGERS = {"starts": Starts, "kills": Kills}
"""


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with two loggers; and this checkout for processes that start afresh."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    path = tmp_path / "loggers.py"
    path.write_text(LOGGER)
    use_files([path])
    return path


def starts(store: ResultStore) -> list[tuple[str, int]]:
    """Name and step of each training that began, in order."""
    file = store.logs / "starts"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(name, int(step)) for name, step in map(str.split, lines)]


def assert_as_undisturbed(config: RunConfig, store: ResultStore) -> None:
    """Records, answers, prompts and the table are those of a run of this process alone."""
    whole = ResultStore(store.folder.with_name("whole"))
    do(config, whole)
    assert results(store.folder) == results(whole.folder)
    tables = [render_tables(load_results(own.folder), "markdown") for own in (store, whole)]
    assert tables[0] == tables[1]
    assert_clean(store)


def test_workers_that_die(finished: ResultStore, tmp_path: Path, capfd: Any) -> None:
    """SPoT kills the process that runs it: it is continued once, and then recorded as failed."""
    store = ResultStore(tmp_path / "out")
    grid = make_grid(configure(methods=["pt", "spot:source=sst2"]), store)
    counts = run_grid(grid, store, ["kills"], workers=2)
    assert counts == {"finished": 1, "failed": 1}
    (failed,) = [record for record in read_records(store.records)[0] if record.status == "failed"]
    assert failed.run.method == "spot"
    assert failed.error.message == "its process died 2 times; check whether memory ran out"
    begun = starts(store)
    assert [step for name, step in begun if name.startswith("cb-spot-")] == [0, 2]
    assert len(begun) == 4  # The others, on sst2 and cb, once.
    done, whole = results(store.folder), results(finished.folder)
    assert {name for name in done if "spot" not in name and done[name] != whole[name]} == set()
    assert multiprocessing.active_children() == []
    assert capfd.readouterr().err.count("its process ended") == 2


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def children_of(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return []


def workers_of(driver: int) -> list[int]:
    """The worker processes of a driver, which its fork server started."""
    return [worker for server in children_of(driver) for worker in children_of(server)]


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path, plugin: Path) -> Iterator[Start]:
    """Starts ``bench run``; what all drivers say goes to ``said``."""
    drivers: list[subprocess.Popen[bytes]] = []

    def start(config: RunConfig, store: ResultStore, *words: str) -> subprocess.Popen[bytes]:
        file = tmp_path / "config.yaml"
        file.write_text(dump_config(config))
        command = [sys.executable, "-m", "bench.cli", "run", "--config", str(file)]
        command += ["--out", str(store.folder), "--plugin", str(plugin), "--log", "starts", *words]
        with (tmp_path / "said").open("ab") as said:
            drivers.append(subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.kill()
        driver.wait()


def wait_for(so: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_killed_driver_leaves_no_worker_but_a_grid(start: Start, tmp_path: Path) -> None:
    config = configure(*LONG, methods=["pt"], seeds=[42, 43], tasks=["cb"])
    store = ResultStore(tmp_path / "out")
    driver = start(config, store, "--workers", "2")
    wait_for(lambda: [*store.checkpoints.glob("[!.]*.safetensors")])
    workers = workers_of(driver.pid)
    assert len(workers) == 2
    driver.kill()
    driver.wait()
    wait_for(lambda: not any(map(alive, workers)), 30)
    before, kept = len(starts(store)), store.checkpoints.glob("[!.]*.safetensors")
    interrupted = {path.stem for path in kept}
    # Two drivers at once.
    driver = start(config, store)
    wait_for(lambda: len(starts(store)) > before)
    do(config, store, loggers=["starts"])
    assert driver.wait(120) == 0, (tmp_path / "said").read_text()
    assert_as_undisturbed(config, store)
    again = dict(starts(store)[before:])
    assert len(again) == len(starts(store)) - before
    assert {name for name, step in again.items() if step > 0} == interrupted != set()


def test_a_stop_while_workers_start(bench: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """The signal goes to the driver and its workers, as srun sends it."""
    store, started, begin = ResultStore(tmp_path / "out"), [], executors.ProcessPool._start

    def stop_after(self: executors.ProcessPool, index: int) -> None:
        begin(self, index)
        started.append(index)
        if len(started) == 2:
            for process in multiprocessing.active_children():
                os.kill(int(process.pid or 0), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(executors.ProcessPool, "_start", stop_after)
    code, said = bench(configure(methods=["pt"], seeds=[1, 2]), store.folder, "--workers", "2")
    assert code == 128 + signal.SIGUSR1
    assert said.splitlines()[-1].startswith("error: stopped by SIGUSR1; ")
    assert "Traceback" not in said
    assert multiprocessing.active_children() == []
    assert list(store.records.iterdir()) == []


def test_an_ignored_signal_stays_ignored(bench: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    train, sent = worker.train, []

    def hang_up(*values: Any, **named: Any) -> Any:
        sent.append(os.kill(os.getpid(), signal.SIGHUP))
        return train(*values, **named)

    monkeypatch.setattr(worker, "train", hang_up)
    try:
        code, said = bench(configure(methods=["pt"]), tmp_path / "out")
    finally:
        assert signal.signal(signal.SIGHUP, before) == signal.SIG_IGN
    assert (code, len(sent)) == (0, 1), said


DIES = """
import multiprocessing, os, signal
if multiprocessing.parent_process():
    os.kill(os.getpid(), signal.SIGKILL)
TASKS = {}
"""


def test_workers_that_die_at_once(plugin: Path, tmp_path: Path) -> None:
    file = plugin.with_name("dies.py")
    file.write_text(DIES)
    use_files([file])
    store = ResultStore(tmp_path / "out")
    with pytest.raises(ExecutorError, match="a worker ended before any run"):
        do(configure(methods=["pt"], seeds=[1, 2]), store, workers=2)
    assert list(store.records.iterdir()) == []


def test_shares_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, workers, wanted, threads in (
        *((8, 2, "", 4), (8, 3, "", 2), (2, 4, "", 1)),
        *((8, 2, "1", 1), (8, 2, "6", 4)),
    ):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cores=cores: range(cores))
        monkeypatch.setenv("OMP_NUM_THREADS", wanted)
        assert executors.threads_each(workers) == threads


SHARES = [
    (None, 2, "auto", ["0", "1", "0"]),
    (None, 1, "auto", [None] * 3),  # One GPU is shared.
    ("5,7", 2, "cuda", ["5", "7", "5"]),
    (None, 2, "cuda:1", [None] * 3),  # Named for all.
]


@pytest.mark.parametrize("case", SHARES)
def test_shares_of_gpus(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    visible, number, device, shares = case
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("torch.cuda.device_count", lambda: number)
    found = [executors._share(index, 3, device).get("CUDA_VISIBLE_DEVICES") for index in range(3)]
    assert found == shares


def test_a_grid_that_is_killed_again_and_again(start: Start, tmp_path: Path) -> None:
    """20 runs, more if they end too early; ``BENCH_KILL_SEED`` chooses times and victims."""
    kills = int(os.environ.get("BENCH_KILLS", "0"))
    if not kills:
        pytest.skip("takes long: set BENCH_KILLS to the number of kills")
    draw, made, seeds = random.Random(os.environ.get("BENCH_KILL_SEED", "0")), 0, [42, 43]
    store, ended = ResultStore(tmp_path / "out"), {}

    def begin() -> tuple[RunConfig, subprocess.Popen[bytes]]:
        config = configure(*LONG, tasks=["cb", "wsc.fixed"], seeds=seeds)
        return config, start(config, store, "--workers", "2", "--overwrite", "failed")

    config, driver = begin()
    while made < kills or driver.poll() != 0:
        if driver.poll() is not None:
            # A run whose worker died twice is recorded as failed (1); all may die at once (2).
            assert driver.returncode in (0, -signal.SIGKILL, 1, 2), (tmp_path / "said").read_text()
            seeds += [seeds[-1] + 1] * (driver.returncode == 0)
            config, driver = begin()
        awaited = len(starts(store)) + draw.randint(0, 2)  # Trainings begun before the next kill.
        while driver.poll() is None and (made == kills or len(starts(store)) < awaited):
            time.sleep(0.05)
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(draw.uniform(0, 3))
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(draw.choice([driver.pid, *workers_of(driver.pid)]), signal.SIGKILL)
            made += 1
        names = {path.stem for path in store.prompts.glob("*.json")}
        begun = Counter(name for name, _ in starts(store))
        ended |= {name: begun[name] for name in names - ended.keys()}
    begun = Counter(name for name, _ in starts(store))
    assert ended == {name: begun[name] for name in ended}  # None began again after its end.
    assert_as_undisturbed(config, store)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Three nodes of one core; the first is the head."""
    if not os.environ.get("BENCH_RAY"):
        pytest.skip("takes minutes: set BENCH_RAY")
    utilities = pytest.importorskip("ray.cluster_utils", reason="needs Ray, the extra [ray]")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = utilities.Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    cluster.shutdown()


def test_a_node_of_a_cluster_is_lost(cluster: Any, start: Start, tmp_path: Path) -> None:
    config, store = configure(*LONG, tasks=["cb", "wsc.fixed"]), ResultStore(tmp_path / "out")
    driver = start(config, store, "--executor", "ray")
    wait_for(lambda: list(store.checkpoints.glob("[!.]*.safetensors")), 600)
    node = next(node for node in cluster.list_all_nodes() if node != cluster.head_node)
    cluster.remove_node(node, allow_graceful=False)
    assert driver.wait(1800) == 0, (tmp_path / "said").read_text()
    assert_as_undisturbed(config, store)
