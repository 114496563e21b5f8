"""What a run is: presets, configuration files and options merged into one checked RunConfig.

Later sources win: preset, ``--config`` file, command-line options, ``--set`` items. All faults are
reported together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Ge, Len
from pydantic import ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.config_values import (
    inherited,
    label,
    merge,
    parse_item,
    read_preset,
    read_yaml,
    special_architectures,
)
from bench.devices import usable_device
from bench.errors import ConfigError, UnknownNameError
from bench.models.info import Precision
from bench.registry import MethodSpec, method_entry, parse_method
from bench.tasks import SUITES, get_suite, get_task
from bench.training.settings import TrainingSettings

DIGEST_PREFIX = r"^[0-9a-f]{4,64}$"
"""How a stored prompt is named: by its digest, or by enough of its beginning."""

STRICT = ConfigDict(extra="forbid")


def _shots(value: object) -> object:
    if value == "full" or (type(value) is int and value >= 1):
        return value
    raise ValueError("expected a whole number of at least 1, or 'full'")


Shots = Annotated[int | Literal["full"], PlainValidator(_shots)]
"""Size of a few-shot sample, or the full training data."""

DigestPrefix = Annotated[str, Field(pattern=DIGEST_PREFIX)]


@dataclass(frozen=True, config=STRICT)
class MethodOptions:
    """What a configuration says of one method.

    Attributes:
        settings: fields of the method's ``Settings``, such as learning rates.
        training: changes to the run's ``training`` for this method's targets.
        few_shot_training: further changes for targets with few shots.
        source_training: changes to ``source_training`` for its multi-task source stage.
    """

    settings: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    few_shot_training: dict[str, Any] = Field(default_factory=dict)
    source_training: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class RunConfig:
    """One run: the grid of tasks, methods, shots and seeds, and how each cell is trained.

    Attributes:
        preset: name of the preset, with what was changed of its protocol.
        model: bundled name, local folder, or hub id (``id`` or ``id@revision``).
        tokenizer: folder or hub id of another tokenizer than the model's own; None: its own.
        data: ``bundled``, ``hub``, or a folder of parquet files.
        suites: suites to run; their tasks come before ``tasks``.
        tasks: single tasks to run.
        methods: ``name`` or ``name:key=value,...`` for a variant.
        shots: training examples in total per task, or ``full``.
        seeds: each gives its own initial prompt, few-shot sample, order and dropout.
        data_seed: shuffles rows into validation and test; the same for all seeds.
        prompt_length: ``r``, tokens of the soft prompt.
        input_length: cap on the tasks' own input lengths, in tokens; None: no cap.
        validation_rows: rows to validate on, the first of the split; of generation tasks, all rows
            of their inputs; None: all.
        sources: source tasks of the transfer methods, in this order.
        source_prompts: stored prompts, by source task, that are used instead of training one; each
            by its digest or the beginning of it.
        precision: of the frozen weights, ``float32`` or ``bf16``; prompts are float32.
        device: where to run, as torch names it; ``auto`` takes a GPU if there is one.
        training: how a prompt is trained on a target.
        source_training: how the source prompts are.
        method_options: changes by method name.
    """

    preset: str
    model: str
    data: str
    methods: Annotated[tuple[str, ...], Len(1)]
    shots: Annotated[tuple[Shots, ...], Len(1)]
    seeds: Annotated[tuple[Annotated[int, Ge(0)], ...], Len(1)]
    data_seed: Annotated[int, Ge(0)]
    prompt_length: Annotated[int, Ge(1)]
    input_length: Annotated[int, Ge(8)] | None
    validation_rows: Annotated[int, Ge(1)] | None
    training: TrainingSettings
    source_training: TrainingSettings
    tokenizer: str | None = None
    suites: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    sources: Annotated[tuple[str, ...], Len(1)] = SUITES["sources"]
    source_prompts: dict[str, DigestPrefix] = Field(default_factory=dict)
    precision: Precision = "float32"
    device: str = "auto"
    method_options: dict[str, MethodOptions] = Field(default_factory=dict)

    def task_names(self) -> tuple[str, ...]:
        """The tasks of the suites and then the single ones, each once."""
        named = [task for suite in self.suites for task in get_suite(suite)]
        return tuple(dict.fromkeys([*named, *self.tasks]))

    def torch_device(self) -> str:
        """The device, or what ``auto`` stands for on this machine.

        Raises:
            ConfigError: this machine has no such device.
        """
        return usable_device(self.device)

    def method_spec(self, method: str) -> MethodSpec:
        """A method, given as ``name`` or ``name:key=value,...``, with this run's settings."""
        return parse_method(method, self._options(method).settings)

    def target_training(self, method: str, few_shot: bool = False) -> TrainingSettings:
        """How a method is trained on a target, with all its data or with few shots."""
        name = method.partition(":")[0]
        options = self._options(name)
        place = f"method_options.{name}"
        settings = _changed(self.training, options.training, f"{place}.training")
        if not few_shot:
            return settings
        return _changed(settings, options.few_shot_training, f"{place}.few_shot_training")

    def stage_training(self, method: str) -> TrainingSettings:
        """How a method's multi-task source stage is trained; its rows are drawn at random.

        Raises:
            ConfigError: its own changes do not fit.
        """
        name = method.partition(":")[0]
        changes = self._options(name).source_training
        place = f"method_options.{name}.source_training"
        if changes.get("batching", "random") != "random":
            raise ConfigError(
                f"{place}.batching: a source stage draws its rows with replacement, so there are "
                "no epochs to put into buckets; leave it out"
            )
        # Source prompts may be trained with buckets: what is said of them all includes these.
        return _changed(replace(self.source_training, batching="random"), changes, place)

    def with_source_prompts(self, digests: Mapping[str, str]) -> RunConfig:
        """The same run with full digests of the given source prompts, which ``preset`` then tells.

        Tables never mix presets, and so no results from trained and from given source prompts.
        """
        if not digests:
            return self
        changes = ", ".join(f"source_prompts.{task}={d[:12]}" for task, d in digests.items())
        joint = ", " if " with " in self.preset else " with "
        return replace(self, source_prompts=dict(digests), preset=self.preset + joint + changes)

    def _options(self, method: str) -> MethodOptions:
        return self.method_options.get(method.partition(":")[0], MethodOptions())


