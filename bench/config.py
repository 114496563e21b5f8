"""Run configurations: preset, YAML file, options and ``--set`` items merged into one RunConfig.

Later sources win. All faults are reported together, each with its place and the nearest valid key.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator

from bench.errors import ConfigError, UnknownNameError
from bench.registry import MethodSpec, method_entry, parse_method, plain_fault
from bench.tasks import SUITES, get_suite, get_task

PRESETS = ("smoke", "paper")
GRID_KEYS = frozenset(
    {"model", "data", "device", "suites", "tasks", "methods", "shots", "seeds", "source_prompts"}
)
"""What spans the grid; all else is the protocol by which each run is trained and scored."""

Precision = Literal["float32", "bf16"]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


def _shots(value: object) -> object:
    if value == "full" or (type(value) is int and value >= 1):
        return value
    raise ValueError("expected a whole number of at least 1, or 'full'")


Shots = Annotated[int | Literal["full"], PlainValidator(_shots)]
"""Size of a few-shot sample, or the full training data."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TrainingSettings(_Strict):
    """How long and with what batches a prompt trains; learning rates belong to the methods."""

    steps: Count | None  # Of the optimiser; exactly one of steps and epochs is set.
    epochs: Annotated[float, Field(gt=0)] | None  # Passes over the training examples.
    batch_size: Count
    warmup_steps: Annotated[int, Field(ge=0)]  # Of linear warm-up before the linear decay to 0.
    evaluate_every: Count  # Steps between evaluations on validation, each with a checkpoint.
    gradient_clip: Annotated[float, Field(gt=0)] | None  # Largest norm of all gradients together.
    patience: Count | None  # Stop after so many evaluations without a better score.
    evaluation_batch_size: Count  # Examples per batch when answers are decoded.
    beams: Count = 1  # Of the search for answers; 1: greedy.
    batching: Literal["random", "bucketed"] = "random"  # Bucketed by input length: less padding.

    @model_validator(mode="after")
    def _one_length(self) -> TrainingSettings:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("set exactly one of steps and epochs, the other to null")
        return self

    def total_steps(self, examples: int) -> int:
        """Optimiser steps on so many training examples."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, math.ceil(self.epochs * math.ceil(examples / self.batch_size)))


class MethodOptions(_Strict):
    """What a configuration says of one method."""

    settings: dict[str, Any] = {}  # Fields of its Settings, such as learning rates.
    training: dict[str, Any] = {}  # Changes to ``training`` for its targets.
    few_shot_training: dict[str, Any] = {}  # Further changes for few-shot targets.
    source_training: dict[str, Any] = {}  # Changes for its multi-task source stage.


class RunConfig(_Strict):
    """The grid of tasks, methods, shots and seeds, and how each run is trained."""

    preset: str  # Name with the changes to its protocol; equal only for equal protocols.
    model: str  # Bundled name, local folder, or hub id (``id`` or ``id@revision``).
    data: str  # ``bundled``, ``hub``, or a folder of parquet files.
    methods: Annotated[tuple[str, ...], Field(min_length=1)]  # ``name`` or ``name:key=value,...``.
    shots: Annotated[tuple[Shots, ...], Field(min_length=1)]  # Training examples in total per task.
    # Each decides an initial prompt, a few-shot sample, an order of rows, and dropout.
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    data_seed: Seed  # Shuffles rows into validation and test; one for all seeds.
    prompt_length: Count  # ``r``, tokens of the soft prompt.
    input_length: Annotated[int, Field(ge=8)] | None  # Cap on the tasks' own, in tokens.
    validation_rows: Count | None  # To validate on, the first of the split; None: all.
    training: TrainingSettings  # Of prompts on targets.
    source_training: TrainingSettings  # Of source prompts.
    suites: tuple[str, ...] = ()  # Their tasks come before ``tasks``.
    tasks: tuple[str, ...] = ()
    # Source tasks of the transfer methods, in this order.
    sources: Annotated[tuple[str, ...], Field(min_length=1)] = SUITES["sources"]
    # Stored prompts by source task, used instead of training one: id or file.
    source_prompts: dict[str, str] = {}
    precision: Precision = "float32"  # Of the frozen weights; prompts are float32.
    device: str = "auto"  # As torch names it; ``auto`` takes a GPU if there is one.
    method_options: dict[str, MethodOptions] = {}

    def task_names(self) -> tuple[str, ...]:
        """The tasks of the suites and then the single ones, each once."""
        named = [task for suite in self.suites for task in get_suite(suite)]
        return tuple(dict.fromkeys([*named, *self.tasks]))

    def method_spec(self, method: str) -> MethodSpec:
        """A method, given as ``name`` or ``name:key=value,...``, with the settings of this run."""
        return parse_method(method, self._options(method).settings)

    def target_training(self, method: str, few_shot: bool = False) -> TrainingSettings:
        """How a method is trained on a target, with all its data or with few shots."""
        options, place = self._options(method), f"method_options.{method.partition(':')[0]}"
        settings = _changed(self.training, options.training, f"{place}.training")
        if not few_shot:
            return settings
        return _changed(settings, options.few_shot_training, f"{place}.few_shot_training")

    def stage_training(self, method: str) -> TrainingSettings:
        """How a method's multi-task source stage is trained; its rows are drawn at random."""
        changes = self._options(method).source_training
        place = f"method_options.{method.partition(':')[0]}.source_training"
        if changes.get("batching", "random") != "random":
            raise ConfigError(
                f"{place}.batching: a source stage draws its rows with replacement, so it cannot "
                "put an epoch into buckets; leave it out"
            )
        base = self.source_training.model_copy(update={"batching": "random"})
        return _changed(base, changes, place)

    def _options(self, method: str) -> MethodOptions:
        return self.method_options.get(method.partition(":")[0], MethodOptions())


