"""Digests of code: what changes them, and what does not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.registry import METHODS
from bench.runs import code

harness_digest = code.harness_digest.__wrapped__
method_digest = code.method_digest.__wrapped__


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small harness in place of the real one."""
    for name in ("data", "models", "tasks", "training", "runs"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "one.py").write_text(f"name = {name!r}\n")
    for name in ("protocol.py", "seeding.py", "cli.py", "data/rows.py", "models/base.py"):
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    hidden = {tmp_path / folder.relative_to(Path(code.__file__).parents[1])
              for folder in code.NOT_HARNESS}  # fmt: skip
    monkeypatch.setattr(code, "NOT_HARNESS", hidden)
    files = [name for name in code.HARNESS if name.startswith("runs/")] + ["training/stopping.py"]
    for name in files:
        (tmp_path / name).write_text("x = 1\n")
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["protocol.py", "seeding.py", "data/rows.py", "models/base.py", "tasks/one.py", "runs/jobs.py"],
)
def test_code_that_decides_results_counts(name: str, package: Path) -> None:
    before = harness_digest()
    (package / name).write_text("x = 2\n")
    assert harness_digest() != before


@pytest.mark.parametrize("name", ["cli.py", "training/stopping.py"])
def test_other_code_does_not_count(name: str, package: Path) -> None:
    before = harness_digest()
    (package / name).write_text("x = 2\n")
    assert harness_digest() == before


def test_line_ends_of_another_system_do_not_count(package: Path) -> None:
    before = harness_digest()
    (package / "data" / "rows.py").write_bytes(b"x = 1\r\n")
    assert harness_digest() == before


def test_new_and_renamed_files_count(package: Path) -> None:
    before = harness_digest()
    (package / "tasks" / "two.py").write_text("")
    more = harness_digest()
    (package / "tasks" / "two.py").rename(package / "tasks" / "three.py")
    assert len({before, more, harness_digest()}) == 3


def test_the_files_of_the_real_harness_are_there() -> None:
    assert all((code.PACKAGE / name).exists() for name in code.HARNESS)
    assert all(path.exists() for path in code.NOT_HARNESS)
    assert harness_digest() == code.harness_digest()


@pytest.fixture
def methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of methods: ``first`` imports ``second``, which imports ``third``."""
    folder = tmp_path / "toymethods"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "first.py").write_text("import json\nfrom toymethods import second\n")
    (folder / "second.py").write_text("import toymethods.third as third\nimport missing_thing\n")
    (folder / "third.py").write_text("x = 1\n")
    (folder / "other.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.startswith("toymethods")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["first", "second", "third"])
def test_a_method_counts_with_what_it_imports_of_its_package(name: str, methods: Path) -> None:
    before = method_digest("toymethods.first")
    path = methods / f"{name}.py"
    path.write_text(path.read_text() + "y = 2\n")
    assert method_digest("toymethods.first") != before


def test_a_method_counts_without_its_neighbours(methods: Path) -> None:
    before = method_digest("toymethods.first")
    (methods / "other.py").write_text("x = 2\n")
    assert method_digest("toymethods.first") == before


def test_methods_have_digests_of_their_own() -> None:
    assert len({method_digest(entry.module) for entry in METHODS.values()}) == len(METHODS)
