"""Registry of methods. A new method is one file and one line here, or a plugin."""

from __future__ import annotations

import difflib
import functools
import inspect
import itertools
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, ConfigError, UnknownNameError, lookup, one_line, plain_fault
from bench.plugins import Plugin, discover

if TYPE_CHECKING:
    from bench.method import PromptMethod


@dataclass(frozen=True)
class MethodEntry:
    """A method that is imported when it is used."""

    title: str
    load: Callable[[], type[PromptMethod[Any]]]  # Imports the method's class.


METHODS: Mapping[str, MethodEntry] = {
    name: MethodEntry(title, functools.partial(pkgutil.resolve_name, path))
    for name, path, title in (
        ("pt", "baselines.pt:PromptTuning", "prompt tuning, Lester et al. 2021"),
        ("spot", "baselines.spot:SPoT", "soft prompt transfer, Vu et al. 2022"),
        (
            "attempt",
            "baselines.attempt:AttemptPrompt",
            "attentional mixture of prompts, Asai et al. 2022",
        ),
        ("mpt", "baselines.mpt:MPT", "multitask prompt tuning, Wang et al. 2023"),
        ("dtvg", "dtvg.prompt:DTVGPrompt", "dynamic task vector grouping, Zhang et al. 2025"),
        ("no_prompt", "baselines.fixed:NoPrompt", "the frozen model alone"),
        ("fixed", "baselines.fixed:FixedPrompt", "a stored prompt as it is"),
    )
}
MAX_TRIES = 1000  # Maximum number of combinations of values to try.


@dataclass(frozen=True)
class MethodSpec:
    """A method with all its settings."""

    name: str
    settings: Any  # An instance of the method's ``Settings``; the first try's, if there are tries.
    label: str  # Row name in tables: the name with its changed settings.
    tries: tuple[MethodSpec, ...] = ()  # One for each combination of candidate values.

    def load(self) -> type[PromptMethod[Any]]:
        """The method's class."""
        return method_entry(self.name).load()

    def values(self) -> dict[str, Any]:
        """Settings as JSON values; a list where tries differ."""
        from pydantic import TypeAdapter

        adapter = TypeAdapter[Any](type(self.settings))
        candidates: dict[str, list[Any]] = {}
        for spec in self.tries or [self]:
            for key, value in adapter.dump_python(spec.settings, mode="json").items():
                values = candidates.setdefault(key, [])
                if value not in values:
                    values.append(value)
        return {key: values if len(values) > 1 else values[0] for key, values in candidates.items()}


def methods() -> dict[str, MethodEntry]:
    """The built-in methods, then those of plugins; none is imported."""
    entries = dict(METHODS)
    for name, plugin in discover("method", METHODS).items():
        load = functools.partial(_checked, plugin)
        entries[name] = MethodEntry(f"plugin of {plugin.origin}", load)
    return entries


def method_entry(text: str) -> MethodEntry:
    """The entry of a method given as ``name`` or ``name:key=value,...``."""
    return lookup("method", text.partition(":")[0], methods())


def where_set(key: str) -> str:
    """Hint which methods have a setting of this or a similar name; empty if none has."""
    owners: dict[str, list[str]] = {}
    for name in METHODS:
        for field in fields(METHODS[name].load().Settings):
            owners.setdefault(field.name, []).append(name)
    for setting in difflib.get_close_matches(key.replace("lr", "learning_rate"), owners, 1, 0.8):
        names = ", ".join(owners[setting])
        return f"{setting} is a setting of {names}: --method {owners[setting][0]}:{setting}=VALUE"
    return ""


