"""From a configuration to all runs in dependency order; a prompt that several need is one run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.config import RunConfig, TrainingSettings
from bench.data import open_source
from bench.errors import InitialPromptMismatchError, PromptError, UnknownNameError
from bench.models.loading import describe
from bench.record import DataBlock, ModelBlock, Record, RunBlock, SourceBlock, VersionsBlock
from bench.registry import MethodSpec
from bench.store import ResultStore, StoredPrompt
from bench.tasks import get_task

if TYPE_CHECKING:
    from bench.method import Needs

SOURCE_STAGE = "sources"
"""Stands in for the task of a method's own multi-task source stage; a mixture is ``a+b``."""

Overwrite = Literal["never", "failed", "always"]


@dataclass(frozen=True, eq=False)
class GivenPrompt:
    """A stored prompt, or one in a file, that is used as it is."""

    task: str  # The source task it stands for.
    stored: StoredPrompt = field(repr=False)

    @property
    def prompt_id(self) -> str:
        """Its id in the store; for a file, its digest."""
        return self.stored.record.id


@dataclass(frozen=True)
class Start:
    """The prompts a run starts from; fields as in :class:`~bench.method.Ingredients`."""

    sources: tuple[Run | GivenPrompt, ...] = ()
    target: Run | None = None
    shared: Run | None = None
    stored: GivenPrompt | None = None
    tries: tuple[Run, ...] = ()  # The run is that of them which is best on validation.

    def __iter__(self) -> Iterator[Run | GivenPrompt]:
        yield from (*self.sources, *self.tries)
        yield from (need for need in (self.target, self.shared, self.stored) if need is not None)


@dataclass(frozen=True, eq=False)
class Run:
    """One training with its evaluation."""

    protocol: RunBlock  # All that decides its result, as recorded; model.parameters is 0 here.
    method: MethodSpec
    training: TrainingSettings
    start: Start = field(default=Start(), repr=False)

    @cached_property
    def prompt_id(self) -> str:
        """Digest of everything that decides the prompt; names prompt, checkpoint and lock."""
        protocol = self.protocol
        left_out = {"label", "preset", "model", "data"}
        text = protocol.model_dump_json(exclude=left_out)
        return _digest(protocol.model.digest, protocol.data.fingerprint, text)

    @cached_property
    def id(self) -> str:
        """Names the record: digest of the prompt's id and the preset the run is reported under."""
        return _digest(self.prompt_id, self.protocol.preset)

    @property
    def task(self) -> str:
        """Target task, or what stands in for it in a source stage."""
        return self.protocol.task

    @property
    def tasks(self) -> list[str]:
        """The tasks whose rows it trains on."""
        taught = [need.task for need in self.start.sources]
        return taught if self.task == SOURCE_STAGE else self.task.split("+")

    @property
    def shots(self) -> int | None:
        """Training examples in total; None: all."""
        return self.protocol.shots

    @property
    def seed(self) -> int:
        """Of the initial prompt, the few-shot sample, order and dropout."""
        return self.protocol.seed

    @property
    def is_source_stage(self) -> bool:
        """Whether the run trains on several source tasks together."""
        return self.task == SOURCE_STAGE or "+" in self.task

    @property
    def name(self) -> str:
        """File name of the record, without suffix."""
        return f"{self.protocol.file_stem}-{self.id[:12]}"

    @property
    def prompt_name(self) -> str:
        """File name of prompt and checkpoint, without suffix."""
        return f"{self.protocol.file_stem}-{self.prompt_id[:12]}"

    def describe(self) -> str:
        """One short line: task, label, shots, seed."""
        return self.protocol.describe()

    def sources(self) -> list[SourceBlock]:
        """The source prompts behind the run, those of its source stage or tries included."""
        start, shared = self.start, self.start.shared
        mixture = () if shared is None or shared.start.sources else (shared,)
        found = [
            SourceBlock(task=need.task, prompt=need.prompt_id, given=isinstance(need, GivenPrompt))
            for need in (*start.sources, *mixture)
        ]
        behind = [run.sources() for run in (*start.tries, *((shared,) if shared else ()))]
        return [*dict.fromkeys([*found, *chain.from_iterable(behind)])]


