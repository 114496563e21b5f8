"""``bench doctor`` on this machine, and on one with faults."""

from __future__ import annotations

import errno
import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.runs import doctor


def no_hub(*arguments: object, **options: object) -> Any:
    raise urllib.error.URLError("no network in tests")


def findings(*words: object) -> tuple[int, dict[str, dict[str, str]]]:
    done = CliRunner().invoke(cli, ["doctor", "--json", *map(str, words)])
    return done.exit_code, {each["name"]: each for each in json.loads(done.stdout)}


def test_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.urllib.request, "urlopen", no_hub)
    code, found = findings("--out", tmp_path / "out")
    assert code == 0
    assert found["hub"]["state"] == "note"
    assert "out of reach" in found["hub"]["text"] or "HF_HUB_OFFLINE" in found["hub"]["text"]
    assert found["self-test"]["state"] == "ok"
    assert "torch 2." in found["versions"]["text"]
    assert f"{tmp_path / 'out'} can be written" in found["result folder"]["text"]
    assert list(tmp_path.iterdir()) == []


def test_there_is_no_place_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where all disks are full: the very thing to be told of."""

    def nowhere() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(doctor.urllib.request, "urlopen", no_hub)
    monkeypatch.setattr(doctor.tempfile, "gettempdir", nowhere)
    code, found = findings("--out", tmp_path / "out")
    assert code == 1
    assert found["result folder"]["state"] != "fault"
    for name in ("temporary files", "self-test"):
        assert found[name]["state"] == "fault"
        assert "No usable temporary directory" in found[name]["text"]


def test_faults_are_told_and_show_in_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Path) -> list[str]:
        raise RuntimeError("illegal instruction")

    monkeypatch.setattr(doctor.urllib.request, "urlopen", no_hub)
    monkeypatch.setattr(doctor, "_train_in", broken)
    monkeypatch.setattr(doctor, "usable_cores", lambda: 0)
    (tmp_path / "file").write_bytes(b"")
    code, found = findings("--out", "/proc/self/out")
    assert code == 1
    assert found["self-test"]["text"] == "RuntimeError: illegal instruction"
    assert found["result folder"]["state"] == "fault"
    assert found["threads"]["state"] == "note"
    done = CliRunner().invoke(cli, ["doctor"])
    assert "fault self-test: RuntimeError: illegal instruction" in done.stdout


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("150000 100000\n", 2), ("20000 100000\n", 1), ("max 100000\n", 8), (None, 8), ("900 1\n", 8)],
)
def test_usable_cores_are_those_of_the_container(
    limit: str | None, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    if limit is not None:
        file.write_text(limit)
    monkeypatch.setattr(doctor, "CPU_TIME", file)
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert doctor.usable_cores() == cores
