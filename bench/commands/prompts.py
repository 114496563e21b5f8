"""``bench prompts``: what is in a prompt store, and prompts from elsewhere for it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands.folders import folder_options
from bench.commands.names import complete_tasks, plugin_option
from bench.commands.output import warn

if TYPE_CHECKING:
    from bench.runs.prompts import PromptCard


@click.group()
def prompts() -> None:
    """List stored prompts, or import prompts that were trained elsewhere."""


@prompts.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--task", required=True, shell_complete=complete_tasks, help="Task the prompt was trained on."
)
@click.option("--model", required=True, help="Model it belongs to, as for bench run.")
@click.option("--tokenizer", help="Tokenizer, as for bench run.")
@click.option(
    "--tensor",
    help="Name of the prompt in the file. Default: prompt_embeddings, or the only matrix of the "
    "model's width.",
)
@click.option(
    "--initial",
    type=click.Path(path_type=Path),
    help="File of the initial prompt it was trained from; DTVG needs to know it.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Instead of --initial: it was trained from bench's own initial prompt of this seed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
@plugin_option
@folder_options
def import_(
    path: Path,
    task: str,
    model: str,
    tokenizer: str | None,
    tensor: str | None,
    initial: Path | None,
    seed: int | None,
    as_json: bool,
    out: Path,
    store: Path | None,
) -> None:
    """Put the prompt in PATH into the prompt store.

    PATH is a folder with a PEFT prompt tuning adapter, a .safetensors file, or a PyTorch file (.pt,
    .pth, .bin) with nothing but tensors.
    """
    from bench.interchange.importing import import_prompt, read_prompt
    from bench.models.loading import describe, load
    from bench.runs.results import ResultFolder
    from bench.tasks import get_task

    if initial is not None and seed is not None:
        raise click.UsageError("--initial and --seed both name the initial prompt: give one")
    get_task(task)
    frozen = load(model, tokenizer=tokenizer)
    prompt = read_prompt(path, frozen, tensor)
    start = None
    if initial is not None:
        start = read_prompt(initial, frozen).matrix
    elif seed is not None:
        start = frozen.initial_prompt(prompt.matrix.shape[0], seed)
    folder = ResultFolder(out, store).prompts
    card = import_prompt(folder, prompt, task, describe(model, tokenizer), start).card
    if as_json:
        click.echo(json.dumps(asdict(card), indent=1))
        return
    for note in card.training["notes"]:
        click.echo(f"note: {note}", err=True)
    if card.initial_digest is None:
        click.echo("note: its initial prompt is unknown, so DTVG cannot use it", err=True)
    click.echo(f"imported {card.digest} ({task}, {prompt.matrix.shape[0]} tokens)")
    click.echo(f"use it: bench run --source-prompt {task}={card.digest[:12]}")


@prompts.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@folder_options
def list_(as_json: bool, out: Path, store: Path | None) -> None:
    """List the prompts of a store."""
    from bench.runs.results import ResultFolder

    cards, warnings = ResultFolder(out, store).prompts.cards()
    warn(warnings)
    rows = [_row(card) for card in cards]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from tabulate import tabulate

    shown = [{**row, "digest": row["digest"][:12]} for row in rows]
    click.echo(tabulate(shown, headers="keys", tablefmt="simple", missingval="-"))


@prompts.command()
@click.argument("digest")
@folder_options
def show(digest: str, out: Path, store: Path | None) -> None:
    """Print the card of a prompt and the shapes of its tensors as JSON."""
    from bench.runs.results import ResultFolder

    folder = ResultFolder(out, store).prompts
    stored = folder.load(folder.find(digest))
    tensors = {name: list(tensor.shape) for name, tensor in stored.tensors.items()}
    click.echo(json.dumps({**asdict(stored.card), "tensors": tensors}, indent=1))


def _row(card: PromptCard) -> dict[str, Any]:
    made = card.training
    return {
        "digest": card.digest,
        "task": made.get("task"),
        "method": "imported" if card.imported else made.get("method"),
        "model": made.get("model_name", made.get("model", "")[:12]),
        "form": card.form,
        "tokens": made.get("prompt_length"),
        "shots": made.get("shots"),
        "seed": made.get("seed"),
        "initial": card.initial_digest and card.initial_digest[:12],
    }
