"""``bench run`` and ``bench plan``: train and score a grid, or estimate its cost."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import click
from click import Choice, FloatRange, IntRange, Option

from bench.commands import base
from bench.commands.base import PATH, ListOption, Sections, bench, print_json
from bench.config import RunConfig, dump_config, load_config
from bench.errors import ConfigError, counted, lookup
from bench.grid import Grid, Run, make_grid
from bench.provenance import differences, provenance
from bench.record import read_records
from bench.registry import method_entry
from bench.store import ResultStore
from bench.tasks import get_suite, get_task
from bench.training.callbacks import callback_names

OVERWRITE, EXECUTOR = Choice(["never", "failed", "always"]), Choice(["local", "ray"])
SHOTS = "Training examples in total, not in-context examples: 4,16 or 'full'."
MAX_SEEDS = 10_000
NUMBER = "[0-9]{1,19}"  # Python refuses to parse numbers of thousands of digits.
GRID = [
    base.SUITES,
    base.TASKS,
    ListOption(["--method", "methods"], help="Methods: pt,dtvg:grouping=all,scales=off."),
    ListOption(["--shots"], help=SHOTS),
    ListOption(["--seeds"], help="Seeds, also ranges: 42-44,50."),
    Option(["--model"], help="Name, folder, GGUF file, or hub id such as google-t5/t5-base."),
    Option(["--precision", "--dtype"], help="Precision of the model: float32 or bf16."),
    Option(["--data"], help="'bundled', 'hub', or a folder with <task>/<split>.parquet."),
    Option(["--device"], help="Torch device; 'auto' uses a GPU if there is one."),
    Option(["--limit"], type=IntRange(1), help="Use at most N rows of each split, for a trial."),
    Option(["--preset"], help="smoke, laptop or paper; default: preset of --config, or smoke."),
    Option(["--config", "file"], type=PATH, help="YAML file with changes to the preset."),
    Option(["--set", "items"], multiple=True, help="Set a key, such as training.steps=100."),
    base.PLUGIN,
    Option(["--overwrite"], type=OVERWRITE, default="never", help="Which recorded runs to repeat."),
    Option(["--workers"], type=IntRange(1), help="Number of local worker processes."),
]
EXECUTION = [
    Option(["--executor"], type=EXECUTOR, default="local", help="Local, or a Ray cluster."),
    Option(["--cpus-per-run"], type=IntRange(1), help="Ray: CPU cores per run; default: 1."),
    Option(["--gpus-per-run"], type=FloatRange(0, 1), help="Ray: GPUs per run, such as 0.5."),
    Option(["--dry-run"], is_flag=True, help="Print all runs and the prompts they need, and exit."),
    Option(["--print-config"], is_flag=True, help="Print the configuration as YAML, and exit."),
    ListOption(["--log", "loggers"], help="Log to tensorboard, wandb, mlflow, trackio, a plugin."),
    Option(["--log-groups"], is_flag=True, help="Log DTVG's group in each step to OUT/groups."),
    Option(["--quiet", "verbosity"], flag_value="quiet", help="Print only errors and the table."),
    Option(["--verbose", "verbosity"], flag_value="verbose", help="Print a line per evaluation."),
]
END = [
    Option(["--debug"], is_flag=True, help="Print the traceback of any error."),
    *(base.JSON, base.OUT, base.PROMPTS),
]


@bench.command(cls=Sections, params=GRID + EXECUTION + END)
def run(verbosity: Any, file: Path | None, **options: Any) -> None:
    """Train and score every run of a grid, then print its table.

    Finished runs are skipped (see --overwrite); the same command continues a killed one.
    """
    resources = _resources(options)
    loggers = [*options["loggers"], *["groups"] * options["log_groups"]]
    known = dict.fromkeys(callback_names())
    for name in loggers:
        lookup("logger", name, known)
    config = _config(file, options)
    if options["print_config"]:
        _print_config(config, options["as_json"])
        return
    grid, store = _grid(config, options, offline=options["dry_run"])
    quiet = verbosity == "quiet"
    for line in _environment(file, grid) if file and not quiet else ():
        click.echo(f"differs from {file}: {line}", err=True)
    if options["dry_run"]:
        values = overview(grid, store)
        print_json(values) if options["as_json"] else _print_overview(values)
        return

    from bench.reports.frame import load_results
    from bench.reports.tables import render_tables

    counts = Counter[str]()
    if grid.todo:  # A finished grid needs no model and no executor.
        from bench.runner import run_grid

        verbosity = verbosity or "normal"
        counts = run_grid(grid, store, loggers, verbosity, options["debug"], **resources)
    results = load_results(store.folder).only(grid.ids)
    # Includes runs that failed before this command or in another process.
    failed = sum(record.status == "failed" for record in results.records)
    if not quiet:
        earlier = len(grid.reported) - counts["finished"] - failed
        finished = counted(counts["finished"], "run")
        states = f"{finished} finished, {earlier} found finished, {failed} failed"
        click.echo(f"{states}; records in {store.records}", err=True)
        base.warn(results.warnings)
    form = "json" if options["as_json"] else base.terminal_form()
    click.echo(render_tables(results, form), nl=False)
    if failed:
        sys.exit(1)


@bench.command(cls=Sections, params=GRID + END)
def plan(file: Path | None, **options: Any) -> None:
    """Estimate what `bench run` with these options would take: steps, tokens, hours and disk.

    Times short trainings; nothing is written to the result folder. For a well-known model that is
    neither cached nor reachable, the time is computed from its size.
    """
    from bench.estimate import estimate, render_estimate

    grid, store = _grid(_config(file, options), options, offline=True)
    values = estimate(grid, store, options["workers"] or 1, partial(click.echo, err=True))
    print_json(values) if options["as_json"] else click.echo(render_estimate(values))


def _resources(options: dict[str, Any]) -> dict[str, Any]:
    """Executor and its options for ``run_grid``; ConfigError for the other executor's options."""
    executors = {"workers": "local", "cpus_per_run": "ray", "gpus_per_run": "ray"}
    values = {key: options[key] for key in executors if options[key] is not None}
    for key in values:
        if executors[key] != options["executor"]:
            option = key.replace("_", "-")
            raise ConfigError(f"--{option} has no meaning with --executor {options['executor']}")
    return {"executor": options["executor"], **values}


