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


def test_changelog_has_the_version(citation: dict[str, Any]) -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert project_value("version") in versions
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_hooks_need_no_network_and_run_what_tox_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    for hook in hooks:
        assert hook["entry"].split(" --fix")[0] in tox
