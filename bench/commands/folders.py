"""The options of commands that look into a result folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

store_option = click.option(
    "--prompts",
    "store",
    type=click.Path(path_type=Path),
    help="Prompt store (default: prompts/ in the result folder).",
)


def folder_options(command: Callable[..., None]) -> Callable[..., None]:
    """``--out`` and ``--prompts``, as ``bench run`` has them; passed as ``out``, ``store``."""
    for option in (
        store_option,
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            default=Path("out"),
            show_default=True,
            help="Result folder.",
        ),
    ):
        command = option(command)
    return command
