"""Citation, changelog and hooks agree with the package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    return content


def project_value(key: str) -> str:
    """A string of the table ``project`` (tomllib is not in Python 3.10)."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = text.split("[project]\n")[1].split("\n[")[0]
    found = re.search(rf'^{key} = "(.*)"$', table, re.MULTILINE)
    assert found is not None
    return found[1]


def test_citation_has_what_the_format_requires(citation: dict[str, Any]) -> None:
    """Citation File Format 1.2.0."""
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert {"message", "title", "authors"} <= citation.keys()
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= reference.keys()
        for author in reference["authors"]:
            assert author.keys() == {"family-names", "given-names"}


def test_citation_agrees_with_the_package(citation: dict[str, Any]) -> None:
    assert str(citation["version"]) == project_value("version")
    assert citation["license"] == project_value("license")


def test_citation_names_the_paper(citation: dict[str, Any]) -> None:
    (paper,) = citation["references"]
    assert paper["title"].startswith("Dynamic Task Vector Grouping")
    assert paper["doi"] == "10.18653/v1/2025.findings-acl.1374"


def test_the_tests_have_what_builds_the_documentation() -> None:
    """Without it, the test that builds the documentation would be skipped wherever tests run."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = dict(re.findall(r"^(docs|test) = \[(.*?)\]$", text, re.MULTILINE | re.DOTALL))
    needed = re.findall(r'"([^"]+)"', extras["docs"])
    assert needed
    assert set(needed) <= set(re.findall(r'"([^"]+)"', extras["test"]))


def changelog() -> dict[str, str]:
    """What stands under each version, by the line that names it."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_changelog_keeps_its_format() -> None:
    versions = changelog()
    first, *released = versions
    assert first == "[Unreleased]"
    undated = [v for v in released if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", v)]
    assert undated == []
    kinds = re.findall(r"^### (.+)$", "".join(versions.values()), re.MULTILINE)
    assert {*kinds} <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_changelog_names_the_version() -> None:
    assert project_value("version") in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", changelog())
def test_changelog_tells_nothing_twice(version: str) -> None:
    """What an entry is about stands in backticks; no other entry of the version is about it."""
    for kind in re.split(r"^### ", changelog()[version], flags=re.MULTILINE):
        entries = [
            set(re.findall(r"`([^`]+)`", entry)) for entry in re.split(r"^- ", kind, flags=re.M)
        ]
        names = [name for entry in entries for name in entry]
        assert sorted(names) == sorted(set(names))


def test_hooks_need_no_network_and_run_what_tox_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    for hook in hooks:
        assert hook["entry"].split(" --fix")[0] in tox
