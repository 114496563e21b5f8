"""``python -m tools.pretrain_tiny --out FOLDER``: run the pretraining."""

from __future__ import annotations

import time
from pathlib import Path

import click

from tools.pretrain_tiny.recipe import RECIPES


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option(
    "--model", "name", type=click.Choice(list(RECIPES)), default="tiny", show_default=True
)
@click.option("--steps", type=int, help="Optimiser steps, instead of those of the recipe.")
@click.option("--every", default=1000, show_default=True, help="Steps between reports.")
@click.option("--rows", default=64, show_default=True, help="Rows per task in a report; 0: none.")
def main(out: Path, name: str, steps: int | None, every: int, rows: int) -> None:
    """Pretrain a model of the sample world; write configuration, weights and tokenizer to OUT.

    Stages that an interrupted call has ended are kept in OUT/stages, and not trained again.
    """
    import torch
    from torch import nn
    from transformers import AutoTokenizer

    from tools.pretrain_tiny import tiny_tokenizer
    from tools.pretrain_tiny.finished import FinishedStages
    from tools.pretrain_tiny.probing import probe
    from tools.pretrain_tiny.students import student_of
    from tools.pretrain_tiny.training import pretrain, save

    # A second thread gains a quarter at this size, and one alone adds in the same order everywhere.
    torch.set_num_threads(1)
    tiny_tokenizer.save(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    stages = [student_of(recipe, tokenizer) for recipe in RECIPES[name]]
    began = time.perf_counter()

    def report(step: int, loss: float, model: nn.Module) -> None:
        save(model, stages[0].recipe, out)
        click.echo(f"step {step}, {time.perf_counter() - began:.0f} s, loss {loss:.3f}")
        scores = probe(model, stages[0], rows) if rows else {}
        for task, score in scores.items():
            click.echo(f"  {task}: {score.steered:.0f} % instructed, {score.bare:.0f} % bare")

    finished = FinishedStages(out / "stages")
    average = pretrain(stages, report, every, steps, finished)
    save(average, stages[0].recipe, out)
    finished.remove()


if __name__ == "__main__":
    main()
