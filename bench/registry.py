"""The methods by name; adding one is one file and one line here."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from bench.protocol import PromptMethod


@dataclass(frozen=True)
class MethodEntry:
    """Where a method lives and what it is; its module is imported only when it runs."""

    module: str
    attribute: str
    title: str

    def load(self) -> type[PromptMethod[Any]]:
        """Import the method's class."""
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


@dataclass(frozen=True)
class MethodSpec:
    """A method with all its settings.

    Attributes:
        name: in :data:`METHODS`.
        settings: an instance of the method's ``Settings``.
        label: name and the settings that the user wrote behind the colon, for tables.
    """

    name: str
    settings: Any
    label: str

    def load(self) -> type[PromptMethod[Any]]:
        """The method's class."""
        return METHODS[self.name].load()

    def values(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self.settings)


def method_entry(text: str) -> MethodEntry:
    """The entry of a method given as ``name`` or ``name:key=value,...``.

    Raises:
        UnknownNameError: there is no such method.
    """
    name = text.partition(":")[0]
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]


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
        except yaml.YAMLError:
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
    shown = sorted(key for key in chosen if getattr(settings, key) != getattr(default, key))
    values = ",".join(f"{key}={getattr(settings, key)}" for key in shown)
    return MethodSpec(name, settings, f"{name}:{values}" if shown else name)


def _describe(method: str, fault: ErrorDetails) -> str:
    """One line: which setting, what is wrong, what was given."""
    message = fault["msg"].removeprefix("Value error, ")
    where = [f"method {method!r}", *map(str, fault["loc"])]
    given = f" (given: {fault['input']!r})" if fault["loc"] else ""
    return ": ".join([*where, message[:1].lower() + message[1:]]) + given
