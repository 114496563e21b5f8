"""Hooks of mkdocs: `<!-- settings: NAME -->` becomes a table of a method's settings."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from typing import Any

MARK = re.compile(r"^<!-- settings: (\w+) -->$", re.MULTILINE)


@functools.cache
def _settings() -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "bench.cli", "list", "methods", "--settings", "--json"]
    rows: list[dict[str, Any]] = json.loads(subprocess.check_output(command, text=True))
    return rows


def _table(found: re.Match[str]) -> str:
    lines = ["| setting | default | presets | meaning |", "|---|---|---|---|"]
    for row in _settings():
        if row["method"] == found[1]:
            given = row["presets"].items()
            presets = "; ".join(f"{name}: `{json.dumps(value)}`" for name, value in given)
            default = json.dumps(row["default"])
            lines.append(f"| `{row['setting']}` | `{default}` | {presets} | {row['what']} |")
    return "\n".join(lines)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Insert the tables."""
    return MARK.sub(_table, markdown)
