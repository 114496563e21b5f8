"""Digests of the code that decides a result, so that records of two code versions never mix."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path

import bench

PACKAGE = Path(bench.__file__).parent

HARNESS = (
    "protocol.py",
    "seeding.py",
    "data",
    "models",
    "tasks",
    "training",
    "runs/examples.py",
    "runs/jobs.py",
    "runs/recording.py",
    "runs/workshop.py",
)
"""What below ``bench`` decides results. Who is asked whether to stop decides none."""

METHOD_PACKAGES = ("baselines", "dtvg")
"""The built-in methods, which those of plugins may build on."""

NOT_HARNESS = {PACKAGE / "training" / "stopping.py"}


@cache
def harness_digest() -> str:
    """Digest of what leads from rows to a prompt and its scores, as it stands on disk."""
    files = []
    for name in HARNESS:
        path = PACKAGE / name
        files += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return _digest(path for path in files if NOT_HARNESS.isdisjoint([path, *path.parents]))


@cache
def method_digest(module: str) -> str:
    """Digest of a module and of what it imports of its own package and of the built-in methods.

    The module is a method's, or that of a task from a plugin.
    """
    return _digest(sorted(_with_imports(module, {module.partition(".")[0], *METHOD_PACKAGES})))


def _with_imports(module: str, packages: Collection[str]) -> set[Path]:
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        spec = _find(waiting.pop())
        if spec is None or spec.origin is None or not spec.has_location:
            continue
        path = Path(spec.origin)
        if path in found or path.suffix != ".py":
            continue
        found.add(path)
        names = _imports(ast.parse(path.read_text(encoding="utf-8")), spec.parent or "")
        waiting += [name for name in names if name.partition(".")[0] in packages]
    return found


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Names that may be modules; relative ones start from ``package``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join(
                [*(above if node.level else []), *([node.module] if node.module else [])]
            )
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def _find(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ModuleNotFoundError, ValueError):
        return None


def _digest(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in files:
        text = path.read_bytes().replace(b"\r\n", b"\n")
        name = f"{path.parent.name}/{path.name}"
        total.update(name.encode() + b"\0" + hashlib.sha256(text).digest())
    return total.hexdigest()