def load_config(
    preset: str | None = None,
    file: Path | None = None,
    options: Mapping[str, Any] | None = None,
    items: Iterable[str] = (),
) -> RunConfig:
    """Merge preset, file, options and ``key=value`` items, and check the result.

    Without a name, the preset is the one that the file names, or ``smoke``. A preset may have other
    values for models of another architecture than its own model's.

    Raises:
        ConfigError: every fault found, each with its place.
        ModelError: the model's configuration is needed, but cannot be read.
    """
    faults: list[str] = []
    given: dict[str, Any] = {} if file is None else _read_yaml(file)
    named = given.pop("preset", None)
    _merge(given, options or {})
    for item in items:
        try:
            _merge(given, _parse_item(item))
        except ConfigError as error:
            faults.extend(error.faults)
    if "preset" in given:
        faults.append(f"preset: choose it by --preset (given: {given.pop('preset')!r})")
    title, usual = _read_preset(preset or str(named or PRESETS[0]), given.get("model"))
    values = copy.deepcopy(usual)
    _merge(values, given)
    config = _checked({**values, "preset": title}, faults)
    changes = _changes(config, _validated({**usual, "preset": title}))
    return config.model_copy(update={"preset": f"{title} with {changes}"}) if changes else config


def dump_config(config: RunConfig) -> str:
    """The configuration as YAML that ``--config`` takes; its preset is named without changes."""
    values = config.model_dump(mode="json")
    values["preset"] = config.preset.split()[0]
    return str(yaml.safe_dump(values, sort_keys=False))


