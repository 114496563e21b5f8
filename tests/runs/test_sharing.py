"""Several runs on one folder: each prompt and cell is done by exactly one of them."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import files
from bench.config import dump_config
from bench.errors import OutputError
from bench.runs.claims import Claims
from bench.runs.grid import execute, lay_out
from bench.runs.results import ResultFolder

ROOT = Path(__file__).resolve().parents[2]

# Runs the commands that it is given, and counts what it trains and evaluates.
COUNTING = """
import shlex, sys
from pathlib import Path
from bench.runs.workshop import Workshop
train, evaluate = Workshop._train, Workshop.evaluate
def counted(kind, function):
    def call(self, unit):
        with place.open("a") as file:
            file.write(f"{kind} {unit.digest}\\n")
        return function(self, unit)
    return call
Workshop._train = counted("train", train)
Workshop.evaluate = counted("evaluate", evaluate)
from bench.cli import main
for line in sys.stdin:
    place, *sys.argv[1:] = shlex.split(line)
    place = Path(place)
    main()
    print("end", flush=True)
"""

Pair = list["subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def pair(quiet_machine: Path) -> Iterator[Pair]:
    """Two processes that run commands at once."""
    environment = {"OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(quiet_machine)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COUNTING],
            env=os.environ | environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def run_both(pair: Pair, counted: Path, *words: str) -> list[str]:
    """Run the same command in both; what each prints."""
    for process in pair:
        assert process.stdin is not None
        print(shlex.join([str(counted), *words]), file=process.stdin, flush=True)
    shown = []
    for process in pair:
        lines = [""]
        while lines[-1] != "end\n":
            assert process.stdout is not None
            lines.append(process.stdout.readline())
            assert lines[-1], f"ended with exit code {process.wait()}"
        shown.append("".join(lines))
    return shown


@pytest.mark.parametrize("overwrite", ["never", "always"])
def test_two_runs_at_once_do_everything_once(
    overwrite: str,
    configure: Any,
    folder: Path,
    finished: Any,
    comparable: Any,
    pair: Pair,
    tmp_path: Path,
) -> None:
    config = configure(tasks=["cb"], seeds=[42])
    out = folder if overwrite == "always" else tmp_path / "out"
    counted, file = tmp_path / "counted", tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    words = ("run", "--config", str(file), "--out", str(out), "--overwrite", overwrite)
    tables = run_both(pair, counted, *words)
    assert "cb" in tables[0]
    assert tables[0] == tables[1]

    lines = counted.read_text().split("\n")[:-1]
    assert len(lines) == len(set(lines))
    plan = lay_out(config, ResultFolder(out), "never").plan
    repeated = {cell.training.digest for cell in plan.cells}
    trained = plan.trainings.keys() if overwrite == "never" else repeated
    assert {line for line in lines if line.startswith("train")} == {f"train {d}" for d in trained}
    assert {line for line in lines if line.startswith("eval")} == {
        f"evaluate {cell.digest}" for cell in plan.cells
    }
    place = ResultFolder(out)
    for cell in plan.cells:
        record = place.find(cell)
        assert record is not None
        key = (record.cell.task, record.cell.method.label, record.cell.seed)
        assert comparable(record) == comparable(finished.records[key])
    assert list(place.claims.folder.iterdir()) == []
    assert list(place.prompts.claims.folder.iterdir()) == []
    assert list(place.checkpoints.iterdir()) == []


def test_a_claimed_cell_is_left_to_its_owner(
    configure: Any, folder: Path, finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends as soon as the owner has written the record."""
    record = finished.records["cb", "pt", 42]
    path = folder / "records" / record.file_name
    content = path.read_bytes()
    path.unlink()
    owner = Claims(folder / "claims")
    assert owner.take(record.digest, "elsewhere")
    naps = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            path.write_bytes(content)

    grid = lay_out(configure(), ResultFolder(folder), "never")
    # Not the clock's own function, by which other threads of this process sleep too.
    monkeypatch.setattr("bench.runs.local.time", SimpleNamespace(sleep=sleep))
    outcome = execute(grid)
    assert outcome.finished == outcome.failed == []
    assert len(naps) == 3
    owner.give_back(record.digest)


