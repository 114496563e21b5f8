"""A real Ray cluster of three nodes on this machine: ``BENCH_RAY=1 pytest tests/endurance``.

One node is killed in the middle of a training; the grid completes as if nothing had happened. With
``BENCH_KILLS`` nodes, workers and drivers are killed again and again; see test_kills.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.records import read_records
from bench.runs.results import ResultFolder
from bench.runs.verify import verify

ROOT = Path(__file__).resolve().parents[2]
TASKS = ("cb", "wic")
CELLS = 5 * len(TASKS)
TRAININGS = CELLS + 6 + 1  # Six source prompts, and the shared prompt of MPT.

# Tells where each training began and that it ended, whoever does it.
LOGGER = """
from bench.training.listeners import Listener

class Ends(Listener):
    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "ends"
    def tell(self, what):
        with self.file.open("a") as file:
            file.write(what + "\\n")
    def on_start(self, training, step, total):
        self.digest = training.digest
        self.tell(f"start {self.digest} {step}")
    def on_finish(self, result):
        if result is not None:
            self.tell(f"end {self.digest}")

LOGGERS = {"ends": Ends}
"""


@pytest.fixture
def cluster(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Three nodes of one core; the first is the head."""
    if not os.environ.get("BENCH_RAY"):
        pytest.skip("takes minutes: set BENCH_RAY")
    utilities = pytest.importorskip("ray.cluster_utils", reason="needs Ray, the extra [ray]")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = utilities.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(
    cluster: Any, command: Any, environment: dict[str, str], tmp_path: Path
) -> Iterator[Start]:
    """Starts a driver on the cluster; its table goes to ``table``, all else to ``said``."""
    plugin = tmp_path / "ends.py"
    plugin.write_text(LOGGER)
    more = ["--plugin", str(plugin), "--log", "ends"]
    more += ["--executor", "ray", "--address", cluster.address]

    drivers: list[subprocess.Popen[bytes]] = []

    def start(place: Path = tmp_path, seed: str = "42") -> subprocess.Popen[bytes]:
        words = command(TASKS, seed, place / "out", *more)
        with (place / "table").open("wb") as table, (place / "said").open("ab") as said:
            drivers.append(
                subprocess.Popen(words, cwd=ROOT, env=environment, stdout=table, stderr=said)
            )
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.kill()
        driver.wait()


def parent(pid: int) -> int:
    """Of a process; 0: it is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def raylet(node: Any) -> int:
    """The process of a node whose children are its workers."""
    pid: int = node.all_processes["raylet"][0].process.pid
    return pid


def node_that_trains(place: ResultFolder, nodes: list[Any]) -> tuple[Any, str] | None:
    """One of the nodes that has saved a checkpoint of a training, and its digest."""
    for path in place.checkpoints.glob("*.safetensors"):
        note = place.prompts.claims.note(path.stem)
        for node in nodes:
            if note is not None and note.step and parent(note.pid) == raylet(node):
                return node, path.stem
    return None


def test_a_node_is_lost(
    cluster: Any,
    start: Start,
    command: Any,
    assert_as_undisturbed: Any,
    tmp_path: Path,
) -> None:
    driver = start()
    place = ResultFolder(tmp_path / "out")
    others = [node for node in cluster.list_all_nodes() if node != cluster.head_node]
    found = None
    while found is None:
        assert driver.poll() is None, (tmp_path / "said").read_text()
        found = node_that_trains(place, others)
        time.sleep(0.02)
    node, digest = found
    cluster.remove_node(node, allow_graceful=False)
    assert driver.wait(timeout=1800) == 0, (tmp_path / "said").read_text()

    lines = (tmp_path / "out" / "logs" / "ends").read_text().splitlines()
    ends = Counter(line.split()[1] for line in lines if line.startswith("end "))
    assert (len(ends), set(ends.values())) == (TRAININGS, {1})
    starts = [int(line.split()[2]) for line in lines if line.startswith(f"start {digest} ")]
    assert starts[0] == 0
    assert len(starts) == 2
    assert starts[1] > 0  # It continued from the checkpoint.
    alone = command(TASKS, "42", tmp_path / "undisturbed")
    table = (tmp_path / "table").read_text()
    assert_as_undisturbed(tmp_path / "out", table, alone, CELLS)
    found_records, _ = read_records(place.records)
    assert {record.provenance.command.split()[0] for record in found_records} == {"cli.py"}


def test_a_stop_reaches_every_node(
    cluster: Any, start: Start, environment: dict[str, str], tmp_path: Path
) -> None:
    driver = start()
    place = ResultFolder(tmp_path / "out")
    nodes = cluster.list_all_nodes()
    while node_that_trains(place, nodes) is None:
        assert driver.poll() is None, (tmp_path / "said").read_text()
        time.sleep(0.02)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(timeout=300) == 130
    last = (tmp_path / "said").read_text().splitlines()[-1]
    assert last.startswith("error: stopped by SIGINT; what is done is kept, to continue give again")
    assert "Traceback" not in (tmp_path / "said").read_text()
    assert list(place.claims.folder.glob("[!.]*")) == []
    assert list(place.prompts.claims.folder.glob("[!.]*")) == []
    # Every training that was begun has ended, or can be continued.
    lines = (place.logs / "ends").read_text().splitlines()
    begun = {line.split()[1] for line in lines if line.startswith("start ")}
    ended = {line.split()[1] for line in lines if line.startswith("end ")}
    left = {path.stem for path in place.checkpoints.glob("*.safetensors")}
    assert begun == ended | left
    assert verify(place)[1] == []


def test_nodes_workers_and_drivers_are_killed(
    kills: Any,
    cluster: Any,
    start: Start,
    command: Any,
    assert_as_undisturbed: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def strike(driver: subprocess.Popen[bytes]) -> Any:
        nodes = cluster.list_all_nodes()
        kind = kills.draw.choice(["driver", "worker", "node"])
        if kind == "driver":
            return kills.driver(driver)
        if kind == "node":
            others = [node for node in nodes if node != cluster.head_node]
            cluster.remove_node(kills.draw.choice(others), allow_graceful=False)
            cluster.add_node(num_cpus=1)
            return kind
        claims = ResultFolder(place / "out").prompts.claims
        notes = [note for note in map(claims.note, claims.all()) if note is not None]
        raylets = {raylet(node) for node in nodes}
        pids = sorted({note.pid for note in notes if parent(note.pid) in raylets})
        return kills.worker(kills.draw.choice(pids)) if pids else None

    grids = 0
    while kills.left:
        place, seed = tmp_path / str(grids), str(42 + grids)
        place.mkdir()
        kills.over(lambda: start(place, seed), strike, lambda: False)  # noqa: B023
        grids += 1
        with capsys.disabled():
            print(f"\n{grids} grids of {CELLS} cells, killed: {dict(kills.made)}", flush=True)
        alone = command(TASKS, seed, place / "undisturbed")
        assert_as_undisturbed(place / "out", (place / "table").read_text(), alone, CELLS)
        lines = [
            line.partition("] ")[2]
            for line in (place / "said").read_text().splitlines()
            if line.startswith("[")
        ]
        ends = Counter(line.partition(": ")[0] for line in lines)
        assert {unit: count for unit, count in ends.items() if count > 1} == {}
    assert sum(kills.made.values()) == kills.number
