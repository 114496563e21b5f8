"""Methods, tasks and loggers from other packages (entry points) or from files (``--plugin``).

Packages use entry-point groups such as ``dtvg_bench.methods``; Python files define mappings from
name to object such as ``METHODS``; YAML files declare tasks. Installed plugins are imported when
they are used, files at once. Plugins are code and run with the rights of the user.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from bench.errors import BenchError, PluginError, one_line
from bench.files import read_yaml

Kind = Literal["method", "task", "logger"]

FILE_NAMES: Mapping[Kind, str] = {"method": "METHODS", "task": "TASKS", "logger": "LOGGERS"}

# Valid plugin names; they become parts of file names and of ``NAME:KEY=VALUE,...``.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_files: dict[Path, ModuleType] = {}


@dataclass(frozen=True)
class Plugin:
    """A method, task or logger from a package or a file."""

    kind: Kind
    name: str  # Name on the command line.
    origin: str  # Package with version, or file; for messages.
    get: Callable[[], Any] = field(compare=False, repr=False)  # Imports the object.

    def load(self) -> Any:
        """Import the object; PluginError if that fails."""
        try:
            return self.get()
        except (Exception, SystemExit) as error:
            reason = f"cannot be loaded ({one_line(error)}); fix or uninstall it"
            raise self.fault(reason) from error

    def fault(self, reason: str) -> PluginError:
        """PluginError that names the plugin."""
        return PluginError(f"{self.kind} {self.name!r} of {self.origin}: {reason}")


def use_files(paths: Iterable[Path]) -> None:
    """Import these plugin files; they replace earlier ones."""
    modules = {path.resolve(): _import_file(path) for path in paths}
    _files.clear()
    _files.update(modules)


def files_in_use() -> tuple[Path, ...]:
    """The plugin files in use, for other processes of the same grid."""
    return tuple(_files)


def discover(kind: Kind, builtin: Collection[str]) -> dict[str, Plugin]:
    """Plugins of a kind by name; installed packages are not imported."""
    plugins: dict[str, Plugin] = {}
    for plugin in (*_installed(kind), *_from_files(kind)):
        if not NAME.fullmatch(plugin.name):
            raise plugin.fault("a name has letters, digits, '.', '_' and '-' only; rename it")
        if plugin.name in builtin:
            raise plugin.fault(f"there is a built-in {kind} of that name; rename the plugin")
        if plugin.name in plugins:
            other = plugins[plugin.name].origin
            raise plugin.fault(f"{other} has one of that name too; use only one of them")
        plugins[plugin.name] = plugin
    return plugins


@cache
def _installed(kind: Kind) -> tuple[Plugin, ...]:
    plugins = []
    for entry in sorted(metadata.entry_points(group=f"dtvg_bench.{kind}s"), key=lambda e: e.name):
        origin = f"package {entry.dist.name} {entry.dist.version}" if entry.dist else "a package"
        plugins.append(Plugin(kind, entry.name, origin, entry.load))
    return tuple(plugins)


def _from_files(kind: Kind) -> Iterator[Plugin]:
    attribute = FILE_NAMES[kind]
    for path, module in _files.items():
        objects = getattr(module, attribute, {})
        origin = f"file {path.name}"
        if not isinstance(objects, Mapping) or not all(isinstance(name, str) for name in objects):
            raise PluginError(f"plugin {origin}: {attribute} is not a mapping from name to {kind}")
        for name in objects:
            yield Plugin(kind, name, origin, partial(objects.__getitem__, name))


def _import_file(path: Path) -> ModuleType:
    """Import a file as a module with a unique name, once per process."""
    resolved = path.resolve()
    if not resolved.is_file() or resolved.suffix not in (".py", ".yaml", ".yml"):
        raise PluginError(f"plugin file {path}: there is no such Python or YAML file; check it")
    name = f"dtvg_bench_plugin_{hashlib.sha256(str(resolved).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, resolved)
    module = importlib.util.module_from_spec(spec) if spec else ModuleType(name)
    sys.modules[name] = module
    try:
        if spec and spec.loader:
            spec.loader.exec_module(module)
        else:
            from bench.tasks.declared import declare

            tasks = vars(module)["TASKS"] = {}
            for key, keys in read_yaml(resolved).items():
                task = declare(key, keys, resolved.parent)
                # Any change of an entry gives runs new ids.
                digest = hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()
                tasks[key] = replace(task, version=int(digest[:12], 16))
        if not any(hasattr(module, attribute) for attribute in FILE_NAMES.values()):
            raise PluginError(f"give it {' or '.join(FILE_NAMES.values())} = {{name: object}}")
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        reason = str(error) if isinstance(error, BenchError) else one_line(error)
        raise PluginError(f"plugin file {path}: cannot be used ({reason}); fix it") from error
    return module
