"""What commands print besides their results."""

from __future__ import annotations

from collections.abc import Iterable

import click


def warn(warnings: Iterable[str]) -> None:
    """Print warnings to standard error, one line each."""
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