def parse_method(text: str, options: Mapping[str, Any]) -> MethodSpec:
    """Parse ``name`` or ``name:key=value,...``; its values override ``options``.

    ``key=a|b`` gives candidates, of which validation selects one; several keys give their product.
    Text settings (``str``) take one value. Raises ConfigError with all faults: an unknown method
    or setting, or a value of the wrong type.
    """
    import yaml
    from pydantic import TypeAdapter, ValidationError

    method = method_entry(text).load()
    name, colon, variant = text.partition(":")
    types = {field.name: field.type for field in fields(method.Settings)}
    defaults, subject = method.Settings(), f"method {text!r}"
    texts = {key for key in types if isinstance(getattr(defaults, key), str)}
    candidates: dict[str, list[Any]] = {}
    faults = []
    for item in variant.split(",") if colon else ():
        key, equals, value = item.partition("=")
        if not equals or not key:
            faults.append(f"{subject}: expected {name}:key=value, got {item!r}")
            continue
        words = [value] if types.get(key) in (str, "str") else value.split("|")
        if len(words) > 1 and not all(word.strip() for word in words):
            faults.append(f"{subject}: {key}: a value beside '|' is missing")
        try:
            values = [yaml.safe_load(word) for word in words]
        except (yaml.YAMLError, ValueError, RecursionError):
            faults.append(f"{subject}: {key}: no valid YAML (given: {value!r})")
            continue
        if key in texts:  # An id of digits, or a bare on, stays text.
            pairs = zip(words, values, strict=True)
            values = [value if isinstance(value, str) else word for word, value in pairs]
        if key in candidates:
            faults.append(f"{subject}: {key} is given twice; give both values as {key}=a|b")
        candidates[key] = values
    unknown = (options.keys() | candidates.keys()) - types.keys()
    faults += [str(UnknownNameError(f"setting of {name}", key, types)) for key in unknown]
    if "|" in variant and not method.trained:
        faults.append(f"{subject}: {name} trains nothing, so give one value, without '|'")
    if math.prod(map(len, candidates.values())) > MAX_TRIES:
        faults.append(f"{subject}: more than {MAX_TRIES} combinations; give fewer values")
    if faults:
        raise ConfigError(sorted(faults))
    configured = dict(options)
    for key in texts & options.keys():
        if isinstance(options[key], bool):  # YAML reads a bare on or off as a boolean.
            configured[key] = "on" if options[key] else "off"
    adapter, tries = TypeAdapter(method.Settings), []
    try:
        for combination in itertools.product(*candidates.values()):
            changes = dict(zip(candidates, combination, strict=True))
            settings = adapter.validate_python(configured | changes)
            method.needs(settings)
            for key, value in asdict(settings).items():
                if isinstance(value, float) and not math.isfinite(value):
                    raise ValueError(f"{key}: expected a finite number (given: {value})")
            tries.append(settings)
        base = adapter.validate_python(configured)
    except ValidationError as error:
        raise ConfigError(
            ": ".join([subject, *map(str, fault["loc"]), plain_fault(fault)])
            for fault in error.errors()
        ) from error
    except BenchError:
        raise
    except Exception as error:  # The code of a plugin may raise anything.
        reason = one_line(error).removeprefix("ValueError: ")
        raise ConfigError(f"{subject}: {reason}") from error

    def label(*tries: Any) -> str:
        """Method name with the settings that differ from ``options``."""
        changes = []
        for key in sorted(candidates):
            values = list(dict.fromkeys(getattr(settings, key) for settings in tries))
            if values != [getattr(base, key)]:
                words = ("null" if value is None else str(value) for value in values)
                changes.append(f"{key}={'|'.join(words)}")
        return f"{name}:{','.join(changes)}" if changes else name

    specs = tuple(MethodSpec(name, settings, label(settings)) for settings in dict.fromkeys(tries))
    return MethodSpec(name, tries[0], label(*tries), specs) if len(specs) > 1 else specs[0]


def _checked(plugin: Plugin) -> type[PromptMethod[Any]]:
    """Load the class of a plugin and check its declaration."""
    from bench.method import PromptMethod

    method = plugin.load()
    if not (inspect.isclass(method) and issubclass(method, PromptMethod)):
        raise plugin.fault("is not a subclass of bench.method.PromptMethod; derive it from that")
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