def _read_preset(name: str, model: object) -> tuple[str, dict[str, Any]]:
    """Title and values of a preset, for the architecture of a given model if that has its own."""
    if name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS)
    text = (resources.files("bench") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    values: dict[str, Any] = yaml.safe_load(text)
    special = values.pop("architectures", {})
    if special and isinstance(model, str) and model != values["model"]:
        from bench.models.loading import architecture_of

        architecture = architecture_of(model)
        if architecture in special:
            _merge(values, special[architecture])
            return f"{name} for {architecture} models", values
    return name, values


def _checked(values: dict[str, Any], faults: list[str]) -> RunConfig:
    """Validate merged values; ``faults`` holds what was found before."""
    faults = [*faults, *_name_faults(values), *_settings_faults(values)]
    try:
        config = _validated(values)
    except ValidationError as error:
        raise ConfigError(dict.fromkeys([*faults, *_described(error, "")])) from error
    if not config.suites and not config.tasks:
        faults.append("tasks: none given; name a suite or a task")
    sources = ", ".join(config.sources)
    if len(set(config.sources)) < len(config.sources):
        faults.append(f"sources: a task is named twice (given: {sources})")
    for task in sorted(config.source_prompts.keys() - set(config.sources)):
        faults.append(f"source_prompts: {task} is none of the sources ({sources})")
    for method in config.method_options:
        for check in (lambda name: config.target_training(name, True), config.stage_training):
            try:
                check(method)
            except ConfigError as error:
                faults.extend(error.faults)
    if faults:
        raise ConfigError(dict.fromkeys(faults))
    return config


def _validated(values: Mapping[str, Any]) -> RunConfig:
    """The model of merged values; ``source_training`` inherits from ``training``."""
    base, stage = values.get("training"), values.get("source_training")
    if isinstance(base, Mapping) and isinstance(stage, Mapping):
        inherited = dict(base)
        if stage.keys() & {"steps", "epochs"}:  # Naming one of them drops the other.
            inherited |= {"steps": None, "epochs": None}
        values = {**values, "source_training": {**inherited, **stage}}
    return RunConfig.model_validate(values)


def _name_faults(values: Mapping[str, Any]) -> Iterator[str]:
    """Unknown names, found even where other parts of the configuration are faulty."""
    checks: dict[str, Callable[[str], object]] = {
        "suites": get_suite,
        "tasks": get_task,
        "sources": get_task,
        "methods": method_entry,
        "method_options": method_entry,
    }
    for key, check in checks.items():
        names = values.get(key)
        for name in names if isinstance(names, list | tuple | dict) else ():
            try:
                check(str(name))
            except UnknownNameError as error:
                yield str(error)


def _settings_faults(values: Mapping[str, Any]) -> Iterator[str]:
    """Faults in the settings of the methods that run or have options."""
    listed, options = values.get("methods"), values.get("method_options")
    methods = [str(method) for method in listed] if isinstance(listed, list | tuple) else []
    options = options if isinstance(options, Mapping) else {}
    used = {method.partition(":")[0] for method in methods}
    for method in [*methods, *(str(name) for name in options if name not in used)]:
        given = options.get(method.partition(":")[0])
        settings = given.get("settings") if isinstance(given, Mapping) else None
        settings = settings if isinstance(settings, Mapping) else {}
        try:
            parse_method(method, {str(key): value for key, value in settings.items()})
        except UnknownNameError:
            continue  # Reported by _name_faults.
        except ConfigError as error:
            yield from error.faults


def _changes(config: RunConfig, usual: RunConfig) -> str:
    """The protocol values that differ from the preset's, after validation."""
    actual, expected = _protocol(config), _protocol(usual)
    for name in TrainingSettings.model_fields.keys() - {"steps", "epochs"}:
        # What follows ``training`` in the preset is a change where it no longer does.
        if expected[f"source_training.{name}"] == expected[f"training.{name}"]:
            expected[f"source_training.{name}"] = actual[f"training.{name}"]
    return ", ".join(
        f"{key}={value}"
        for key, value in actual.items()
        if key not in expected or value != expected[key]
    )


def _protocol(config: RunConfig) -> dict[str, Any]:
    """What decides how runs are trained and scored, by dotted key."""
    values = config.model_dump(mode="json", exclude={"preset", *GRID_KEYS})
    for name, options in values["method_options"].items():
        checked = {
            "settings": config.method_spec(name).values(),
            "training": config.target_training(name).model_dump(),
            "few_shot_training": config.target_training(name, few_shot=True).model_dump(),
            "source_training": config.stage_training(name).model_dump(),
        }
        for part, given in options.items():
            options[part] = {key: checked[part][key] for key in given}
    return dict(_flat("", values))


def _flat(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(f"{place}.{key}" if place else str(key), part)
    else:
        yield place, value


def _changed(base: TrainingSettings, changes: Mapping[str, Any], place: str) -> TrainingSettings:
    try:
        return TrainingSettings.model_validate({**base.model_dump(), **changes})
    except ValidationError as error:
        raise ConfigError(_described(error, place)) from error


def _described(error: ValidationError, place: str) -> Iterator[str]:
    """One line per fault: where, what is wrong, what was given."""
    faults = error.errors(include_url=False)
    own = {fault["loc"] for fault in faults}
    for fault in faults:
        place_of, depth = fault["loc"], len(fault["loc"])
        if fault["type"] == "too_short" and any(
            other[:depth] == place_of and len(other) > depth for other in own
        ):
            continue  # A list is too short only because its items are faulty.
        if place_of[:1] == ("source_training",) and ("training", *place_of[1:]) in own:
            continue  # Inherited with its fault.
        parts = [str(part) for part in place_of]
        where = ".".join([place, *parts] if place else parts) or "configuration"
        if fault["type"] == "extra_forbidden":
            yield str(UnknownNameError("key", where, _keys_beside(parts, place)))
        else:
            yield f"{where}: {plain_fault(fault)}"


def _keys_beside(parts: list[str], place: str) -> list[str]:
    """The valid keys in the place of an unknown one."""
    model: type[BaseModel] = TrainingSettings if place else RunConfig
    if not place and len(parts) > 1:
        model = MethodOptions if parts[0] == "method_options" else TrainingSettings
    above = ".".join([place, *parts[:-1]] if place else parts[:-1])
    return [f"{above}.{key}" if above else key for key in model.model_fields]


def _merge(target: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put ``changes`` into ``target``, nested mappings key by key."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"configuration {file}: {error.strerror}; check the path") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"configuration {file}: no valid YAML ({reason})") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"configuration {file}: expected 'key: value' lines")
    return values


def _parse_item(item: str) -> dict[str, Any]:
    """``a.b=value`` as nested mapping; the value is read as YAML."""
    path, equals, text = item.partition("=")
    if not equals or not all(path.split(".")):
        raise ConfigError(f"--set {item}: expected key=value, such as training.steps=100")
    try:
        value: Any = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"--set {item}: the value is no valid YAML") from error
    for key in reversed(path.split(".")):
        value = {key: value}
    nested: dict[str, Any] = value
    return nested
