"""What is common to commands that print: the format, and what stands besides the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click


def warn(warnings: Iterable[str]) -> None:
    """Print warnings to standard error, one line each."""
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--format``, passed as ``form``."""
    return click.option(
        "--format",
        "form",
        default="markdown",
        show_default=True,
        type=click.Choice(["markdown", "latex", "csv", "json"]),
        help="Of what is printed.",
    )(command)
