"""``python -m bench.models.pretraining --out FOLDER``: run the pretraining."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click

from bench.models.pretraining.recipe import Recipe

DEFAULT = Recipe()


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--steps", default=DEFAULT.steps, show_default=True, help="Optimiser steps.")
@click.option("--seed", default=DEFAULT.seed, show_default=True, help="Of weights and texts.")
@click.option("--every", default=1000, show_default=True, help="Steps between reports.")
@click.option("--rows", default=64, show_default=True, help="Rows per task in a report; 0: none.")
def main(out: Path, steps: int, seed: int, every: int, rows: int) -> None:
    """Pretrain a model of the sample world; write configuration, weights and tokenizer to OUT."""
    from torch import nn
    from transformers import AutoTokenizer

    from bench.models import tiny_tokenizer
    from bench.models.pretraining.probing import probe
    from bench.models.pretraining.training import pretrain, save

    recipe = replace(DEFAULT, steps=steps, seed=seed)
    tiny_tokenizer.save(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    began = time.perf_counter()

    def report(step: int, loss: float, model: nn.Module) -> None:
        save(model, recipe, out)
        click.echo(f"step {step}, {time.perf_counter() - began:.0f} s, loss {loss:.3f}")
        scores = probe(model, tokenizer, rows) if rows else {}
        for task, score in scores.items():
            click.echo(f"  {task}: {score.steered:.0f} % instructed, {score.bare:.0f} % bare")

    pretrain(recipe, tokenizer, report, every)


if __name__ == "__main__":
    main()
