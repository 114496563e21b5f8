"""Make smoke.json anew: losses of fixed runs of the command line, in one thread.

Run as ``python tests/golden/make.py [FOLDER]`` after a version was raised; FOLDER keeps the result
folders. The numbers hold for one kind of processor and one PyTorch, which the file names.
"""

import argparse
import contextlib
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.cli import main as bench_command
from bench.provenance import RESULTS_VERSION
from bench.registry import method_entry
from bench.tasks import get_task

FILE = Path(__file__).with_name("smoke.json")

METHODS = ("pt", "spot", "attempt", "mpt", "dtvg")
STEPS = 5

ALL = tuple(word for method in METHODS for word in ("--method", method))

SHORT = (
    *("--set", f"training.steps={STEPS}", "--set", "training.warmup_steps=0"),
    *("--set", "training.evaluate_every=1", "--set", f"source_training.steps={STEPS}"),
    *("--set", f"source_training.evaluate_every={STEPS}"),
    *("--set", "validation_rows=10", "--set", "test_rows=10"),  # Losses do not depend on them.
)
BUCKETS = "training.batching=bucketed"
RTE = ("--task", "rte", "--shots", "16", "--set", "sources=[sst2,qnli]")
LOSSES = {
    "tiny": (*RTE, *ALL),
    "tiny-llama": (*RTE, "--model", "tiny-llama", "--method", "pt", "--method", "attempt"),
    "bf16": (*RTE, "--method", "pt", "--precision", "bf16"),
    "bucketed": ("--task", "mnli", "--shots", "full", "--method", "pt", "--set", BUCKETS),
}


class Losses(NamedTuple):
    """What is kept of one record: the run, and the loss at every evaluation."""

    run: dict[str, Any]
    losses: list[float]


def losses_of(record: dict[str, Any]) -> Losses:
    """The losses of a record's JSON."""
    run, names = record["run"], {"task": "task", "label": "method", "shots": "shots"}
    shown = {name: run[key] for key, name in (names | {"seed": "seed"}).items()}
    return Losses(shown, [point["loss"] for point in record["training"]["curve"]])


def versions(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Versions of the harness and of the methods and tasks of golden entries."""
    methods, tasks = ({entry[key] for entry in entries} for key in ("method", "task"))
    return {
        "results": RESULTS_VERSION,
        "methods": {name: method_entry(name).load().version for name in sorted(methods)},
        "tasks": {name: get_task(name).version for name in sorted(tasks)},
    }


def environment() -> dict[str, Any]:
    """What scores and losses depend on besides the code."""
    capability = torch.backends.cpu.get_cpu_capability()
    return {"cpu_capability": capability, "threads": 1, "torch": torch.__version__}


def bench(words: Sequence[str], out: Path) -> list[Losses]:
    """Run the command line in this process; its losses, in a fixed order."""
    print(f"bench run {shlex.join(words)}", file=sys.stderr)
    before = sys.argv
    sys.argv = ["bench", "run", *words, "--quiet", "--out", str(out)]
    torch.set_num_threads(1)
    with contextlib.suppress(SystemExit):
        bench_command()
    sys.argv = before
    records = [json.loads(file.read_text()) for file in (out / "records").rglob("*.json")]
    return sorted(map(losses_of, records), key=lambda each: str(each.run))


def main(folder: Path) -> None:
    """Run everything and write the file."""
    commands, losses = [], []
    for name, options in LOSSES.items():
        commands.append(["run", "--preset", "smoke", *options, "--seeds", "42", *SHORT])
        for each in bench(commands[-1][1:], folder / name):
            losses.append({"run": name, **each.run, "losses": each.losses})
    golden = {"environment": environment(), "versions": versions(losses)}
    FILE.write_text(json.dumps(golden | {"commands": commands, "losses": losses}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="keeps the result folders")
    given = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        main(given or Path(temporary))
