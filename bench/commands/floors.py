"""``bench floors``: what tasks score without any training."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from bench.commands.names import PRECISION, complete_suites, complete_tasks, plugin_option
from bench.models.info import Precision


@click.command()
@click.option("--suite", multiple=True, shell_complete=complete_suites, help="May be repeated.")
@click.option("--task", multiple=True, shell_complete=complete_tasks, help="May be repeated.")
@click.option("--model", default="tiny", show_default=True, help="As for bench run.")
@click.option("--tokenizer", help="As for bench run.")
@click.option(
    "--precision",
    default="float32",
    show_default=True,
    type=PRECISION,
    help="Of the frozen weights.",
)
@click.option("--data", default="bundled", show_default=True, help="As for bench run.")
@click.option("--data-seed", default=42, show_default=True, help="Of the split of the rows.")
@click.option("--input-length", type=click.IntRange(min=8), help="Cap on input tokens.")
@click.option("--batch-size", default=100, show_default=True, type=click.IntRange(min=1))
@click.option("--device", default="auto", show_default=True, help="As torch names it, or auto.")
@click.option(
    "--format",
    "form",
    default="markdown",
    type=click.Choice(["markdown", "json"]),
    show_default=True,
)
@plugin_option
def floors(
    suite: tuple[str, ...],
    task: tuple[str, ...],
    model: str,
    tokenizer: str | None,
    precision: Precision,
    data: str,
    data_seed: int,
    input_length: int | None,
    batch_size: int,
    device: str,
    form: str,
) -> None:
    """Score tasks without a tuned prompt: a constant answer, and the model alone.

    The constant is the most frequent answer of the training rows: the majority class, where there
    are classes. The model alone reads the published text with nothing in front.
    """
    from tabulate import tabulate

    from bench.data import open_source
    from bench.devices import usable_device
    from bench.errors import ConfigError
    from bench.models.loading import describe, load
    from bench.runs.examples import Examples
    from bench.runs.floors import floor
    from bench.tasks import get_suite, get_task

    names = list(dict.fromkeys([*(n for name in suite for n in get_suite(name)), *task]))
    if not names:
        raise ConfigError("no task is named: give --suite or --task")
    for name in names:
        get_task(name)  # A wrong name is told before the model is loaded.
    info = describe(model, tokenizer)
    toys = [place for place, toy in (("model", info.bundled), ("data", data == "bundled")) if toy]
    frozen = load(model, usable_device(device), tokenizer, precision)
    examples = Examples(open_source(data), frozen.encoder, data_seed, input_length)
    found = [floor(frozen, examples, name, batch_size) for name in names]
    if form == "json":
        values = {
            "model": info.name,
            "precision": precision,
            "data": data,
            "data_seed": data_seed,
            "bundled": toys,
        }
        click.echo(json.dumps({**values, "floors": [asdict(item) for item in found]}, indent=1))
        return
    click.echo(
        tabulate(
            [
                (f.task, f.metric, f.rows, f.answer, f"{f.constant:.1f}", f"{f.no_prompt:.1f}")
                for f in found
            ],
            ("task", "metric", "test rows", "constant answer", "its score", "model alone"),
            tablefmt="github",
            disable_numparse=True,
        )
    )
    click.echo(f"\nModel: {info.name} in {precision}. Data: {data}, split seed {data_seed}.")
    if toys:
        click.echo(f"(bundled {' and '.join(toys)}: no result about the tasks)")
