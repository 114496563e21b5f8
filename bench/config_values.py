"""Configurations before they are checked: presets, files and items as plain nested values."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from bench.errors import ConfigError, UnknownNameError
from bench.tasks import SUITES

PRESETS = ("smoke", "paper")
PROTOCOL = (
    "data_seed",
    "precision",
    "prompt_length",
    "input_length",
    "validation_rows",
    "sources",
    "training",
    "source_training",
    "method_options",
)
"""What decides how cells are trained, apart from what spans the grid."""

LENGTHS = frozenset({"steps", "epochs"})
"""Ways to say how long a training is; only one of them counts."""

UNREADABLE = (yaml.YAMLError, ValueError, RecursionError)
"""What reading YAML may raise: no YAML or text, a date that is none, too deep."""

ARCHITECTURES = "architectures"
"""Where a preset says what is different for models of another architecture than its own model's."""


def read_preset(name: str, architecture: str | None = None) -> dict[str, Any]:
    """The values of a preset.

    Args:
        name: of the preset.
        architecture: of the model; None: that of the preset's own.

    Raises:
        UnknownNameError: there is no such preset.
    """
    values = _preset_file(name)
    changes = values.pop(ARCHITECTURES, {})
    merge(values, changes.get(architecture, {}))
    return values


def special_architectures(preset: str) -> frozenset[str]:
    """For which architectures of the model a preset has other values.

    Raises:
        UnknownNameError: there is no such preset.
    """
    return frozenset(_preset_file(preset).get(ARCHITECTURES, {}))


def _preset_file(name: str) -> dict[str, Any]:
    if name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS)
    text = (resources.files("bench") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    values: dict[str, Any] = yaml.safe_load(text)
    return values


def label(preset: str, values: Mapping[str, Any], architecture: str | None = None) -> str:
    """The preset's name with what was changed of its protocol; equal labels, equal protocols.

    Args:
        preset: its name.
        values: merged.
        architecture: as for :func:`read_preset`.
    """
    original = read_preset(preset, architecture)
    usual, actual = _protocol(original), _protocol(values)
    # What the preset lets follow ``training`` is a change where it no longer does.
    for key in inherited(original).keys() - LENGTHS:
        usual[f"source_training.{key}"] = actual.get(f"training.{key}")
    changes = [f"{key}={value}" for key, value in actual.items() if value != usual.get(key)]
    name = f"{preset} for {architecture} models" if architecture else preset
    return f"{name} with {', '.join(changes)}" if changes else name


def inherited(values: Mapping[str, Any]) -> dict[str, Any]:
    """What ``source_training`` takes over from ``training``, where it says nothing itself."""
    base, stage = values.get("training"), values.get("source_training")
    if not (isinstance(base, Mapping) and isinstance(stage, Mapping)):
        return {}
    taken_over = {key: value for key, value in base.items() if key not in stage}
    if not LENGTHS.isdisjoint(stage):  # Who names one of steps and epochs drops the other.
        taken_over.update(dict.fromkeys(LENGTHS & taken_over.keys()))
    return taken_over


def _protocol(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that decide how cells are trained, by dotted key.

    What spans the grid has its own place in captions.
    """
    flat: dict[str, Any] = {}
    for key in PROTOCOL:
        value = values.get(key, SUITES["sources"] if key == "sources" else None)
        if key == "source_training" and isinstance(value, Mapping):
            value = {**inherited(values), **value}
        flat |= _flat(key, value)
    return flat


def _flat(place: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {
            key: item
            for inner, part in value.items()
            for key, item in _flat(f"{place}.{inner}", part).items()
        }
    return {place: list(value) if isinstance(value, tuple) else value}


def merge(target: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put ``changes`` into ``target``, nested mappings key by key."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)


def read_yaml(file: Path) -> dict[str, Any]:
    """The values of a configuration file.

    Raises:
        ConfigError: it cannot be read, or is no mapping in YAML.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"configuration {file}: {error.strerror}; check the path") from error
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"configuration {file}: no valid YAML ({reason})") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"configuration {file}: expected 'key: value' lines")
    return values


def parse_item(item: str) -> dict[str, Any]:
    """``a.b=value`` as nested mapping; the value is read as YAML.

    Raises:
        ConfigError: it is not of that form.
    """
    path, equals, text = item.partition("=")
    if not equals or not all(path.split(".")):
        raise ConfigError(f"--set {item}: expected key=value, such as training.steps=100")
    try:
        value: Any = yaml.safe_load(text)
    except UNREADABLE as error:
        raise ConfigError(f"--set {item}: the value is no valid YAML") from error
    for key in reversed(path.split(".")):
        value = {key: value}
    nested: dict[str, Any] = value
    return nested
