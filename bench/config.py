"""Run configurations: preset, YAML file, options and ``--set`` items merged into one RunConfig.

Later sources win. All faults are reported together, each with its place and the nearest valid key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator, PlainValidator

from bench.errors import ConfigError, UnknownNameError, plain_fault
from bench.files import read_yaml
from bench.record import Count, Positive, Precision
from bench.registry import MethodSpec, method_entry, parse_method, where_set
from bench.tasks import SUITES, get_suite, get_task

PRESETS = ("smoke", "laptop", "paper")
GRID_KEYS: tuple[str, ...] = ("model", "bin_weights", "data", "device", "suites", "tasks")
GRID_KEYS += ("methods", "shots", "seeds", "source_prompts")
"""Keys that span the grid. All others are the protocol: how each run is trained and scored."""

Seed = Annotated[int, Field(ge=0, lt=2**63)]
EXCLUSIVE = (("steps", "epochs"), ("warmup_steps", "warmup_share"))  # One of each pair is set.


def _count_or(word: str) -> PlainValidator:
    def check(value: object) -> object:
        if value == word or (type(value) is int and value >= 1):
            return value
        raise ValueError(f"expected a whole number of at least 1, or {word!r}")

    return PlainValidator(check)


Shots = Annotated[int | Literal["full"], _count_or("full")]  # Sample size, or the full data.


def _known(find: Callable[[str], object]) -> AfterValidator:
    """Check a name by a function that raises UnknownNameError."""
    return AfterValidator(lambda name: find(name) and name)


SuiteName = Annotated[str, _known(get_suite)]
TaskName = Annotated[str, _known(get_task)]
MethodName = Annotated[str, _known(method_entry)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TrainingSettings(_Strict):
    """Length, batches and evaluation of a training; learning rates are method settings."""

    steps: Positive | None  # Optimiser steps; set exactly one of steps and epochs.
    epochs: Annotated[float, Field(gt=0)] | None  # Passes over the training examples.
    batch_size: Positive
    warmup_steps: Count | None  # Linear warm-up before the linear decay to 0.
    warmup_share: Annotated[float, Field(ge=0, lt=1)] | None = None  # As a share of steps.
    evaluate_every: Annotated[int | Literal["epoch"], _count_or("epoch")]  # Steps, or one epoch.
    gradient_clip: Annotated[float, Field(gt=0)] | None  # Largest total gradient norm.
    patience: Positive | None  # Stop after this many evaluations without improvement.
    evaluation_batch_size: Positive  # Examples per batch when answers are decoded.
    beams: Positive = 1  # Beams of beam search; 1: greedy.
    batching: Literal["random", "bucketed"] = "random"  # Bucketed: by length, less padding.

    @model_validator(mode="after")
    def _one_of_each(self) -> TrainingSettings:
        for one, other in EXCLUSIVE:
            if (getattr(self, one) is None) == (getattr(self, other) is None):
                raise ValueError(f"set exactly one of {one} and {other}, the other to null")
        return self

    def total_steps(self, examples: int) -> int:
        """Number of optimiser steps for this many training examples."""
        return self.steps or math.ceil((self.epochs or 1) * -(-examples // self.batch_size))

    def evaluation_interval(self, examples: int) -> int:
        """Number of optimiser steps between two evaluations."""
        steps = self.evaluate_every
        return -(-examples // self.batch_size) if steps == "epoch" else steps

    def warmup(self, examples: int) -> int:
        """Number of warm-up steps."""
        if self.warmup_share is None:
            return self.warmup_steps or 0
        return round(self.warmup_share * self.total_steps(examples))


class MethodOptions(_Strict):
    """Options of one method in a configuration."""

    settings: dict[str, Any] = {}  # Fields of the method's Settings, such as learning rates.
    training: dict[str, Any] = {}  # Changes to ``training`` for target tasks.
    few_shot_training: dict[str, Any] = {}  # Further changes for few-shot target tasks.
    source_training: dict[str, Any] = {}  # Changes for the multi-task source stage.


class RunConfig(_Strict):
    """The grid of tasks, methods, shots and seeds, and how each run is trained."""

    preset: str  # Preset name, with any changes to its protocol.
    model: str  # Bundled name, local folder, or hub id (``id`` or ``id@revision``).
    data: str  # ``bundled``, ``hub``, or a folder of parquet files.
    methods: Annotated[tuple[MethodName, ...], Field(min_length=1)]  # Or ``name:key=value``.
    shots: Annotated[tuple[Shots, ...], Field(min_length=1)]  # Training examples in total per task.
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]  # Prompt, sample, order, dropout.
    data_seed: Seed  # Seed of the validation/test split, shared by all seeds.
    prompt_length: Positive  # ``r``, tokens of the soft prompt.
    input_length: Annotated[int, Field(ge=8)] | None  # Cap on the tasks' input lengths.
    validation_rows: Positive | None  # First rows of the validation split to use; None: all.
    train_rows: Positive | None = None  # Size of a fixed sample of full training data; None: all.
    test_rows: Positive | None = None  # Size of a fixed sample of test rows; None: all.
    training: TrainingSettings  # Training on target tasks.
    source_training: TrainingSettings  # Training on source tasks.
    source_settings: dict[str, Any] = {}  # Changes to the settings of PT on source tasks.
    suites: tuple[SuiteName, ...] = ()  # Their tasks come before those in ``tasks``.
    tasks: tuple[TaskName, ...] = ()
    # Source tasks of the transfer methods, in this order.
    sources: Annotated[tuple[TaskName, ...], Field(min_length=1)] = SUITES["sources"]
    source_prompts: dict[str, str] = {}  # Given prompts, id or file by source task.
    precision: Precision = "float32"  # Of the frozen weights; prompts are float32.
    device: str = "auto"  # Torch device; ``auto`` uses a GPU if there is one.
    bin_weights: bool = False  # Read pytorch_model.bin if there are no safetensors.
    method_options: dict[MethodName, MethodOptions] = {}
    # Changes for the tasks of a suite; for a task in several suites, the last suite wins.
    suite_options: dict[SuiteName, dict[Literal["training", "method_options"], Any]] = {}

    def task_names(self) -> tuple[str, ...]:
        """Names of the suites' tasks, then of ``tasks``, without duplicates."""
        suite_tasks = [task for suite in self.suites for task in get_suite(suite)]
        return tuple(dict.fromkeys([*suite_tasks, *self.tasks]))

    def for_task(self, task: str) -> RunConfig:
        """Copy with the options of all suites that contain a task."""
        return self.for_suites(*(name for name in self.suite_options if task in get_suite(name)))

    def for_suites(self, *names: str) -> RunConfig:
        """Copy with the options of the named suites."""
        values = self.model_dump(exclude={"suite_options"})
        for name in names:
            values = _merged(values, self.suite_options[name])
        return _checked(values, []) if names else self

    def method_spec(self, method: str) -> MethodSpec:
        """Parse ``name`` or ``name:key=value,...``, with this configuration's method settings."""
        return parse_method(method, self._options(method).settings)

    def source_spec(self) -> MethodSpec:
        """PT as it trains the prompts of source tasks."""
        return parse_method("pt", {**self._options("pt").settings, **self.source_settings})

    def target_training(self, method: str, few_shot: bool = False) -> TrainingSettings:
        """Training settings of a method on a target task, with full data or few shots."""
        settings = self._changed(self.training, method, "training")
        return self._changed(settings, method, "few_shot_training") if few_shot else settings

    def stage_training(self, method: str) -> TrainingSettings:
        """Training settings of a method's multi-task source stage, which draws rows at random."""
        base = self.source_training.model_copy(update={"batching": "random"})
        settings = self._changed(base, method, "source_training")
        if settings.batching != "random":
            key = f"method_options.{method}.source_training.batching"
            raise ConfigError(
                f"{key}: a source stage draws its rows with replacement; leave it out"
            )
        return settings

    def _options(self, method: str) -> MethodOptions:
        return self.method_options.get(method.partition(":")[0], MethodOptions())

    def _changed(self, base: TrainingSettings, method: str, part: str) -> TrainingSettings:
        changes = getattr(self._options(method), part)
        try:
            return TrainingSettings.model_validate({**base.model_dump(), **changes})
        except ValidationError as error:
            location = ("method_options", method.partition(":")[0], part)
            raise ConfigError(_described(error, location)) from error