def load_config(
    preset: str = "smoke",
    file: Path | None = None,
    options: Mapping[str, Any] | None = None,
    items: Iterable[str] = (),
) -> RunConfig:
    """Merge preset, file, options and ``key=value`` items, and check the result.

    A preset may have other values for models of another architecture than its own model's; then
    the configuration of a model that is given in its place is read.

    Raises:
        ConfigError: with every fault found, each named by its place.
        ModelError: the model's configuration is wanted, but cannot be read.
    """
    faults: list[str] = []
    given: dict[str, Any] = {} if file is None else read_yaml(file)
    merge(given, options or {})
    for item in items:
        try:
            merge(given, parse_item(item))
        except ConfigError as error:
            faults.extend(error.faults)
    architecture = _special_architecture(preset, given.get("model"))
    values = read_preset(preset, architecture)
    merge(values, given)
    if "preset" in values:
        faults.append(f"preset: choose it by --preset (given: {values['preset']!r})")
    return _checked({**values, "preset": label(preset, values, architecture)}, faults)


def _special_architecture(preset: str, model: object) -> str | None:
    """The architecture of a given model if the preset has values for it; else None."""
    special = special_architectures(preset)
    if not special or not isinstance(model, str) or model == read_preset(preset)["model"]:
        return None
    from bench.models.loading import architecture_of

    architecture = architecture_of(model)
    return architecture if architecture in special else None


def dump_config(config: RunConfig) -> str:
    """The configuration as YAML that ``--config`` takes."""
    values = plain_config(config)
    del values["preset"]
    plain: str = yaml.safe_dump(values, sort_keys=False)
    return plain


