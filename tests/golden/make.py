"""Make smoke.json anew: scores and losses of fixed runs of the command line, one thread each.

Run as ``python tests/golden/make.py [FOLDER]``; FOLDER keeps the result folders of the runs. The
numbers hold for one kind of processor and one PyTorch, which the file names.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("smoke.json")

METHODS = ("pt", "spot", "attempt", "mpt", "dtvg")
STEPS = 5

SCORES = {
    "methods": (
        *("--task", "mrpc", "--task", "rte", "--shots", "16", "--seeds", "42"),
        *(word for method in METHODS for word in ("--method", method)),
    ),
    "glue": ("--suite", "glue", "--method", "pt", "--shots", "16", "--seeds", "42,43"),
}

SHORT = (
    *("--set", f"training.steps={STEPS}", "--set", "training.warmup_steps=0"),
    *("--set", "training.evaluate_every=1", "--set", f"source_training.steps={STEPS}"),
    *("--set", f"source_training.evaluate_every={STEPS}"),
)
RTE = ("--task", "rte", "--shots", "16")
LOSSES = {
    "tiny": (*RTE, *(word for method in METHODS for word in ("--method", method))),
    "tiny-llama": (*RTE, "--model", "tiny-llama", "--method", "pt", "--method", "attempt"),
    "bf16": (*RTE, "--method", "pt", "--precision", "bf16"),
    "bucketed": (
        *("--task", "mnli", "--shots", "full", "--method", "pt"),
        *("--set", "training.batching=bucketed"),
    ),
}


class Values(NamedTuple):
    """What is kept of one record.

    Attributes:
        cell: task, method, shots and seed.
        test: scores by metric.
        validation: scores by metric.
        losses: by step, at every evaluation.
    """

    cell: dict[str, Any]
    test: dict[str, float]
    validation: dict[str, float]
    losses: list[float]


def values(record: dict[str, Any]) -> Values:
    """The one place that knows how a record is laid out."""
    cell, scores = record["cell"], record["scores"]
    names = {"task": cell["task"], "method": cell["method"]["label"]}
    names |= {"shots": cell["shots"], "seed": cell["seed"]}
    losses = [point["loss"] for point in record["training"]["curve"]]
    return Values(names, scores["test"], scores["validation"], losses)


def bench(words: Sequence[str], out: Path) -> list[Values]:
    """Run the command line in a process of its own; what its records say, in a fixed order."""
    print(f"bench run {shlex.join(words)}", flush=True)
    program = "import sys; from bench.cli import main; sys.exit(main())"
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-c", program, "run", *words, "--quiet", "--out", str(out)]
    started = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    records = [json.loads(file.read_text()) for file in (out / "records").rglob("*.json")]
    found = sorted((values(each) for each in records), key=lambda each: str(each.cell))
    print(f"  {len(found)} records, {time.monotonic() - started:.0f} s", flush=True)
    return found


def main(folder: Path) -> None:
    """Run everything and write the file."""
    commands, scores, losses = [], [], []
    for name, options in SCORES.items():
        commands.append(["run", "--preset", "smoke", *options])
        for each in bench(commands[-1][1:], folder / f"scores-{name}"):
            scores.append({**each.cell, "test": each.test, "validation": each.validation})
    for name, options in LOSSES.items():
        commands.append(["run", "--preset", "smoke", *options, "--seeds", "42", *SHORT])
        for each in bench(commands[-1][1:], folder / f"losses-{name}"):
            losses.append({"run": name, **each.cell, "losses": each.losses})
    environment = {"cpu_capability": torch.backends.cpu.get_cpu_capability()}
    environment |= {"threads": 1, "torch": torch.__version__}
    golden = {"environment": environment, "commands": commands, "scores": scores, "losses": losses}
    FILE.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="keeps the result folders")
    given = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        main(given or Path(temporary))
