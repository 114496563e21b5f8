"""From a configuration to a graph: the cells, and the prompts that must exist before each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bench.config import RunConfig
from bench.data import DataSource
from bench.data.rows import digest
from bench.errors import UnknownNameError
from bench.models.info import ModelInfo
from bench.protocol import Needs
from bench.registry import MethodSpec
from bench.runs.cells import (
    SOURCE_STAGE,
    Cell,
    DataInfo,
    GivenPrompt,
    Required,
    Role,
    Setting,
    Training,
)
from bench.runs.code import method_digest
from bench.tasks import get_task, task_plugin
from bench.training.settings import TrainingSettings


@dataclass(frozen=True)
class Plan:
    """Cells in the order they run, and every training they rest on.

    Attributes:
        cells: one per task, method, shots and seed.
        trainings: each once, by digest, requirements before what needs them.
        roles: what each training gives, by digest: a prompt that others start from, or only the
            prompt of its own cell.
        given: the prompts that stand in for source prompts, as far as a cell starts from them.
    """

    cells: tuple[Cell, ...]
    trainings: dict[str, Training]
    roles: dict[str, Role]
    given: tuple[GivenPrompt, ...] = ()


def make_plan(
    config: RunConfig,
    model: ModelInfo,
    source: DataSource,
    given: Mapping[str, GivenPrompt] = MappingProxyType({}),
) -> Plan:
    """Lay out all cells of a configuration; a prompt that several need is planned once.

    Args:
        config: what to run.
        model: the frozen language model.
        source: where rows come from.
        given: prompts that take the place of trained ones, by source task.
    """
    return _Planner(config, model, source, given).plan()


def task_data(source: DataSource, task: str) -> DataInfo:
    """What identifies the rows of a task; cheap, no pass over them.

    Raises:
        ConfigError: there is no such task.
        DataError: the source does not have it.
    """
    entry = get_task(task)
    fingerprint, revision = source.fingerprint(entry), source.revision(entry)
    plugin = task_plugin(task)
    if plugin is not None:  # What it makes of the rows may change from day to day.
        fingerprint = digest(fingerprint, method_digest(plugin.module))
    return DataInfo(source.kind, source.name, fingerprint, revision)


class _Planner:
    """Builds the graph; equal trainings are one object, so digests are computed once."""

    def __init__(
        self,
        config: RunConfig,
        model: ModelInfo,
        source: DataSource,
        given: Mapping[str, GivenPrompt],
    ) -> None:
        self.config = config
        self.source = source
        self.given = given
        self.setting = Setting(
            model,
            config.data_seed,
            config.prompt_length,
            config.input_length,
            config.validation_rows,
            config.precision,
        )
        self.pt = config.method_spec("pt")
        self.trainings: dict[str, Training] = {}
        self.roles: dict[str, Role] = {}
        self.data: dict[str, DataInfo] = {}
        self.source_prompts: dict[int, tuple[Required, ...]] = {}

    def plan(self) -> Plan:
        cells: dict[str, Cell] = {}
        for cell in self._cells():
            cells.setdefault(cell.digest, cell)  # A method or seed may be named twice.
        started_from = {r for prompts in self.source_prompts.values() for r in prompts}
        given = tuple(prompt for prompt in self.given.values() if prompt in started_from)
        return Plan(tuple(cells.values()), self.trainings, self.roles, given)

    def _cells(self) -> Iterator[Cell]:
        config = self.config
        specs = [config.method_spec(method) for method in config.methods]
        needs = [self._needs(spec) for spec in specs]
        preset = config.preset
        for seed in config.seeds:
            for task in config.task_names():
                for shots in config.shots:
                    count = None if shots == "full" else shots
                    for spec, need in zip(specs, needs, strict=True):
                        yield Cell(self._target(spec, need, task, count, seed), preset)

    def _needs(self, spec: MethodSpec) -> Needs:
        needs = spec.load().needs(spec.settings)
        for name in needs.named_sources:
            if name not in self.config.sources:
                raise UnknownNameError(f"source task of {spec.label}", name, self.config.sources)
        return needs

    def _target(
        self, spec: MethodSpec, needs: Needs, task: str, shots: int | None, seed: int
    ) -> Training:
        requires: tuple[Required, ...] = ()
        if needs.sources:
            requires += self._sources(seed)
        if needs.target:
            settings = self.config.target_training("pt", few_shot=shots is not None)
            requires += (self._add(self.pt, task, shots, seed, settings, (), "target prompt"),)
        if needs.shared:
            settings = self.config.stage_training(spec.name)
            sources = self._sources(seed)
            requires += (
                self._add(spec, SOURCE_STAGE, None, seed, settings, sources, "shared prompt"),
            )
        settings = self.config.target_training(spec.name, few_shot=shots is not None)
        return self._add(spec, task, shots, seed, settings, requires, "cell")

    def _sources(self, seed: int) -> tuple[Required, ...]:
        if seed not in self.source_prompts:
            settings = self.config.source_training
            self.source_prompts[seed] = tuple(
                self.given.get(task)
                or self._add(self.pt, task, None, seed, settings, (), "source prompt")
                for task in self.config.sources
            )
        return self.source_prompts[seed]

    def _add(
        self,
        spec: MethodSpec,
        task: str,
        shots: int | None,
        seed: int,
        settings: TrainingSettings,
        requires: tuple[Required, ...],
        role: Role,
    ) -> Training:
        data = self._data(task, requires)
        training = Training(spec, task, data, shots, seed, settings, self.setting, requires)
        known = self.trainings.setdefault(training.digest, training)
        # A requested cell that others start from counts as the prompt it gives.
        if self.roles.get(training.digest, "cell") == "cell":
            self.roles[training.digest] = role
        return known

    def _data(self, task: str, requires: tuple[Required, ...] = ()) -> DataInfo:
        if task not in self.data:
            source = self.source
            if task == SOURCE_STAGE:
                joined = "+".join(self._data(required.task).fingerprint for required in requires)
                self.data[task] = DataInfo(source.kind, source.name, joined, None)
            else:
                self.data[task] = task_data(source, task)
        return self.data[task]
