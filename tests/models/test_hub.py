"""Models and data from the hub, over a stand-in for it on loopback, and from what was cached."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.tasks import get_task
from tests.conftest import hub_server
from tests.models.conftest import known

ROOT = Path(__file__).resolve().parents[2]
MODEL = "google-t5/t5-base"
COMMITS = {"main": "a" * 40, "refs/pr/2": "b" * 40}
CARD = """\
---
configs:
- config_name: cb
  data_files:
  - {split: train, path: cb/train.parquet}
  - {split: validation, path: cb/validation.parquet}
---
"""
RUN = (
    *("--preset", "paper", "--task", "cb", "--method", "pt", "--shots", "16", "--seeds", "42"),
    *("--set", "training.steps=2", "--set", "training.evaluate_every=2"),
    *("--set", "training.warmup_steps=0", "--set", "prompt_length=4", "--set", "input_length=32"),
    *("--set", "validation_rows=8", "--set", "test_rows=8"),
)
PROGRAM = """
import sys
from bench.cli import main
from bench.models.loading import describe
print(*(describe(name).digest for name in sys.argv.pop(1).split()))
main()
"""


@pytest.fixture
def repositories(shared: Path, tmp_path: Path) -> Path:
    """Two commits of a tiny random model under the name of T5, and the data of cb."""
    root, task = tmp_path / "repositories", get_task("cb")
    for commit in COMMITS.values():
        known("t5").model.save_pretrained(root / "models" / MODEL / commit)
        known("t5").tokenizer.save_pretrained(root / "models" / MODEL / commit)
    references = {f"models/{MODEL}/{name}": commit for name, commit in COMMITS.items()}
    (root / "refs.json").write_text(json.dumps(references))
    folder = root / "datasets" / task.repository / task.revision
    (folder / "cb").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    for file in (shared / "data" / "cb").glob("*.parquet"):
        (folder / "cb" / file.name).write_bytes(file.read_bytes())
    return root


def test_a_run_over_the_hub_is_repeated_without_it(
    shared: Path, repositories: Path, tmp_path: Path
) -> None:
    """In processes of its own, with a fresh cache; each also tells digests of models."""
    variables = {key: text for key, text in os.environ.items() if not key.startswith("HF_")}
    variables |= {"HF_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    variables |= {"OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}

    def call(names: list[str], *words: str, **more: str) -> list[str]:
        options = {"cwd": tmp_path, "env": variables | more, "capture_output": True}
        command = [sys.executable, "-c", PROGRAM, " ".join(names), "run", *RUN, *words]
        done = subprocess.run(command, text=True, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[0].split()

    with hub_server(shared, repositories) as variables["HF_ENDPOINT"]:
        names = [f"{MODEL}@{revision}" for revision in (*COMMITS, *COMMITS.values())]
        main, other, *commits = call(names, "--out", "online")
    # A revision is the commit that it stands for.
    assert [main, other] == commits
    assert main != other
    assert call([MODEL], "--out", "offline", HF_HUB_OFFLINE="1") == [main]
    (online,), (offline,) = (
        [json.loads(file.read_text()) for file in (tmp_path / out / "records").glob("*.json")]
        for out in ("online", "offline")
    )
    assert online["status"] == "finished"
    for block in ("run", "rows", "scores"):
        assert offline[block] == online[block]
    assert offline["training"]["curve"] == online["training"]["curve"]
