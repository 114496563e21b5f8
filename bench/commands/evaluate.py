"""``bench evaluate``: score a stored prompt."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bench.commands.folders import folder_options
from bench.commands.names import PRECISION, complete_tasks, plugin_option
from bench.models.info import Precision


@click.command()
@click.argument("digest")
@click.option("--task", required=True, shell_complete=complete_tasks, help="Task to answer.")
@click.option("--model", default="tiny", show_default=True, help="Model the prompt belongs to.")
@click.option("--tokenizer", help="Tokenizer, as for bench run.")
@click.option(
    "--precision",
    type=PRECISION,
    help="Of the frozen weights; as the prompt was trained if not given.",
)
@click.option("--data", default="bundled", show_default=True, help="As for bench run.")
@click.option("--data-seed", default=42, show_default=True, help="Of the split of the rows.")
@click.option("--input-length", type=click.IntRange(min=8), help="Cap on input tokens.")
@click.option(
    "--split", default="test", show_default=True, type=click.Choice(["test", "validation"])
)
@click.option("--batch-size", default=100, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--beams",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Beams of the search for answers; 1: greedy.",
)
@click.option("--device", default="auto", show_default=True, help="As torch names it, or auto.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every answer.")
@plugin_option
@folder_options
def evaluate(
    digest: str,
    task: str,
    model: str,
    tokenizer: str | None,
    precision: Precision | None,
    data: str,
    data_seed: int,
    input_length: int | None,
    split: str,
    batch_size: int,
    beams: int,
    device: str,
    as_json: bool,
    out: Path,
    store: Path | None,
) -> None:
    """Score the stored prompt DIGEST, trained here or imported, on the rows of a task.

    Nothing is trained or recorded; `bench prompts list` shows the digests.
    """
    from bench.data import open_source
    from bench.devices import usable_device
    from bench.interchange.evaluation import evaluate_prompt, require_model
    from bench.models.loading import describe, load
    from bench.runs.examples import Examples
    from bench.runs.results import ResultFolder

    folder = ResultFolder(out, store).prompts
    stored = folder.load(folder.find(digest))
    info = describe(model, tokenizer)
    require_model(stored, info)
    precision = precision or stored.card.training.get("precision", "float32")
    frozen = load(model, usable_device(device), tokenizer, precision)
    examples = Examples(open_source(data), frozen.encoder, data_seed, input_length)
    done = evaluate_prompt(stored, frozen, examples, task, split, batch_size, beams)
    toys = [place for place, toy in (("model", info.bundled), ("data", data == "bundled")) if toy]
    values = {
        "prompt": stored.card.digest,
        "task": task,
        "split": split,
        "precision": precision,
        "rows": len(done.predictions),
        "bundled": toys,
        "metrics": dict(done.scores.metrics),
        "left_out": dict(done.scores.left_out),
        "valid_label_share": done.scores.valid_label_share,
    }
    if as_json:
        click.echo(json.dumps({**values, "predictions": done.predictions}, indent=1))
        return
    for name, value in done.scores.metrics.items():
        click.echo(f"{task} {split} {name} {value:.2f} ({len(done.predictions)} rows)")
    for name, reason in done.scores.left_out.items():
        click.echo(f"{task} {split} {name} left out: {reason}")
    if toys:
        click.echo(f"(bundled {' and '.join(toys)}: no result about the prompt)")