class NetworkDisk:
    """Answers from memory that a file is not there, until this machine makes one in its folder.

    So does a client of NFS, for as long as it keeps the folder's attributes.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._missing: set[Path] = set()
        self._read, self._is_file, self._open = Path.read_bytes, Path.is_file, os.open
        monkeypatch.setattr(Path, "read_bytes", lambda path: self.read_bytes(path))
        monkeypatch.setattr(Path, "is_file", lambda path: self.is_file(path))
        monkeypatch.setattr(os, "open", self.open)

    def read_bytes(self, path: Path) -> bytes:
        if not self.is_file(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._read(path)

    def is_file(self, path: Path) -> bool:
        if path not in self._missing and not self._is_file(path):
            self._missing.add(path)
        return path not in self._missing

    def open(self, path: Any, flags: int, *more: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            folder = Path(path).parent
            self._missing = {each for each in self._missing if each.parent != folder}
        return self._open(path, flags, *more, **options)


def test_what_another_machine_wrote_last_is_seen_on_a_network_disk(
    configure: Any, folder: Path, finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner gives the cell back when it is done; it is not done a second time."""
    record = finished.records["cb", "pt", 42]
    path, prompt = folder / "records" / record.file_name, record.training.prompt
    stored = [path, *(folder / "prompts" / f"{prompt}.{kind}" for kind in ("json", "safetensors"))]
    contents = {path: path.read_bytes() for path in stored}
    for each in stored:
        each.unlink()
    place = ResultFolder(folder)
    owners = {
        record.digest: Claims(place.claims.folder),
        prompt: Claims(place.prompts.claims.folder),
    }
    for digest, owner in owners.items():
        assert owner.take(digest, "elsewhere")
    NetworkDisk(monkeypatch)
    naps = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            for each, content in contents.items():
                each.write_bytes(content)
            for digest, owner in owners.items():
                owner.give_back(digest)

    grid = lay_out(configure(seeds=[42]), place, "never")
    monkeypatch.setattr("bench.runs.local.time", SimpleNamespace(sleep=sleep))
    outcome = execute(grid)
    assert len(naps) == 3
    assert outcome.finished == outcome.failed == []
    assert {path: path.read_bytes() for path in stored} == contents


def test_what_a_killed_run_left_is_removed(configure: Any, folder: Path, finished: Any) -> None:
    record = finished.records["cb", "pt", 42]
    (folder / "records" / record.file_name).unlink()
    for place in ("records", "prompts", "checkpoints", "claims"):
        (folder / place / f".{'0' * 12}-1-{'0' * 16}.tmp").write_bytes(b"of another machine")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = folder / "records" / f".{files._machine()}-{dead.pid}-{'0' * 16}.tmp"
    left.write_bytes(b"half a rec")
    (folder / "checkpoints" / f"{record.training.prompt}.safetensors").write_bytes(b"old")
    execute(lay_out(configure(), ResultFolder(folder), "never"))
    assert not left.exists()
    assert len(list(folder.rglob("*.tmp"))) == 4
    assert list((folder / "checkpoints").glob("*.safetensors")) == []


@pytest.mark.parametrize("place", [0.2, 0.6, 0.9])
def test_a_flipped_bit_in_a_card_is_seen(place: float, folder: Path, finished: Any) -> None:
    digest = finished.records["cb", "pt", 42].training.prompt
    store = ResultFolder(folder).prompts
    path = store.folder / f"{digest}.json"
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)
    cards, warnings = store.cards()
    assert digest not in {card.digest for card in cards}
    assert len(warnings) == 1
    assert str(path) in warnings[0]


def test_a_card_of_an_older_version_is_read(folder: Path, finished: Any) -> None:
    digest = finished.records["cb", "pt", 42].training.prompt
    store = ResultFolder(folder).prompts
    path = store.folder / f"{digest}.json"
    values = json.loads(path.read_text())
    del values["seal"]
    path.write_text(json.dumps(values))
    assert store.load(digest).card.digest == digest


@pytest.mark.parametrize("written", [1, 5, 7, 9])
def test_a_full_disk_names_the_file_and_loses_nothing(
    written: int,
    configure: Any,
    run: Any,
    finished: Any,
    comparable: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It fills up after some files; with space again, the same command gives the same results."""
    config = configure(tasks=["cb"], methods=["pt"], seeds=[42])
    write, count = files._write_to_disk, 0

    def until_full(path: Path, data: bytes) -> None:
        nonlocal count
        count += not path.parent.name.startswith("claims")
        if count > written:
            path.write_bytes(data[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write_to_disk", until_full)
        with pytest.raises(OutputError, match=r"cannot write .*: No space left on device") as error:
            run(config, tmp_path / "out")
    assert str(tmp_path / "out") in str(error.value)
    assert not list(tmp_path.rglob("*.tmp"))
    assert not list(tmp_path.rglob("*.lock"))
    (record,) = run(config, tmp_path / "out").records.values()
    assert comparable(record) == comparable(finished.records["cb", "pt", 42])
