"""``bench plan``: what it prints, and that what it offers can be run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.cli import cli
from bench.commands.plan import plan
from bench.commands.run import run
from bench.config import RunConfig
from bench.errors import BenchError, ConfigError, ModelError

Configure = Callable[..., RunConfig]
SHORT = ("steps=4", "evaluate_every=2", "warmup_steps=1", "batch_size=4")
SIZES = ("prompt_length=6", "input_length=48", "validation_rows=null")


@pytest.fixture
def words(data: Path, model: Path) -> list[str]:
    """Options of the small world's grid, with tasks and methods in a file or in --set items."""
    items = [f"{s}.{item}" for s in ("training", "source_training") for item in SHORT]
    items += [*SIZES, 'methods=["pt","spot","attempt","mpt","dtvg"]']
    sets = [word for item in items for word in ("--set", item)]
    grid = ["--task", "cb", "--task", "sst2", "--shots", "4", "--seeds", "42,43,44"]
    return [*grid, "--data", str(data), "--model", str(model), *sets]


def bench(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def answered(*words: object) -> Any:
    result = bench("plan", *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def names(cells: Iterable[dict[str, Any]]) -> list[str]:
    return [cell["digest"] for cell in cells]


def test_plan_takes_the_options_of_run() -> None:
    of_plan = {p.name: p.to_info_dict() for p in plan.params}
    of_run = {p.name: p.to_info_dict() for p in run.params}
    only_run = of_run.keys() - of_plan.keys()
    of_executors = {"executor", "address", "cpus_per_cell", "gpus_per_cell", "pack"}
    display = {"loggers", "quiet", "verbose"}
    assert only_run == {"dry_run", "print_config"} | display | of_executors
    assert of_plan.keys() - of_run.keys() == {"budget", "anew", "records"}
    shared = of_plan.keys() & of_run.keys() - {"as_json"}
    assert {name: of_plan[name] for name in shared} == {name: of_run[name] for name in shared}


def test_a_grid_that_is_partly_done(words: list[str], folder: Path) -> None:
    before = files(folder)
    values = answered(*words, "--out", folder)
    assert values["cells"] == {"to_run": 10, "done": 20}
    assert values["prompts"] == {"to_train": 17, "exist": 34}
    estimate = values["estimate"]
    assert (estimate["cells"], estimate["trainings"], estimate["steps"]) == (10, 17, 68)
    assert estimate["seconds"] > 0
    assert values["rows_read"]["read"] == values["rows_read"]["all"]
    assert values["costs"]["from"].startswith("timings of 34 trainings and 20 cells")
    text = bench("plan", *words, "--out", folder).stdout
    assert "cells: 10 to run, 20 done" in text
    assert any(line.startswith("time: ") and "with 1 worker" in line for line in text.splitlines())
    assert files(folder) == before


def test_nothing_left(words: list[str], folder: Path) -> None:
    done = bench("plan", *words, "--seeds", "42", "--out", folder, "--budget", "1h")
    assert done.exit_code == 0
    assert "cells: 0 to run, 10 done" in done.stdout


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9, 100.0])
def test_the_commands_run_just_what_fits(
    share: float,
    words: list[str],
    finished: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The start of a run is measured anew each time, and differs.
    clock = SimpleNamespace(perf_counter=lambda: 0.0)
    monkeypatch.setattr("bench.runs.estimate.preparing.time", clock)
    records = ("--from-records", finished.folder.folder, "--out", tmp_path / "new folder")
    everything = answered(*words, *records)["estimate"]["seconds"]
    budget = f"{max(share * everything, 0.001):.3f}s"
    picked = answered(*words, *records, "--budget", budget)["picked"]
    assert len(picked["in"]) + len(picked["out"]) == 30
    assert share > 0.0 or picked["in"] == picked["commands"] == []
    assert share < 100.0 or picked["out"] == []
    found = []
    for command in picked["commands"]:
        program, *rest = shlex.split(command)
        assert program == "bench"
        view = bench(*rest, "--dry-run", "--json")
        assert view.exit_code == 0, view.output
        found += names(json.loads(view.stdout)["cells"])
    assert sorted(found) == sorted(names(picked["in"]))
    assert not (tmp_path / "new folder").exists()
    if share == 0.4:
        assert picked["estimate"]["seconds"] <= float(budget[:-1])
        seeds = [cell["seed"] for cell in picked["in"] + picked["out"]]
        assert seeds == sorted(seeds)
        text = bench("plan", *words, *records, "--budget", budget).stdout
        assert "order: whole seeds first" in text
        assert all(f"  {command}" in text.splitlines() for command in picked["commands"])


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        (("--budget", "8 hours"), ConfigError, "--budget '8 hours': expected a time such as 8h"),
        (("--calibrate", "--from-records", "x"), ConfigError, "exclude each other"),
        (("--from", "x.yaml", "--budget", "1h"), ConfigError, "--budget has no place beside"),
        (("--model", "nobody/nothing"), ModelError, "model 'nobody/nothing': its configuration"),
        (("--from-records", "nowhere"), BenchError, "nowhere holds no timings of model"),
    ],
)
def test_faults_are_one_line(
    more: tuple[str, ...],
    error: type[BenchError],
    message: str,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    failed = bench("plan", *words, "--out", tmp_path / "none", *more)
    assert isinstance(failed.exception, error)
    assert message in str(failed.exception)
    assert "\n" not in str(failed.exception)
    assert failed.exception.exit_code == 2
    assert not (tmp_path / "none").exists()
