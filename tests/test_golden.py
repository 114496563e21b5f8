"""Scores and losses do not change unless a version is raised: see ``golden/make.py``.

Scores are compared where processor, threads and PyTorch are those of the file, losses everywhere.
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
FIRST_COMMAND = HERE.parent / "out"
"""Results of README's first command, which holds the runs of the golden scores."""


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_make", HERE / "golden" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def versions(make: ModuleType) -> None:
    """Numbers made with other versions are no longer golden."""
    raised = make.versions(GOLDEN["scores"] + GOLDEN["losses"])
    if raised != GOLDEN["versions"]:
        pytest.fail(f"versions are {raised}; run python tests/golden/make.py")


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize("name", ["tiny", "bf16"])
def test_the_losses_of_five_steps(make: ModuleType, name: str, tmp_path: Path) -> None:
    words = (*make.LOSSES[name], "--seeds", "42", *make.SHORT)
    expected = [entry for entry in GOLDEN["losses"] if entry["run"] == name]
    same = make.environment() == GOLDEN["environment"]
    tolerance = 1e-6 if same else 2e-2 if name == "bf16" else 1e-3
    found = make.bench(words, tmp_path)
    assert len(found) == len(expected)
    for entry in expected:
        (losses,) = [values.losses for values in found if values.run.items() <= entry.items()]
        assert losses == pytest.approx(entry["losses"], rel=tolerance), entry


@pytest.mark.usefixtures("versions")
def test_the_scores_of_smoke_runs(make: ModuleType) -> None:
    """Compares the records of README's first command, if this code made them."""
    files = sorted((FIRST_COMMAND / "records").glob("*.json"))
    records = [json.loads(file.read_text()) for file in files]
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()
    usable = [record for record in records if is_of(record, head)]
    if make.environment() != GOLDEN["environment"] or not usable:
        pytest.skip("needs README's first command run with this commit on the golden machine")
    found = {str(make.values(record).run): make.values(record) for record in usable}
    for entry in GOLDEN["scores"]:
        run = {key: entry[key] for key in ("task", "method", "shots", "seed")}
        if str(run) not in found and run["seed"] != 42:
            continue  # The command has one seed; give it --seeds 42,43 to compare all.
        values = found[str(run)]
        assert values.test == pytest.approx(entry["test"], abs=0.01), run
        assert values.validation == pytest.approx(entry["validation"], abs=0.01), run


def is_of(record: dict[str, Any], commit: str) -> bool:
    """Whether a commit without changes made a record, in one thread, under the smoke preset."""
    made = record["provenance"]
    plain = record["status"] == "finished" and record["run"]["preset"] == "smoke"
    clean = made["git_commit"] == commit and not made["git_dirty"]
    return plain and clean and made["hardware"]["threads"] == 1