def load_config(
    preset: str | None = None,
    file: Path | None = None,
    options: Mapping[str, Any] | None = None,
    items: Iterable[str] = (),
) -> RunConfig:
    """Merge preset, file, options and ``key=value`` items, and check the result.

    Without ``preset``, the preset named in the file or ``smoke`` is used. A preset may have other
    values for models of another architecture.
    Raises ConfigError with every fault and its place, ModelError if the model cannot be read.
    """
    faults: list[str] = []
    values = {} if file is None else read_yaml(file)
    file_preset = values.pop("preset", None)
    values = _merged(values, options or {})
    for item in items:
        try:
            values = _merged(values, _parse_item(item))
        except ConfigError as error:
            faults.extend(error.faults)
    if "preset" in values:
        faults.append(f"preset: choose it by --preset (given: {values.pop('preset')!r})")
    given = next(name for name in (preset, file_preset, PRESETS[0]) if name is not None)
    title, defaults = _read_preset(str(given), values.get("model"))
    if values.keys() & {"suites", "tasks"}:  # The given tasks replace all those of the preset.
        values = {"suites": [], "tasks": [], **values}
    config = _checked({**_merged(defaults, values), "preset": title}, faults)
    changes = _changes(config, _validated({**defaults, "preset": title}))
    return config.model_copy(update={"preset": f"{title} with {changes}"}) if changes else config


