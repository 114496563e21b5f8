"""Where and with what a result was computed."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

import bench
from bench.runs import provenance as module

provenance = module.provenance.__wrapped__  # Without what it remembers of this process.


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the checkout."""
    (tmp_path / "bench").mkdir()
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "bench" / "__init__.py"))
    return tmp_path


def git(folder: Path, *words: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *settings, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_commit_and_dirty_flag(checkout: Path) -> None:
    (checkout / "bench" / "file.py").write_text("one = 1")
    git(checkout, "init")
    git(checkout, "add", "bench")
    git(checkout, "commit", "-m", "first")
    found = provenance()
    assert (found["git_commit"], found["git_dirty"]) == (git(checkout, "rev-parse", "HEAD"), False)
    (checkout / "results").mkdir()
    (checkout / "results" / "record.json").write_text("{}")
    assert provenance()["git_dirty"] is False
    (checkout / "bench" / "file.py").write_text("one = 2")
    assert provenance()["git_dirty"] is True


def test_outside_of_a_checkout_there_is_no_commit(checkout: Path) -> None:
    found = provenance()
    assert (found["git_commit"], found["git_dirty"]) == (None, None)


def test_versions_machine_and_command(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/bench", "run", "--out", "a folder"])
    found = provenance()
    assert found["command"] == "bench run --out 'a folder'"
    assert found["versions"]["torch"] == metadata.version("torch")
    assert {"transformers", "datasets", "evaluate", "numpy"} <= found["versions"].keys()
    assert {"sacrebleu", "rouge-score", "nltk"} <= found["versions"].keys()  # Scores rest on them.
    assert found["python"] == platform.python_version()
    assert found["hardware"]["threads"] == torch.get_num_threads()
    assert json.loads(json.dumps(found)) == found


def test_peak_memory_is_in_bytes() -> None:
    assert 50_000_000 < module.peak_memory() < 1_000_000_000_000