@dataclass(frozen=True)
class Grid:
    """All runs of a configuration against a result folder."""

    config: RunConfig
    runs: dict[str, Run]  # Every run by its prompt's id, after the runs it needs.
    reported: dict[str, Run]  # Those that are scored on test and recorded.
    records: dict[str, Record]  # What is recorded of them and stays, by the id of the prompt.
    todo: tuple[Run, ...]  # What is left, prompts for others included, in dependency order.
    renewed: frozenset[str]  # Seals of the records and stored prompts that are to be replaced.

    @property
    def ids(self) -> set[str]:
        """Ids of the records of the grid."""
        return {run.id for run in self.reported.values()}

    @property
    def failed(self) -> list[Record]:
        """Records of failed runs that stay as they are."""
        return [record for record in self.records.values() if record.status == "failed"]

    @property
    def to_run(self) -> int:
        """Number of reported runs that are left."""
        return len(self.reported) - len(self.records)


def make_grid(config: RunConfig, store: ResultStore, overwrite: Overwrite = "never") -> Grid:
    """Lay out all runs of a configuration; reads no rows and loads no weights.

    ``overwrite`` says which recorded runs are repeated.

    Raises:
        BenchError: model or data cannot be found, or a given prompt cannot be used.
    """
    maker, seal_of = _GridMaker(config, store), cache(store.seal)  # A run of tries has no seal.
    reported = maker.reported()
    records: dict[str, Record] = {}
    renewed: set[str] = set()
    for prompt_id, run in reported.items():
        record = store.find(run)
        if record and overwrite in ("always", record.status):
            renewed.add(record.seal)
        elif record:
            records[prompt_id] = record
        if overwrite == "always":
            renewed |= {seal for each in (run, *run.start.tries) if (seal := seal_of(each))}
    wanted, missing = reported.keys() - records.keys(), {None, *renewed}
    for run in reversed(maker.runs.values()):
        if run.prompt_id not in wanted:
            continue
        # A prompt that depends on the input is put together from what it starts from.
        built = run.method.load().instance_dependent
        for each in (run, *run.start.tries):
            if built or seal_of(each) in missing:
                needed = (need for need in each.start if isinstance(need, Run))
                wanted |= {need.prompt_id for need in needed if seal_of(need) in missing}
    return Grid(
        config=config,
        runs=maker.runs,
        reported=reported,
        records=records,
        todo=tuple(run for run in maker.runs.values() if run.prompt_id in wanted),
        renewed=frozenset(renewed),
    )