def dump_config(config: RunConfig) -> str:
    """Configuration as YAML for ``--config``; ``preset`` is the plain name."""
    values = {**config.model_dump(mode="json"), "preset": config.preset.split()[0]}
    return str(yaml.safe_dump(values, sort_keys=False))


def _read_preset(name: str, model: object) -> tuple[str, dict[str, Any]]:
    """Title and values of a preset, with its changes for the architecture of ``model``."""
    if name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS)
    values = read_yaml(Path(__file__).parent / "presets" / f"{name}.yaml")
    changes = values.pop("architectures", {})
    if changes and isinstance(model, str) and model != values["model"]:
        from bench.models.loading import architecture_of

        architecture = architecture_of(model)
        if architecture in changes:
            return f"{name} for {architecture} models", _merged(values, changes[architecture])
    return name, values


def _checked(values: dict[str, Any], faults: list[str]) -> RunConfig:
    """Validate merged values; ``faults`` are errors found earlier."""
    faults = [*faults, *_settings_faults(values)]
    try:
        config = _validated(values)
    except ValidationError as error:
        raise ConfigError(dict.fromkeys([*faults, *_described(error)])) from error
    if not config.suites and not config.tasks:
        faults.append("tasks: none given; name a suite or a task")
    sources = ", ".join(config.sources)
    if len(set(config.sources)) < len(config.sources):
        faults.append(f"sources: a task is named twice (given: {sources})")
    for task in sorted(config.source_prompts.keys() - set(config.sources)):
        faults.append(f"source_prompts: {task} is none of the sources ({sources})")
    faults += [f"source_settings: {fault}" for fault in _faults(config.source_spec)]
    for method in config.method_options:
        faults += _faults(config.target_training, method, True)
        faults += _faults(config.stage_training, method)
    for suite in config.suite_options:
        new = [fault for fault in _faults(config.for_suites, suite) if fault not in faults]
        faults += [f"suite_options.{suite}: {fault}" for fault in new]
    if faults:
        raise ConfigError(dict.fromkeys(faults))
    return config


def _faults(check: Callable[..., object], *arguments: object) -> Sequence[str]:
    try:
        check(*arguments)
    except ConfigError as error:
        return error.faults
    return ()


def _validated(values: Mapping[str, Any]) -> RunConfig:
    """Build a RunConfig from merged values; ``source_training`` inherits from ``training``."""
    base, stage = values.get("training"), values.get("source_training")
    if isinstance(base, Mapping) and isinstance(stage, Mapping):
        # Setting one key of a pair clears the other.
        cleared = [key for pair in EXCLUSIVE if stage.keys() & set(pair) for key in pair]
        values = {**values, "source_training": {**base, **dict.fromkeys(cleared), **stage}}
    return RunConfig.model_validate(values)


