"""Models and data from the hub, over a stand-in for it on loopback, and from what was cached."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

from bench.tasks import get_task

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
)
PROGRAM = """
import sys
from bench.cli import main
from bench.models.loading import describe
print(*(describe(name).digest for name in sys.argv.pop(1).split()))
main()
"""

Call = Callable[..., list[str]]


class Hub(NamedTuple):
    address: str
    server: subprocess.Popen[str]


@pytest.fixture(scope="module")
def repositories(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits of a tiny random model under the name of T5, and the data of cb."""
    root = tmp_path_factory.mktemp("repositories")
    words = AutoTokenizer.from_pretrained(shared / "tokenizers" / "t5")
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    torch.manual_seed(0)
    for commit in COMMITS.values():
        folder = root / "models" / MODEL / commit
        config = T5Config(vocab_size=32128, decoder_start_token_id=0, **sizes)
        T5ForConditionalGeneration(config).save_pretrained(folder)
        words.save_pretrained(folder)
    references = {f"models/{MODEL}/{name}": commit for name, commit in COMMITS.items()}
    (root / "refs.json").write_text(json.dumps(references))
    hub = get_task("cb").hub
    folder = root / "datasets" / hub.path / hub.revision
    (folder / "cb").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    for file in (shared / "data" / "cb").glob("*.parquet"):
        (folder / "cb" / file.name).write_bytes(file.read_bytes())
    return root


@pytest.fixture
def hub(shared: Path, repositories: Path) -> Iterator[Hub]:
    tool = shared / "tools" / "fakehub.py"
    if not tool.is_file():
        pytest.skip("needs ../shared/tools/fakehub.py, which is not part of the project")
    command = [sys.executable, str(tool), str(repositories), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        yield Hub(server.stdout.readline().strip(), server)
        server.kill()


@pytest.fixture
def call(hub: Hub, tmp_path: Path) -> Call:
    """Digests of models, then ``bench run``; all processes share a fresh cache."""
    kept = {key: text for key, text in os.environ.items() if not key.startswith("HF_")}
    places = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "cache")}
    kept |= {**places, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"}

    def start(names: list[str], *words: str, **variables: str) -> list[str]:
        options = {"cwd": tmp_path, "env": kept | variables, "capture_output": True}
        command = [sys.executable, "-c", PROGRAM, " ".join(names), "run", *RUN, *words]
        done = subprocess.run(command, text=True, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[0].split()

    return start


def test_a_run_over_the_hub_is_repeated_without_it(hub: Hub, call: Call, tmp_path: Path) -> None:
    names = [f"{MODEL}@{revision}" for revision in (*COMMITS, *COMMITS.values())]
    main, other, *commits = call(names, "--out", "online")
    # A revision is the commit that it stands for.
    assert [main, other] == commits
    assert main != other
    hub.server.kill()
    hub.server.wait()
    assert call([MODEL], "--out", "offline", HF_HUB_OFFLINE="1") == [main]
    (online,), (offline,) = (
        [json.loads(file.read_text()) for file in (tmp_path / out / "records").glob("*.json")]
        for out in ("online", "offline")
    )
    assert online["status"] == "finished"
    for block in ("run", "rows", "scores"):
        assert offline[block] == online[block]
    assert offline["training"]["curve"] == online["training"]["curve"]