def plain_config(config: RunConfig) -> dict[str, Any]:
    """All of a configuration as plain values, for :func:`restore_config`."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return values


def restore_config(values: Mapping[str, Any], changes: Mapping[str, Any]) -> RunConfig:
    """A configuration from :func:`plain_config`, with some values changed.

    Raises:
        ConfigError: with every fault found; names may be unknown here.
    """
    return _checked({**values, **changes}, [])


def _checked(values: dict[str, Any], faults: list[str]) -> RunConfig:
    """Validate merged values; ``faults`` holds what was found before."""
    taken_over = inherited(values)
    if taken_over:
        values = {**values, "source_training": {**taken_over, **values["source_training"]}}
    faults = [*faults, *_name_faults(values), *_setting_faults(values)]
    try:
        config = TypeAdapter(RunConfig).validate_python(values)
    except ValidationError as error:
        raise ConfigError([*faults, *_describe(error, "", taken_over)]) from error
    if not config.suites and not config.tasks:
        faults.append("tasks: none given; name a suite or a task")
    if len(set(config.sources)) < len(config.sources):
        faults.append(f"sources: a task is named twice (given: {', '.join(config.sources)})")
    faults += [
        f"source_prompts: {task} is none of the sources ({', '.join(config.sources)})"
        for task in config.source_prompts
        if task not in config.sources
    ]
    faults += _option_faults(config)
    if faults:
        raise ConfigError(faults)
    return config


def _name_faults(values: Mapping[str, Any]) -> list[str]:
    """Unknown names; found even where other parts of the configuration are faulty."""
    look_ups: dict[str, Callable[[str], object]] = {
        "suites": get_suite,
        "tasks": get_task,
        "sources": get_task,
        "methods": method_entry,
        "method_options": method_entry,
    }
    faults = []
    for key, look_up in look_ups.items():
        names = values.get(key)
        for name in names if isinstance(names, list | tuple | dict) else ():
            try:
                look_up(str(name))
            except UnknownNameError as error:
                faults.append(str(error))
    return faults


def _option_faults(config: RunConfig) -> list[str]:
    """Faults in the training changes of single methods."""
    faults: list[str] = []
    for method in config.method_options:
        try:
            config.target_training(method, few_shot=True)
        except ConfigError as error:
            faults.extend(error.faults)
        try:
            config.stage_training(method)
        except ConfigError as error:
            faults.extend(error.faults)
    return list(dict.fromkeys(faults))


def _setting_faults(values: Mapping[str, Any]) -> list[str]:
    """Faults in the methods' own settings, whether the methods run or only have options."""
    listed, options = values.get("methods"), values.get("method_options")
    methods = [str(method) for method in listed] if isinstance(listed, list | tuple) else []
    options = options if isinstance(options, Mapping) else {}
    used = {method.partition(":")[0] for method in methods}
    faults: list[str] = []
    for method in [*methods, *(str(name) for name in options if name not in used)]:
        given = options.get(method.partition(":")[0])
        settings = given.get("settings") if isinstance(given, Mapping) else None
        settings = settings if isinstance(settings, Mapping) else {}
        settings = {key: value for key, value in settings.items() if isinstance(key, str)}
        try:
            parse_method(method, settings)
        except UnknownNameError:
            continue  # Found by its name already.
        except ConfigError as error:
            faults.extend(error.faults)
    return list(dict.fromkeys(faults))


def _changed(base: TrainingSettings, changes: Mapping[str, Any], place: str) -> TrainingSettings:
    try:
        return TypeAdapter(TrainingSettings).validate_python({**asdict(base), **changes})
    except ValidationError as error:
        raise ConfigError(_describe(error, place)) from error


def _describe(error: ValidationError, place: str, inherited: Collection[str] = ()) -> list[str]:
    """One line per fault: where, what is wrong, what was given.

    Keys of ``source_training`` that are ``inherited`` from ``training`` are told of there.
    """
    lines = []
    faults = error.errors(include_url=False)
    for fault in faults:
        inside = len(fault["loc"])
        if fault["type"] == "too_short" and any(
            other["loc"][:inside] == fault["loc"] and other is not fault for other in faults
        ):
            continue  # A list is too short only because its items are faulty.
        if fault["loc"][:1] == ("source_training",) and set(fault["loc"][1:]) & set(inherited):
            continue
        parts = [str(part) for part in fault["loc"]]
        where = ".".join([place, *parts] if place else parts) or "configuration"
        message = fault["msg"].removeprefix("Value error, ")
        given = "" if isinstance(fault["input"], Mapping) else f" (given: {fault['input']!r})"
        lines.append(f"{where}: {message[:1].lower()}{message[1:]}{given}")
    return lines
