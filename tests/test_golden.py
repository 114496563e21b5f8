"""Scores and losses do not change unless a version is raised.

Losses are those of ``golden/make.py``; scores are those of results/smoke, compared where processor,
threads and PyTorch are the same.
"""

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "golden" / "smoke.json").read_text())
SMOKE, FIRST_COMMAND = HERE.parent / "results" / "smoke", HERE.parent / "out"
"""Results of the smoke preset on all tasks, and of README's first command on GLUE."""


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_make", HERE / "golden" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def versions(make: ModuleType) -> None:
    """Numbers made with other versions are no longer golden."""
    raised = make.versions(GOLDEN["losses"])
    if raised != GOLDEN["versions"]:
        pytest.fail(f"versions are {raised}; run python tests/golden/make.py")


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize("name", sorted({entry["run"] for entry in GOLDEN["losses"]}))
def test_the_losses_of_five_steps(make: ModuleType, name: str, tmp_path: Path) -> None:
    words = (*make.LOSSES[name], "--seeds", "42", *make.SHORT)
    expected = [entry for entry in GOLDEN["losses"] if entry["run"] == name]
    same = make.environment() == GOLDEN["environment"]
    tolerance = 1e-6 if same else 2e-2 if name == "bf16" else 1e-3
    found = make.bench(words, tmp_path)
    assert len(found) == len(expected)
    for entry in expected:
        (losses,) = [each.losses for each in found if each.run.items() <= entry.items()]
        assert losses == pytest.approx(entry["losses"], rel=tolerance), entry


def test_the_scores_of_smoke_runs(make: ModuleType) -> None:
    """Compares the records of README's first command, if this code made them; ids hold versions."""
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()
    found = [record for record in records(FIRST_COMMAND) if is_of(record, head)]
    if make.environment() != GOLDEN["environment"] or not found:
        pytest.skip("needs README's first command run with this commit on the golden machine")
    known = {record["id"]: record["scores"] for record in records(SMOKE)}
    pairs = [(r["scores"], known[r["id"]]) for r in found if r["id"] in known]
    if not pairs:
        pytest.skip("versions were raised after results/smoke was made")
    for ours, theirs in pairs:
        for split in ("test", "validation"):
            assert ours[split] == pytest.approx(theirs[split], abs=0.01)


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((folder / "records").glob("*.json"))]


def is_of(record: dict[str, Any], commit: str) -> bool:
    """Whether a commit without changes made a record, in one thread, under the smoke preset."""
    made = record["provenance"]
    plain = record["status"] == "finished" and record["run"]["preset"] == "smoke"
    clean = made["git_commit"] == commit and not made["git_dirty"]
    return plain and clean and made["hardware"]["threads"] == 1