class _GridMaker:
    """Makes the runs; equal runs are one object, so that ids are computed once."""

    def __init__(self, config: RunConfig, store: ResultStore) -> None:
        self.runs: dict[str, Run] = {}
        self.config = config
        self._store = store
        self._source = open_source(config.data)
        model = describe(config.model)
        self._model = ModelBlock(
            name=model.name,
            digest=model.digest,
            kind=model.architecture,
            bundled=model.bundled,
            parameters=0,
            note=model.note,
        )
        self._pt = config.method_spec("pt")
        self._add = cache(self._make_run)
        self._settings = cache(lambda spec: dict(sorted(spec.values().items())))
        # A suite may have values of its own.
        self._special = cache(config.for_task)
        self._spec = cache(lambda task, method: self._special(task).method_spec(method))
        self._training = cache(lambda task, *name: self._special(task).target_training(*name))
        self._needs = cache(self._checked_needs)
        self._versions = cache(self._version_block)
        self._data = cache(self._data_block)
        self._fingerprint = cache(lambda task: self._source.fingerprint(get_task(task)))
        self._sources = cache(self._source_prompts)
        self._find = cache(self._find_given)
        named = {task: config.source_prompts.get(task) for task in config.sources}
        self._given = {task: self._find(text, task) for task, text in named.items() if text}
        changes = [f"source_prompts.{t}={p.prompt_id[:12]}" for t, p in self._given.items()]
        first = ", " if " with " in config.preset else " with "
        self._preset = config.preset + (first + ", ".join(changes) if changes else "")

    def reported(self) -> dict[str, Run]:
        """Make the runs of all tasks, methods, shots and seeds, with all that they need."""
        config = self.config
        shots = [None if each == "full" else each for each in dict.fromkeys(config.shots)]
        seeds, methods = dict.fromkeys(config.seeds), dict.fromkeys(config.methods)
        grid = product(seeds, config.task_names(), shots, methods)
        runs = [self._target(self._spec(task, m), task, few, seed) for seed, task, few, m in grid]
        return {run.prompt_id: run for run in runs}

    def _target(self, spec: MethodSpec, task: str, shots: int | None, seed: int) -> Run:
        config, few = self._special(task), shots is not None
        if spec.tries:
            tries = tuple(self._target(each, task, shots, seed) for each in spec.tries)
            training = self._training(task, spec.name, few)
            return self._add(spec, task, shots, seed, training, Start(tries=tries))
        needs = self._needs(spec)
        if not spec.load().trained:  # One run for all shots and seeds.
            shots, seed, few = None, 0, False
        sources = self._sources(seed) if needs.sources or needs.shared else ()
        target = shared = None
        if needs.target:
            training = self._training(task, "pt", few)
            target = self._add(self._spec(task, "pt"), task, shots, seed, training)
        if needs.shared:
            settings, method = config.stage_training(spec.name), spec.load()
            usual = method.Settings()
            unread = {key: getattr(usual, key) for key in method.target_settings}
            own = replace(spec.settings, **unread)
            stage = spec if own == spec.settings else replace(spec, settings=own, label=spec.name)
            shared = self._add(stage, SOURCE_STAGE, None, seed, settings, Start(sources))
        if needs.mixture:
            named = set(needs.named_sources or config.sources)
            mixture = "+".join(source for source in config.sources if source in named)
            shared = self._add(self._pt, mixture, None, seed, self.config.stage_training("pt"))
        stored = None if needs.stored is None else self._find(needs.stored)
        start = Start(sources if needs.sources else (), target, shared, stored)
        unknown = [task for task, p in self._given.items() if p.stored.initial_digest is None]
        if needs.same_initial and unknown:
            raise InitialPromptMismatchError(
                f"source_prompts.{unknown[0]} was trained from an unknown initial prompt, but "
                f"{spec.label} needs the difference to it: import it again with --initial or --seed"
            )
        return self._add(spec, task, shots, seed, self._training(task, spec.name, few), start)

    def _checked_needs(self, spec: MethodSpec) -> Needs:
        needs, sources = spec.load().needs(spec.settings), self.config.sources
        for name in needs.named_sources:
            if name not in sources:
                raise UnknownNameError(f"source task of {spec.label}", name, sources)
        return needs

    def _tasks(self, task: str) -> tuple[str, ...]:
        return self.config.sources if task == SOURCE_STAGE else tuple(task.split("+"))

    def _version_block(self, spec: MethodSpec, task: str) -> VersionsBlock:
        from bench.provenance import RESULTS_VERSION

        versions = [get_task(name).version for name in self._tasks(task)]
        version = versions[0] if len(versions) == 1 else ".".join(map(str, versions))
        return VersionsBlock(results=RESULTS_VERSION, method=spec.version, task=version)

    def _source_prompts(self, seed: int) -> tuple[Run | GivenPrompt, ...]:
        settings = self.config.source_training
        return tuple(
            self._given.get(task) or self._add(self._pt, task, None, seed, settings)
            for task in self.config.sources
        )

    def _make_run(
        self,
        spec: MethodSpec,
        task: str,
        shots: int | None,
        seed: int,
        training: TrainingSettings,
        start: Start = Start(),
    ) -> Run:
        config = self.config
        protocol = RunBlock(
            task=task,
            method=spec.name,
            label=spec.label,
            settings=self._settings(spec),
            shots=shots,
            seed=seed,
            preset=self._preset,
            model=self._model,
            data=self._data(task),
            data_seed=config.data_seed,
            prompt_length=config.prompt_length,
            input_length=config.input_length,
            validation_rows=config.validation_rows,
            precision=config.precision,
            training=training.model_dump(mode="json"),
            versions=self._versions(spec, task),
            needs=[need.prompt_id for need in start],
        )
        run = Run(protocol, spec, training, start)
        return self.runs.setdefault(run.prompt_id, run)

    def _data_block(self, task: str) -> DataBlock:
        source, names = self._source, self._tasks(task)
        return DataBlock(
            kind=source.kind,
            name=source.name,
            fingerprint="+".join(map(self._fingerprint, names)),
            revision=source.revision(get_task(names[0])) if len(names) == 1 else None,
        )

    def _find_given(self, text: str, task: str | None = None) -> GivenPrompt:
        """A prompt of the store, or a file, that fits the model, length and source task."""
        path = Path(text).expanduser()
        if path.exists():
            from bench.interop import read_given

            stored = read_given(path, describe(self.config.model), task or SOURCE_STAGE)
        else:
            stored = self._store.load_prompt(text)
        run, length = stored.record.run, stored.matrix.shape[0]
        place = f"prompt {text}" if task is None else f"source_prompts.{task}: prompt {text}"
        fault, wanted = "", self.config.prompt_length
        if run.model.digest != self._model.digest:
            fault = f"belongs to another model than {self._model.name}: train or import it for that"
        elif task not in (None, run.task):
            fault = f"is of task {run.task}: name it for that one"
        elif task is not None and length != wanted:
            fault = f"has {length} tokens, the run {wanted}: set prompt_length={length}"
        if fault:
            raise PromptError(f"{place} {fault}")
        return GivenPrompt(run.task, stored)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
