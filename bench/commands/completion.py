"""``bench completion``: what a shell needs to complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_BENCH_COMPLETE"
"""Through this variable the shell asks ``bench`` for completions."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    bash: add `eval "$(bench completion bash)"` to ~/.bashrc. zsh: add
    `eval "$(bench completion zsh)"` to ~/.zshrc. fish: write the output of
    `bench completion fish` to ~/.config/fish/completions/bench.fish.
    """
    script = get_completion_class(shell)
    assert script is not None  # click knows all of SHELLS.
    click.echo(script(context.find_root().command, {}, "bench", VARIABLE).source())
