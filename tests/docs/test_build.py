"""The documentation builds without a warning, and its page on records says what the schema says."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.records import SCHEMA_FILE

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(
    importlib.util.find_spec("material") is None, reason="needs the extra docs (mkdocs-material)"
)
def test_builds_without_warning(tmp_path: Path) -> None:
    """Strict: a broken link or anchor, or a page that the navigation names in vain, is an error."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "records" / "index.html").is_file()


def schema_keys(schema: dict[str, Any]) -> Iterator[str]:
    """Dotted names of all keys of a record; metrics, whose names are open, stay whole."""
    metrics = schema["$defs"]["metrics"]

    def resolve(node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        return node

    def walk(node: dict[str, Any], prefix: str) -> Iterator[str]:
        node = resolve(node)
        if node is metrics:
            return
        if "items" in node:
            yield from walk(node["items"], f"{prefix}[]")
        for key, value in node.get("properties", {}).items():
            name = f"{prefix}.{key}" if prefix else key
            yield name
            yield from walk(value, name)

    return walk(schema, "")


def test_every_key_of_a_record_is_explained() -> None:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `([^`]+)` \| \S.* \|$", page, re.MULTILINE)
    assert sorted(explained) == sorted(schema_keys(schema))


def test_every_link_to_a_file_of_the_readme_exists() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        assert [target for target in targets if not (ROOT / target).exists()] == []
