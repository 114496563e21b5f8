"""``bench doctor`` on this machine, and on one with faults."""

from __future__ import annotations

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
