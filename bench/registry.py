"""The methods by name; adding one is one file and one line here, or a plugin."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError, UnknownNameError, one_line
from bench.plugins import Plugin, discover

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from bench.protocol import PromptMethod


@dataclass(frozen=True)
class MethodEntry:
    """Where a method lives and what it is; its module is imported only when it runs.

    Attributes:
        module: that holds it.
        attribute: its class in the module.
        title: for listings.
        plugin: that brings it; None if it is built in.
    """

    module: str
    attribute: str
    title: str
    plugin: Plugin | None = None

    def load(self) -> type[PromptMethod[Any]]:
        """Import the method's class.

        Raises:
            PluginError: the plugin that brings it cannot be loaded, or is no complete method.
        """
        if self.plugin is not None:
            return _checked_method(self.plugin)
        method: type[PromptMethod[Any]] = getattr(
            importlib.import_module(self.module), self.attribute
        )
        return method


METHODS: Mapping[str, MethodEntry] = {
    "pt": MethodEntry("baselines.pt", "PromptTuning", "prompt tuning, Lester et al. 2021"),
    "spot": MethodEntry("baselines.spot", "SPoT", "soft prompt transfer, Vu et al. 2022"),
    "attempt": MethodEntry(
        "baselines.attempt", "AttemptPrompt", "attentional mixture of prompts, Asai et al. 2022"
    ),
    "mpt": MethodEntry("baselines.mpt", "MPT", "multitask prompt tuning, Wang et al. 2023"),
    "dtvg": MethodEntry(
        "dtvg.prompt", "DTVGPrompt", "dynamic task vector grouping, Zhang et al. 2025"
    ),
}


def methods() -> dict[str, MethodEntry]:
    """The built-in methods, then those of plugins; imports none.

    Raises:
        PluginError: the name of a plugin is taken.
    """
    found = dict(METHODS)
    for name, plugin in discover("method", METHODS).items():
        title = f"plugin of {plugin.origin}"
        found[name] = MethodEntry(plugin.module, plugin.attribute, title, plugin)
    return found


@dataclass(frozen=True)
class MethodSpec:
    """A method with all its settings.

    Attributes:
        name: in :func:`methods`.
        settings: an instance of the method's ``Settings``.
        label: name and the settings that the user wrote behind the colon, for tables.
    """

    name: str
    settings: Any
    label: str

    def load(self) -> type[PromptMethod[Any]]:
        """The method's class."""
        return method_entry(self.name).load()

    def values(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self.settings)


def method_entry(text: str) -> MethodEntry:
    """The entry of a method given as ``name`` or ``name:key=value,...``.

    Raises:
        UnknownNameError: there is no such method.
    """
    name = text.partition(":")[0]
    known = methods()
    if name not in known:
        raise UnknownNameError("method", name, known)
    return known[name]


def parse_method(text: str, options: Mapping[str, Any]) -> MethodSpec:
    """Read ``name`` or ``name:key=value,...``; what stands in it wins over ``options``.

    Raises:
        ConfigError: unknown method or setting, or a value of the wrong type; all are named.
    """
    import yaml
    from pydantic import TypeAdapter, ValidationError

    settings_type = method_entry(text).load().Settings
    name, colon, variant = text.partition(":")
    known = {field.name for field in fields(settings_type)}
    chosen: dict[str, Any] = {}
    faults = []
    for item in variant.split(",") if colon else ():
        key, equals, value = item.partition("=")
        if not equals or not key:
            faults.append(f"method {text!r}: expected {name}:key=value, got {item!r}")
            continue
        try:
            chosen[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            faults.append(f"method {text!r}: {key}: no valid YAML (given: {value!r})")
    merged = {**options, **chosen}
    faults += [
        str(UnknownNameError(f"setting of {name}", key, known)) for key in merged.keys() - known
    ]
    if faults:
        raise ConfigError(sorted(faults))
    default = settings_type()
    for key, value in merged.items():
        if isinstance(value, bool) and isinstance(getattr(default, key), str):
            merged[key] = "on" if value else "off"  # YAML reads a bare on or off as a truth value.
    try:
        settings = TypeAdapter(settings_type).validate_python(merged)
    except ValidationError as error:
        raise ConfigError(_describe(text, fault) for fault in error.errors()) from error
    for key, value in asdict(settings).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"method {text!r}: {key}: expected a finite number (given: {value})")
    # A label tells a variant from the plain method of the same run.
    usual = asdict(default) | {key: value for key, value in merged.items() if key not in chosen}
    usual |= {key: options[key] for key in chosen.keys() & options.keys()}
    shown = sorted(key for key in chosen if getattr(settings, key) != usual[key])
    values = ",".join(f"{key}={_written(getattr(settings, key))}" for key in shown)
    return MethodSpec(name, settings, f"{name}:{values}" if shown else name)


def _checked_method(plugin: Plugin) -> type[PromptMethod[Any]]:
    """The class of a plugin, if it keeps the protocol as far as can be seen from outside."""
    from bench.protocol import PromptMethod

    method = plugin.load()
    if not (inspect.isclass(method) and issubclass(method, PromptMethod)):
        raise plugin.fault("is no subclass of bench.protocol.PromptMethod; derive it from that")
    if inspect.isabstract(method):
        missing = ", ".join(sorted(method.__abstractmethods__))
        raise plugin.fault(f"lacks {missing}; write what bench.protocol asks for")
    settings = getattr(method, "Settings", None)
    if not (inspect.isclass(settings) and is_dataclass(settings)):
        raise plugin.fault("has no dataclass Settings; give it one")
    try:
        settings()
    except Exception as error:
        raise plugin.fault(f"Settings() fails ({one_line(error)}); give defaults") from error
    return method


def _written(value: Any) -> str:
    """A setting as it is written behind the colon."""
    return "null" if value is None else str(value)


def _describe(method: str, fault: ErrorDetails) -> str:
    """One line: which setting, what is wrong, what was given."""
    message = fault["msg"].removeprefix("Value error, ")
    where = [f"method {method!r}", *map(str, fault["loc"])]
    given = f" (given: {fault['input']!r})" if fault["loc"] else ""
    return ": ".join([*where, message[:1].lower() + message[1:]]) + given
