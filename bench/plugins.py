"""Methods, tasks and loggers that other packages or single files bring along.

A package names them in the entry-point groups of :data:`GROUPS`; a file given by ``--plugin`` has
a mapping from name to object under the names of :data:`FILE_NAMES`. What is installed is known by
name at once and imported only when it is used; files are imported when they are given, as only
that tells what they hold. Plugins are code and run with the rights of the user.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NoReturn

from bench.errors import PluginError, one_line

Kind = Literal["method", "task", "logger"]

GROUPS: Mapping[Kind, str] = {
    "method": "dtvg_bench.methods",
    "task": "dtvg_bench.tasks",
    "logger": "dtvg_bench.loggers",
}
"""Entry-point group by kind."""

FILE_NAMES: Mapping[Kind, str] = {"method": "METHODS", "task": "TASKS", "logger": "LOGGERS"}
"""Module attribute of a plugin file by kind."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Names become parts of file names and of ``NAME:KEY=VALUE,...``."""


@dataclass(frozen=True)
class Plugin:
    """One method, task or logger from outside.

    Attributes:
        kind: what it is.
        name: on the command line.
        origin: package with version, or file, for people.
        module: that holds it.
        attribute: its place in the module; of a file's object, the mapping that holds it.
        loaded: holds the object, if it came from a file.
    """

    kind: Kind
    name: str
    origin: str
    module: str
    attribute: str
    loaded: tuple[Any, ...] = field(default=(), compare=False, repr=False)

    def load(self) -> Any:
        """Import the object.

        Raises:
            PluginError: its module cannot be imported, or lacks it.
        """
        if self.loaded:
            return self.loaded[0]
        try:
            found = importlib.import_module(self.module)
            for part in self.attribute.split("."):
                found = getattr(found, part)
        except (Exception, SystemExit) as error:
            raise self.fault(
                f"cannot be loaded ({one_line(error)}); mend or uninstall it"
            ) from error
        return found

    def fault(self, reason: str) -> PluginError:
        """An error that names the plugin."""
        return PluginError(f"{self.kind} {self.name!r} of {self.origin}: {reason}")


_files: dict[Path, ModuleType] = {}


def use_files(paths: Iterable[Path]) -> None:
    """Take these plugin files into use, in place of those given before.

    Raises:
        PluginError: one cannot be imported, or holds nothing.
    """
    chosen = {path.resolve(): path for path in paths}
    modules = {resolved: _import_file(path, resolved) for resolved, path in chosen.items()}
    _files.clear()
    _files.update(modules)


def files_in_use() -> tuple[Path, ...]:
    """The plugin files in use, for other processes of the same run."""
    return tuple(_files)


def discover(kind: Kind, builtin: Collection[str]) -> dict[str, Plugin]:
    """What plugins there are of a kind, by name; imports nothing but the files given.

    Args:
        kind: methods, tasks or loggers.
        builtin: names that are taken.

    Raises:
        PluginError: two things have one name, or a name cannot be used.
    """
    found: dict[str, Plugin] = {}
    for plugin in (*_installed(kind), *_from_files(kind)):
        if not NAME.fullmatch(plugin.name):
            raise plugin.fault(
                "its name may have letters, digits, '.', '_' and '-' only; rename it"
            )
        if plugin.name in builtin:
            raise plugin.fault(f"there is a built-in {kind} of that name; rename the plugin")
        other = found.setdefault(plugin.name, plugin)
        if other is not plugin:
            raise plugin.fault(f"{other.origin} has one of that name too; leave one of them out")
    return found


@cache
def _installed(kind: Kind) -> tuple[Plugin, ...]:
    found = []
    for entry in sorted(metadata.entry_points(group=GROUPS[kind]), key=lambda entry: entry.name):
        package = "an unknown package"
        if entry.dist is not None:
            package = f"package {entry.dist.name} {entry.dist.version}"
        found.append(Plugin(kind, entry.name, package, entry.module, entry.attr))
    return tuple(found)


def _from_files(kind: Kind) -> Iterator[Plugin]:
    attribute = FILE_NAMES[kind]
    for path, module in _files.items():
        objects = getattr(module, attribute, {})
        origin = f"file {path.name}"
        if not isinstance(objects, Mapping) or not all(isinstance(name, str) for name in objects):
            raise PluginError(f"plugin {origin}: {attribute} is no mapping from name to {kind}")
        for name, value in objects.items():
            yield Plugin(kind, name, origin, module.__name__, attribute, (value,))


def _import_file(path: Path, resolved: Path) -> ModuleType:
    """Import a file under a name of its own, once a process."""

    def refuse(reason: str, error: BaseException | None = None) -> NoReturn:
        raise PluginError(f"plugin file {path}: {reason}") from error

    if not resolved.is_file() or resolved.suffix != ".py":
        refuse("there is no such Python file; check the path")
    digest = hashlib.sha256(str(resolved).encode()).hexdigest()[:12]
    name = f"dtvg_bench_plugin_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, resolved)
    # A .py file always has both.
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        refuse(f"cannot be loaded ({one_line(error)}); mend it", error)
    if not any(hasattr(module, attribute) for attribute in FILE_NAMES.values()):
        del sys.modules[name]
        refuse(f"holds no plugin; give it {' or '.join(FILE_NAMES.values())} = {{name: object}}")
    return module


__all__ = ["FILE_NAMES", "GROUPS", "Kind", "Plugin", "discover", "use_files"]