def _settings_faults(values: Mapping[str, Any]) -> Iterator[str]:
    """Faults in the settings of methods that run or have options, even if other keys are wrong."""
    methods, options = values.get("methods"), _mapping(values.get("method_options"))
    methods = [*map(str, methods)] if isinstance(methods, list | tuple) else []
    names = {method.partition(":")[0] for method in methods}
    for method in [*methods, *(name for name in options if name not in names)]:
        method_options = _mapping(options.get(str(method).partition(":")[0]))
        yield from _faults(parse_method, str(method), _mapping(method_options.get("settings")))
    for name in (name for name in map(str, options) if ":" in name):
        yield f"method_options.{name}: options hold for all variants: name {name.partition(':')[0]}"


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _changes(config: RunConfig, preset: RunConfig) -> str:
    """Validated protocol values that differ from those of the preset."""
    actual, expected = _protocol(config), _protocol(preset)
    for name in TrainingSettings.model_fields.keys() - {"steps", "epochs"}:
        # Values inherited in the preset are changes only if they no longer equal ``training``.
        if expected[f"source_training.{name}"] == expected[f"training.{name}"]:
            expected[f"source_training.{name}"] = actual[f"training.{name}"]
    changes = [item for item in actual.items() if item not in expected.items()]
    return ", ".join(sorted(f"{key}={value}" for key, value in changes))


def _protocol(config: RunConfig) -> dict[str, Any]:
    """Values that determine how runs are trained and scored, by dotted key."""
    values = config.model_dump(mode="json", exclude={"preset", "suite_options", *GRID_KEYS})
    for name, options in values["method_options"].items():
        checked = {
            "settings": config.method_spec(name).values(),
            "training": config.target_training(name).model_dump(),
            "few_shot_training": config.target_training(name, few_shot=True).model_dump(),
            "source_training": config.stage_training(name).model_dump(),
        }
        for part, changes in options.items():
            options[part] = {key: checked[part][key] for key in changes}
    settings = config.source_spec().values()
    values["source_settings"] = {key: settings[key] for key in config.source_settings}
    protocol = dict(_flat("", values))
    for suite, changes in config.suite_options.items():
        changed = _protocol(config.for_suites(suite))
        protocol |= {f"suite_options.{suite}.{key}": changed[key] for key, _ in _flat("", changes)}
    return protocol


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), part)
    else:
        yield prefix, value


def _described(error: ValidationError, prefix: tuple[str, ...] = ()) -> Iterator[str]:
    """One line per fault: where, what is wrong, what was given."""
    faults = error.errors(include_url=False)
    locations = {fault["loc"] for fault in faults}
    for fault in faults:
        location = fault["loc"]
        if fault["type"] == "too_short" and any(location == other[:-1] for other in locations):
            continue  # A list is too short only because its items are faulty.
        if location[:1] == ("source_training",) and ("training", *location[1:]) in locations:
            continue  # Inherited; reported for ``training``.
        *parents, key = [*prefix, *map(str, location)]
        path = ".".join([*parents, key])
        cause = fault.get("ctx", {}).get("error")
        if fault["type"] == "extra_forbidden":
            models: dict[int, type[BaseModel]] = {0: RunConfig, 2: MethodOptions}
            fields = models.get(len(parents), TrainingSettings).model_fields
            choices = {".".join([*parents, field]) for field in fields}
            choices |= {f"training.{field}" for field in TrainingSettings.model_fields}
            hint = where_set(key)
            unknown = UnknownNameError("key", path, choices)
            yield f"unknown key {path!r}: {hint}" if hint else str(unknown)
        elif isinstance(cause, UnknownNameError):
            yield str(cause)
        else:
            yield f"{path}: {plain_fault(fault)}"


def _merged(base: Mapping[str, Any], changes: Mapping[Any, Any]) -> dict[str, Any]:
    """``changes`` over ``base``, nested mappings key by key; changed keys come last."""
    merged = {key: value for key, value in base.items() if key not in changes} | dict(changes)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            merged[key] = _merged(base[key], value)
    return merged


def _parse_item(item: str) -> dict[str, Any]:
    """``a.b=value`` as nested mapping; the value is read as YAML."""
    path, equals, text = item.partition("=")
    if not equals or not all(path.split(".")):
        raise ConfigError(f"--set {item}: expected key=value, such as training.steps=100")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"--set {item}: the value is no valid YAML") from error
    return reduce(lambda inner, key: {key: inner}, reversed(path.split(".")), value)
