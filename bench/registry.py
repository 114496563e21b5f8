"""The methods by name. A new method is one file and one line here, or a plugin."""

from __future__ import annotations

import inspect
import math
import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError, UnknownNameError, one_line
from bench.plugins import Plugin, discover

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from bench.method import PromptMethod


@dataclass(frozen=True)
class MethodEntry:
    """Where a method is defined; its module is imported when the method is used."""

    path: str  # ``module:Class``.
    title: str  # For listings.
    plugin: Plugin | None = None  # Where it comes from; None: built in.

    def load(self) -> type[PromptMethod[Any]]:
        """Import the method's class."""
        if self.plugin is not None:
            return _checked(self.plugin)
        method: type[PromptMethod[Any]] = pkgutil.resolve_name(self.path)
        return method


METHODS: Mapping[str, MethodEntry] = {
    "pt": MethodEntry("baselines.pt:PromptTuning", "prompt tuning, Lester et al. 2021"),
    "spot": MethodEntry("baselines.spot:SPoT", "soft prompt transfer, Vu et al. 2022"),
    "attempt": MethodEntry(
        "baselines.attempt:AttemptPrompt", "attentional mixture of prompts, Asai et al. 2022"
    ),
    "mpt": MethodEntry("baselines.mpt:MPT", "multitask prompt tuning, Wang et al. 2023"),
    "dtvg": MethodEntry("dtvg.prompt:DTVGPrompt", "task vector grouping, Zhang et al. 2025"),
    "no_prompt": MethodEntry("baselines.fixed:NoPrompt", "the frozen model alone"),
    "fixed": MethodEntry("baselines.fixed:FixedPrompt", "a stored prompt as it is"),
}


@dataclass(frozen=True)
class MethodSpec:
    """A method with all its settings."""

    name: str
    settings: Any  # An instance of the method's ``Settings``.
    label: str  # Row of tables: the name with the settings written behind the colon.

    def load(self) -> type[PromptMethod[Any]]:
        """The method's class."""
        return method_entry(self.name).load()

    @property
    def version(self) -> int:
        """The method's version, raised by hand when its results change."""
        return self.load().version

    def values(self) -> dict[str, Any]:
        """The settings as values of JSON."""
        from pydantic import TypeAdapter

        adapter = TypeAdapter[Any](type(self.settings))
        return dict(adapter.dump_python(self.settings, mode="json"))


def methods() -> dict[str, MethodEntry]:
    """The built-in methods, then those of plugins; none is imported."""
    found = dict(METHODS)
    for name, plugin in discover("method", METHODS).items():
        path = f"{plugin.module}:{plugin.attribute}"
        found[name] = MethodEntry(path, f"plugin of {plugin.origin}", plugin)
    return found


def method_entry(text: str) -> MethodEntry:
    """The entry of a method given as ``name`` or ``name:key=value,...``."""
    name, known = text.partition(":")[0], methods()
    if name not in known:
        raise UnknownNameError("method", name, known)
    return known[name]


def parse_method(text: str, options: Mapping[str, Any]) -> MethodSpec:
    """Read ``name`` or ``name:key=value,...``; these values win over ``options``.

    Raises:
        ConfigError: unknown method or setting, or a value of the wrong type; all are named.
    """
    import yaml
    from pydantic import TypeAdapter, ValidationError

    method = method_entry(text).load()
    name, colon, variant = text.partition(":")
    known = {field.name for field in fields(method.Settings)}
    default = method.Settings()
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
            continue
        if isinstance(getattr(default, key, None), str) and not isinstance(chosen[key], str):
            chosen[key] = value  # An id of digits alone, or a bare on or off.
    unknown = (options.keys() | chosen.keys()) - known
    faults += [str(UnknownNameError(f"setting of {name}", key, known)) for key in unknown]
    if faults:
        raise ConfigError(sorted(faults))
    plain = dict(options)
    for key, value in options.items():
        if isinstance(value, bool) and isinstance(getattr(default, key), str):
            plain[key] = "on" if value else "off"  # YAML reads a bare on or off as a truth value.
    adapter = TypeAdapter(method.Settings)
    try:
        settings = adapter.validate_python(plain | chosen)
        usual = adapter.validate_python(plain)
        method.needs(settings)
    except ValidationError as error:
        raise ConfigError(
            ": ".join([f"method {text!r}", *map(str, fault["loc"]), plain_fault(fault)])
            for fault in error.errors()
        ) from error
    except ValueError as error:
        raise ConfigError(f"method {text!r}: {error}") from error
    values = asdict(settings)
    for key, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"method {text!r}: {key}: expected a finite number (given: {value})")
    # The label shows what differs from the plain method under the same options.
    shown = sorted(key for key in chosen if values[key] != getattr(usual, key))
    written = ",".join(f"{key}={'null' if values[key] is None else values[key]}" for key in shown)
    return MethodSpec(name, settings, f"{name}:{written}" if shown else name)


def plain_fault(fault: ErrorDetails) -> str:
    """What is wrong with a value, and the value, in the words of this program."""
    known = {
        **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "expected a whole number"),
        **dict.fromkeys(("float_type", "float_parsing"), "expected a number"),
        **dict.fromkeys(("bool_type", "bool_parsing"), "expected true or false"),
        **dict.fromkeys(("tuple_type", "list_type"), "expected a list"),
        **dict.fromkeys(("dict_type", "model_type"), "expected 'key: value' entries"),
        "string_type": "expected text",
        "missing": "missing; give a value",
        "too_short": "expected at least one",
        "finite_number": "expected a finite number",
        "literal_error": "expected {expected}",
        "greater_than_equal": "expected at least {ge}",
        "greater_than": "expected more than {gt}",
        "less_than": "expected less than {lt}",
    }
    message = fault["msg"].removeprefix("Value error, ")
    message = known.get(fault["type"], message[:1].lower() + message[1:])
    given, context = fault["input"], fault.get("ctx", {})
    shown = "" if isinstance(given, Mapping) or not fault["loc"] else f" (given: {given!r})"
    return message.format(**context) + shown if fault["type"] in known else message + shown


def _checked(plugin: Plugin) -> type[PromptMethod[Any]]:
    """The class of a plugin, checked as far as its declaration shows."""
    from bench.method import PromptMethod

    method = plugin.load()
    if not (inspect.isclass(method) and issubclass(method, PromptMethod)):
        raise plugin.fault("is no subclass of bench.method.PromptMethod; derive it from that")
    if inspect.isabstract(method):
        missing = ", ".join(sorted(method.__abstractmethods__))
        raise plugin.fault(f"lacks {missing}; define what bench.method asks for")
    if not is_dataclass(getattr(method, "Settings", None)):
        raise plugin.fault("has no dataclass Settings; give it one")
    try:
        method.Settings()
    except Exception as error:
        raise plugin.fault(f"Settings() fails ({one_line(error)}); give defaults") from error
    return method
