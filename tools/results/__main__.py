"""Write the output of each ``bench table`` command in a page below the command.

Lines between a command and the next heading are replaced. Commands run in the current folder.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from click.testing import CliRunner

from bench.commands.base import bench

COMMAND = re.compile(r"(?ms)^```bash\nbench (table [^\n]+)\n```\n.*?(?=^#|\Z)")


def fill(page: str) -> str:
    """The page with today's output behind each command."""

    def answer(found: re.Match[str]) -> str:
        options = {"catch_exceptions": False, "standalone_mode": False}
        text = CliRunner().invoke(bench, shlex.split(found[1]), **options).stdout
        return f"```bash\nbench {found[1]}\n```\n\n{text}\n"

    return COMMAND.sub(answer, page).rstrip("\n") + "\n"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(fill(path.read_text(encoding="utf-8")), encoding="utf-8")