def _config(file: Path | None, options: dict[str, Any]) -> RunConfig:
    """Configuration from command-line options; tasks or suites replace those of the preset."""
    for key, check in (("suites", get_suite), ("tasks", get_task), ("methods", method_entry)):
        for name in options[key]:
            check(name)  # Fails before load_config imports torch.
    keys = ("model", "precision", "data", "device", "methods")
    values = {key: options[key] for key in keys if options[key] not in (None, ())}
    if options["suites"] or options["tasks"]:  # Replace those of --config as well.
        values |= {"suites": options["suites"], "tasks": options["tasks"]}
    if options["shots"]:
        words = options["shots"]
        values["shots"] = [int(word) if re.fullmatch(NUMBER, word) else word for word in words]
    if options["seeds"]:
        values["seeds"] = [seed for word in options["seeds"] for seed in _seeds(word)]
    preset, items, limit = options["preset"], [*options["items"]], options["limit"]
    config = load_config(preset, file, values, items)
    if not limit:
        return config
    for key in ("train_rows", "validation_rows", "test_rows"):
        items.append(f"{key}={min(limit, getattr(config, key) or limit)}")
    return load_config(preset, file, values, items)


def _print_config(config: RunConfig, as_json: bool) -> None:
    """Print a configuration, with the settings of every method."""
    specs = [config.method_spec(name) for name in config.methods]
    settings = {spec.label: spec.values() for spec in specs}
    if as_json:
        print_json({**config.model_dump(mode="json"), "settings": settings})
        return
    header = "# Settings of the methods; to change one: --method pt:learning_rate=0.01"
    lines = [f"# {label}: {json.dumps(values)}" for label, values in settings.items()]
    click.echo("\n".join([dump_config(config).rstrip(), header, *lines]))


def _seeds(word: str) -> Sequence[int | str]:
    """Seeds of a number or a range such as ``42-44``; other words fail when validated."""
    match = re.fullmatch(rf"({NUMBER})(?:-({NUMBER}))?", word)
    if match is None:
        return [word]
    first, last = int(match[1]), int(match[2] or match[1])
    if not first <= last < first + MAX_SEEDS:
        expected = f"FIRST-LAST, such as 42-44, of at most {MAX_SEEDS} seeds"
        raise ConfigError(f"--seeds {word}: expected {expected}")
    return range(first, last + 1)


def _grid(config: RunConfig, options: dict[str, Any], offline: bool) -> tuple[Grid, ResultStore]:
    store = ResultStore(options["out"], options["prompts"])
    return make_grid(config, store, options["overwrite"], offline), store


def _environment(file: Path, grid: Grid) -> Iterator[str]:
    """Differences between this environment and that of the result folder that holds ``file``."""
    folder = file.absolute().parent
    records = read_records(folder.parent / "records")[0] if folder.name == "configs" else []
    matching = [record for record in records if record.id in grid.ids]
    if records and not matching and grid.config == load_config(file=file):
        yield "its records belong to other runs: model, data or a version changed"
    changes = (differences(record.provenance, provenance()) for record in matching or records)
    yield from dict.fromkeys(chain.from_iterable(changes))


def overview(grid: Grid, store: ResultStore) -> dict[str, Any]:
    """All runs and prompts of a grid with their state, JSON-ready."""
    todo = {run.prompt_id for run in grid.todo}
    states = Counter(record.status for record in grid.records.values())
    runs, prompts = [], []
    for key, run in grid.runs.items():
        needs = [
            need.describe() if isinstance(need, Run) else f"{need.task} given {need.prompt_id}"
            for need in run.start
        ]
        row = {"run": run.describe(), "needs": needs}
        if key in grid.reported:
            state = grid.records[key].status if key in grid.records else "to run"
            runs.append({"id": run.id, "state": state, **row})
        if key not in grid.reported or (key in grid.records and key in todo):
            stored = "exists" if store.seal(run) else "not needed"
            prompts.append({"id": key, "state": "to train" if key in todo else stored, **row})
    return {
        "preset": grid.config.preset,
        "model": grid.config.model,
        "data": grid.config.data,
        "note": next(iter(grid.runs.values())).protocol.model.note,
        "to_run": grid.to_run,
        "finished": states["finished"],
        "failed": states["failed"],
        "prompts_to_train": len(grid.todo) - grid.to_run,
        "runs": runs,
        "prompts": prompts,
    }


def _print_overview(values: dict[str, Any]) -> None:
    for kind in ("prompts", "runs"):
        click.echo(f"{kind}:")
        for row in values.pop(kind):
            needs = f" (needs {counted(len(row['needs']), 'prompt')})" if row["needs"] else ""
            click.echo(f"  {row['state']:<10} {row['run']}{needs}")
    for key, value in values.items():
        click.echo(f"{key.replace('_', ' ')}: {value}")
