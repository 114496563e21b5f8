"""Commands that read a result folder: status, table, plot, report and show."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from click import Argument, Choice, Option

from bench.commands import base
from bench.commands.base import FOLDER, JSON, PATH, PLUGIN, ListOption, bench, print_json, warn
from bench.config import load_config
from bench.data import load_splits, open_source
from bench.data.sources import OFFICIAL_ROW
from bench.errors import BenchError, ConfigError, DataError, RecordError
from bench.files import file_digest, read_trace
from bench.grid import Run, make_grid
from bench.predictions import Predictions, load_predictions
from bench.record import Record, read_records
from bench.reports.show import show_errors, show_record
from bench.store import ResultStore
from bench.tasks import get_task


@bench.command(params=[FOLDER, base.PROMPTS, PLUGIN, JSON])
def status(folder: Path, prompts: Path | None, as_json: bool) -> None:
    """Count finished, failed, running and missing runs of a result folder, and check its files.

    A run is missing if a configuration in DIR/configs includes it. Exit code 1 if a record,
    predictions file, prompt, checkpoint, group log or configuration is damaged, or a record lacks
    its prompt.
    """
    if not folder.is_dir():
        raise RecordError(f"no result folder {folder}: give the --out folder of a run")
    store = ResultStore(folder, prompts)
    records, warnings = read_records(store.records)
    failed = [f"{r.file_name}: {r.error.message}" for r in records if r.error is not None]
    running, missing = _unrecorded(store, {record.id for record in records})
    faults = [*warnings, *_faults(store, records)]
    lists = {"failed": failed, "running": running, "missing": missing, "faults": faults}
    finished = len(records) - len(failed)
    if as_json:
        print_json({"finished": finished, **lists})
    else:
        click.echo(f"finished: {finished}")
        for key, lines in lists.items():
            click.echo("\n  ".join([f"{key}: {len(lines)}", *lines]))
    if faults:
        sys.exit(1)


def _unrecorded(store: ResultStore, recorded: set[str]) -> tuple[list[str], list[str]]:
    """Running and missing runs of all readable configurations."""
    reported, running = dict[str, Run](), dict[str, str]()
    for path in sorted(store.configs.glob("*.yaml")):
        try:
            grid = make_grid(load_config(file=path), store)
            running |= {run.prompt_id: run.describe() for run in store.running(grid.runs.values())}
            reported |= {run.id: run for run in grid.reported.values()}
        except BenchError as error:
            warn([f"running or missing runs of {path.name} are not known: {error}"])
    missing = [run for key, run in reported.items() if key not in recorded]
    return [*running.values()], [run.describe() for run in missing if run.prompt_id not in running]


def _faults(store: ResultStore, records: Sequence[Record]) -> Iterator[str]:
    """Read all other files of a result folder; yields one line per fault, with the file name."""
    from bench.training.checkpoint import load_checkpoint

    prompts, warnings = read_records(store.prompts)
    yield from warnings
    reads: list[Callable[[], object]] = [partial(store.load_prompt, p.id) for p in prompts]
    reads += [partial(load_predictions, store.records, r) for r in records if r.predictions]
    reads += [partial(load_checkpoint, path) for path in store.checkpoints.glob("*.safetensors")]
    reads += [partial(read_trace, path) for path in (store.folder / "groups").glob("*.parquet")]
    for read in reads:
        try:
            read()
        except BenchError as error:
            yield str(error)
    prompt_ids = {prompt.id for prompt in prompts}
    for record in records:
        path = store.records / record.file_name
        if not path.exists():
            yield f"{path} is missing, but its record exists: rename its file"
        if prompt_ids and record.training and record.training.prompt not in prompt_ids:
            yield f"{path}: prompt {record.training.prompt} is not in {store.prompts}"
    for path in store.configs.glob("*.yaml"):
        try:
            if file_digest(path)[:12] != path.stem:
                yield f"{path} was changed: its name does not match its SHA-256"
        except OSError as error:
            yield f"{path} cannot be read: {error.strerror or error}"


FORMS = Choice(["markdown", "latex", "csv", "json", "tidy-csv"])
LAYOUTS = "glue-superglue, mrqa-others, few-shot, nlg, ablation, parameters, summary, transfer."
TABLE = [
    FOLDER,
    Option(["--format", "form"], type=FORMS, help="Default: Markdown; on a terminal, coloured."),
    Option(["--standalone"], is_flag=True, help="Print a complete LaTeX document."),
    Option(["--json", "form"], flag_value="json", help="Short for --format json."),
    Option(["--layout"], help=LAYOUTS),
    Option(["--published"], is_flag=True, help="Add published numbers to the table."),
    Option(["--marks/--no-marks"], default=None, help="Mark significant differences."),
    Option(["--against"], help="Row to compare with; default: pt (ablation: dtvg)."),
]


@bench.command(params=TABLE)
def table(folder: Path, form: str | None, standalone: bool, **options: Any) -> None:
    """Print the tables of a result folder; without --layout, all tasks in one table per setting."""
    from bench.reports.frame import load_results
    from bench.reports.tables import render_tables

    if standalone and form not in (None, "latex"):
        raise ConfigError(f"--standalone is for LaTeX: leave it out, or {form}")
    results = load_results(folder)
    form = "latex-document" if standalone else form or base.terminal_form()
    text = render_tables(results, form, **options)
    warn(results.warnings + results.bootstrap.warnings)
    click.echo(text, nl=False)


PLOT = [
    FOLDER,
    Argument(["names"], metavar="[NAME]...", nargs=-1),
    Option(["--out"], type=PATH, help="Output folder; default: DIR/figures."),
    ListOption(["--format", "formats"], type=Choice(["pdf", "png"]), default=("pdf", "png")),
    Option(["--paper"], type=Choice(["5.5", "6.3"]), help="Width in inches; no title or caption."),
    JSON,
]


@bench.command(params=PLOT)
def plot(
    folder: Path, names: list[str], out: Path | None, formats: list[str], paper: str, as_json: bool
) -> None:
    """Draw all or the named figures of a result folder, and print the file names.

    NAME is differences, ranks, seeds, forest, transfer, few-shot, cost, learning-curves,
    losses, similarity or groups.
    """
    from bench.reports.figures import draw
    from bench.reports.frame import load_results

    results = load_results(folder)
    target, width = out or folder / "figures", float(paper or 0)
    paths, warnings = draw(results, names, target, formats, width)
    warn([*results.warnings, *results.bootstrap.warnings, *warnings])
    _print_paths(paths, as_json)


def _print_paths(paths: Sequence[Path], as_json: bool) -> None:
    print_json([*map(str, paths)]) if as_json else click.echo("\n".join(map(str, paths)))


REPORT = [
    FOLDER,
    Option(["--html"], type=PATH, help="Write one self-contained HTML page to this file."),
    Option(["--out"], type=PATH, help="Write all tables, figures and the page to this folder."),
    JSON,
]


@bench.command(params=REPORT)
def report(folder: Path, html: Path | None, out: Path | None, as_json: bool) -> None:
    """Write a result folder as one HTML page, or export all tables and figures."""
    if html is None and out is None:
        raise ConfigError("nothing to write: give --html FILE for one page, or --out FOLDER")

    import gc

    from rich.console import Console

    from bench.reports.frame import load_results
    from bench.reports.page import save

    results = load_results(folder)
    warn(results.warnings)
    gc.disable()  # Saves a quarter of the time; the process ends soon.
    with Console(stderr=True).status("") as progress:
        paths = save(results, html, out, progress.update)
    warn(results.bootstrap.warnings)
    _print_paths(paths, as_json)


SHOW = [
    FOLDER,
    Argument(["name"], metavar="RUN"),
    Option(["--errors"], is_flag=True, help="Also print the test examples answered wrong."),
    *(PLUGIN, JSON),
]


@bench.command(params=SHOW, epilog=base.RUN)
def show(folder: Path, name: str, errors: bool, as_json: bool) -> None:
    """Print the record of a RUN in DIR: scores, curves, diagnostics and environment."""
    if errors and as_json:
        raise ConfigError("--errors prints text: leave it out, or --json")
    store = ResultStore(folder)
    record = store.record(name)
    if as_json:
        print_json(record.model_dump(mode="json", by_alias=True))
        return
    text = show_record(record)
    if errors:
        predictions = load_predictions(store.records, record)
        try:
            inputs = _inputs(record, predictions)
        except BenchError as error:
            inputs = None
            warn([f"inputs are not shown: {error}"])
        text += f"\n{show_errors(predictions, inputs)}"
    click.echo(text, nl=False)


def _inputs(record: Record, predictions: Predictions) -> list[str]:
    """Input text of each test example, not truncated."""
    task, data = get_task(record.run.task), record.run.data
    source = open_source(data.name if data.kind == "local" else data.kind)
    if source.fingerprint(task) != data.fingerprint:
        raise DataError(f"{source.name}: the rows of {task.name} are no longer those of the record")
    texts: defaultdict[int, list[str]] = defaultdict(list)
    for row in load_splits(source, task, record.run.data_seed).test:
        texts[row[OFFICIAL_ROW]] += [pair.source for pair in task.to_text(row, training=False)]
    try:  # Examples of one row are stored in the order of its texts.
        return [texts[example.row].pop(0) for example in predictions.examples]
    except IndexError as error:
        raise DataError(f"{source.name} lacks test rows of the record") from error
