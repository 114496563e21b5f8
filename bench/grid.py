"""Builds all runs of a configuration in dependency order; shared prompts are trained once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import chain, product
from typing import Literal

from bench import provenance
from bench.config import RunConfig, TrainingSettings
from bench.data import open_source
from bench.errors import PromptError, UnknownNameError
from bench.files import home_path
from bench.models.loading import UNCHECKED, describe
from bench.record import DataBlock, Record, RunBlock, SourceBlock, VersionsBlock
from bench.registry import MethodSpec
from bench.store import ResultStore, StoredPrompt
from bench.tasks import get_task

# Configuration keys with equal values in all runs.
COMMON: tuple[str, ...] = ("data_seed", "prompt_length", "input_length", "precision")
COMMON += ("validation_rows", "train_rows", "test_rows")
SOURCE_STAGE = "sources"  # Task name of a multi-task source stage; a mixture of PT is named `a+b`.
Overwrite = Literal["never", "failed", "always"]


@dataclass(frozen=True)
class Start:
    """Prompts that a run starts from; fields as in :class:`~bench.method.StartPrompts`.

    Each prompt is trained by a run, or given: a :class:`~bench.store.StoredPrompt` from the store
    or a file.
    """

    sources: tuple[Run | StoredPrompt, ...] = ()
    target: Run | None = None
    source_stage: Run | None = None
    stored: StoredPrompt | None = None
    tries: tuple[Run, ...] = ()  # Candidates; the best on validation is scored.

    def __iter__(self) -> Iterator[Run | StoredPrompt]:
        yield from (*self.sources, *self.tries)
        yield from filter(None, (self.target, self.source_stage, self.stored))


@dataclass(frozen=True, eq=False)
class Run:
    """One training and its evaluation."""

    protocol: RunBlock  # Determines the result; model.parameters is 0 here.
    method: MethodSpec
    training: TrainingSettings
    tasks: tuple[str, ...]  # Tasks whose rows are trained on.
    start: Start = field(default=Start(), repr=False)

    @cached_property
    def prompt_id(self) -> str:
        """Digest of all that determines the prompt; names its prompt, checkpoint and lock files."""
        protocol = self.protocol
        left_out = {"label", "preset", "model", "data", "test_rows"}
        if protocol.train_rows is None or protocol.shots:  # Few-shot samples do not depend on it.
            left_out.add("train_rows")
        text = protocol.model_dump_json(exclude=left_out)
        return _digest(protocol.model.digest, protocol.data.fingerprint, text)

    @cached_property
    def id(self) -> str:
        """Id of the record: digest of the prompt's id, the preset and the limit of test rows."""
        limit = self.protocol.test_rows
        return _digest(self.prompt_id, self.protocol.preset, *([str(limit)] if limit else []))

    @property
    def task(self) -> str:
        """Target task; ``sources`` or ``a+b`` in a multi-task source stage."""
        return self.protocol.task

    @property
    def shots(self) -> int | None:
        """Training examples in total; None: all."""
        return self.protocol.shots

    @property
    def seed(self) -> int:
        """Seed of initial prompt, few-shot sample, row order and dropout."""
        return self.protocol.seed

    @property
    def prompt_length(self) -> int:
        """Number of prompt tokens in front of an input."""
        if self.start.stored is not None:
            return len(self.start.stored.matrix)
        return self.protocol.prompt_length if self.method.load().trained else 0

    @property
    def is_source_stage(self) -> bool:
        """Whether the run is a joint training on several source tasks."""
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
        """One-line summary: task, label, shots, seed."""
        return self.protocol.describe()

    def sources(self) -> list[SourceBlock]:
        """Source prompts of the run, including those of its source stage and tries."""
        needs, runs = [*self.start.sources], [*self.start.tries]
        if (stage := self.start.source_stage) is not None:
            runs.append(stage)
            if not stage.start.sources:  # A mixture of PT.
                needs.append(stage)
        blocks = [
            SourceBlock(task=need.task, prompt=need.prompt_id, given=isinstance(need, StoredPrompt))
            for need in needs
        ]
        return [*dict.fromkeys(chain(blocks, *(run.sources() for run in runs)))]


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run.

    ``found``: finished by another process; ``locked``: in progress in another process; ``stopped``:
    by a signal; ``error``: the whole grid must stop.
    """

    state: Literal["finished", "failed", "found", "locked", "stopped", "error"]
    text: str = ""  # Score, or reason of the failure.


@dataclass(frozen=True)
class Grid:
    """All runs of a configuration, with their state in a result folder."""

    config: RunConfig
    runs: dict[str, Run]  # All runs by prompt id, in dependency order.
    reported: dict[str, Run]  # Runs that are scored on test and recorded.
    records: dict[str, Record]  # Existing records to keep, by prompt id.
    todo: tuple[Run, ...]  # Remaining runs in dependency order, with those for prompts.
    to_replace: frozenset[str]  # Seals of records and stored prompts to replace.

    @property
    def ids(self) -> set[str]:
        """Ids of the records of the grid."""
        return {run.id for run in self.reported.values()}

    @property
    def to_run(self) -> int:
        """Number of reported runs still to execute."""
        return len(self.reported) - len(self.records)


def make_grid(
    config: RunConfig, store: ResultStore, overwrite: Overwrite = "never", offline: bool = False
) -> Grid:
    """Build all runs of a configuration; reads no rows and loads no weights.

    ``overwrite`` says which recorded runs are repeated; for ``offline`` see
    :func:`bench.models.loading.describe`. Raises BenchError if model or data cannot be found or a
    given prompt cannot be used.
    """
    maker = _GridMaker(config, store, offline)
    seal_of = cache(store.seal)  # None for runs with tries, which store no prompt.
    reported = maker.reported()
    records: dict[str, Record] = {}
    to_replace: set[str] = set()
    for prompt_id, run in reported.items():
        record = store.find(run)
        if record and overwrite in ("always", record.status):
            to_replace.add(record.seal)
        elif record:
            records[prompt_id] = record
        if overwrite == "always":
            to_replace.update(filter(None, map(seal_of, (run, *run.start.tries))))
    needed, missing = reported.keys() - records.keys(), {None, *to_replace}
    for run in reversed(maker.runs.values()):
        if run.prompt_id not in needed:
            continue
        # Scoring an instance-dependent prompt needs the prompts it starts from.
        dependent = run.method.load().instance_dependent
        for candidate in (run, *run.start.tries):
            if dependent or seal_of(candidate) in missing:
                needs = (need for need in candidate.start if isinstance(need, Run))
                needed |= {need.prompt_id for need in needs if seal_of(need) in missing}
    todo = tuple(run for run in maker.runs.values() if run.prompt_id in needed)
    return Grid(config, maker.runs, reported, records, todo, frozenset(to_replace))


class _GridMaker:
    """Builds runs; equal runs are one object, so that ids are computed once."""

    def __init__(self, config: RunConfig, store: ResultStore, offline: bool) -> None:
        self.runs: dict[str, Run] = {}
        self.config, self._store = config, store
        self._source = open_source(config.data)
        self._model = describe(config.model, offline)
        self._pt = config.source_spec()
        self._add = cache(self._make_run)
        self._settings = cache(lambda spec: dict(sorted(spec.values().items())))
        self._config_for = cache(config.for_task)  # Suites may change settings.
        self._spec = cache(lambda task, method: self._config_for(task).method_spec(method))
        self._training = cache(lambda task, *name: self._config_for(task).target_training(*name))
        self._data = cache(self._data_block)
        self._fingerprint = cache(lambda task: self._source.fingerprint(get_task(task)))
        self._find = cache(self._find_given)
        self._given: dict[str, StoredPrompt] = {}
        self._preset = config.preset
        for task in config.sources:
            if text := config.source_prompts.get(task):
                prompt = self._given[task] = self._find(text, task)
                separator = "," if " with " in self._preset else " with"
                self._preset += f"{separator} source_prompts.{task}={prompt.prompt_id[:12]}"

    def reported(self) -> dict[str, Run]:
        """Build the runs of all tasks, methods, shots and seeds, with the runs they need."""
        config, runs = self.config, []
        grid = product(config.seeds, config.task_names(), config.shots, config.methods)
        for seed, task, shots, method in dict.fromkeys(grid):
            spec = self._spec(task, method)
            runs.append(self._target(spec, task, None if shots == "full" else shots, seed))
        return {run.prompt_id: run for run in runs}

    def _target(self, spec: MethodSpec, task: str, shots: int | None, seed: int) -> Run:
        config, few_shot = self._config_for(task), shots is not None
        if spec.tries:
            tries = tuple(self._target(candidate, task, shots, seed) for candidate in spec.tries)
            training = self._training(task, spec.name, few_shot)
            return self._add(spec, task, shots, seed, training, Start(tries=tries))
        method, target, source_stage = spec.load(), None, None
        sources: tuple[Run | StoredPrompt, ...] = ()
        needs = method.needs(spec.settings)
        for name in needs.named_sources:
            if name not in config.sources:
                raise UnknownNameError(f"source task of {spec.label}", name, config.sources)
        if not method.trained:  # One run for all shots and seeds.
            shots, seed, few_shot = None, 0, False
        if needs.sources or needs.source_stage:
            sources = tuple(
                self._given.get(source)
                or self._add(self._pt, source, None, seed, self.config.source_training)
                for source in config.sources
                if source in (needs.named_sources or config.sources)
            )
        if needs.target:
            training = self._training(task, "pt", few_shot)
            target = self._add(self._spec(task, "pt"), task, shots, seed, training)
        if needs.source_stage:
            training, defaults = config.stage_training(spec.name), method.Settings()
            unread = {key: getattr(defaults, key) for key in method.target_settings}
            stage = replace(spec, settings=replace(spec.settings, **unread), label=spec.name)
            stage = spec if stage.settings == spec.settings else stage
            source_stage = self._add(stage, SOURCE_STAGE, None, seed, training, Start(sources))
        if needs.mixture:
            named = needs.named_sources or config.sources
            mixture = "+".join(source for source in config.sources if source in named)
            source_stage = self._add(self._pt, mixture, None, seed, config.stage_training("pt"))
        stored = None if needs.stored is None else self._find(needs.stored)
        start = Start(sources if needs.sources else (), target, source_stage, stored)
        unknown = [t for t, prompt in self._given.items() if prompt.initial_digest is None]
        if needs.same_initial and unknown:
            raise PromptError(
                f"source_prompts.{unknown[0]} was trained from an unknown initial prompt, but "
                f"{spec.label} needs the difference to it: import it again with --initial or --seed"
            )
        return self._add(spec, task, shots, seed, self._training(task, spec.name, few_shot), start)

    def _make_run(
        self,
        spec: MethodSpec,
        task: str,
        shots: int | None,
        seed: int,
        training: TrainingSettings,
        start: Start = Start(),
    ) -> Run:
        names = self.config.sources if task == SOURCE_STAGE else tuple(task.split("+"))
        first, *more = (get_task(name).version for name in names)
        versions = VersionsBlock(
            results=provenance.RESULTS_VERSION,
            method=spec.load().version,
            task=".".join(map(str, (first, *more))) if more else first,
        )
        protocol = RunBlock(
            task=task,
            method=spec.name,
            label=spec.label,
            settings=self._settings(spec),
            shots=shots,
            seed=seed,
            preset=self._preset,
            model=self._model,
            data=self._data(names),
            training=training.model_dump(mode="json"),
            versions=versions,
            needs=[need.prompt_id for need in start],
            **{key: getattr(self.config, key) for key in COMMON},
        )
        run = Run(protocol, spec, training, names, start)
        return self.runs.setdefault(run.prompt_id, run)

    def _data_block(self, names: tuple[str, ...]) -> DataBlock:
        source = self._source.of(get_task(names[0])) if len(names) == 1 else self._source
        return DataBlock(
            kind=source.kind,
            name=source.name,
            fingerprint="+".join(map(self._fingerprint, names)),
            revision=source.revision(get_task(names[0])) if len(names) == 1 else None,
        )

    def _find_given(self, text: str, task: str | None = None) -> StoredPrompt:
        """Load a prompt from the store or a file; checks its model, length and source task."""
        path = home_path(text)
        if path.exists():
            from bench.interop import read_given

            stored = read_given(path, self._model, task or SOURCE_STAGE)
        else:
            stored = self._store.load_prompt(text)
        run, length, model = stored.record.run, len(stored.matrix), self._model
        expected = self.config.prompt_length
        subject = f"prompt {text}" if task is None else f"source_prompts.{task}: prompt {text}"
        if model.note != UNCHECKED and run.model.digest != model.digest:
            reason = f"belongs to another model than {model.name}: train or import it for that"
            raise PromptError(f"{subject} {reason}")
        if task not in (None, run.task):
            raise PromptError(f"{subject} is of task {run.task}: name it for that one")
        if task is not None and length != expected:
            reason = f"has {length} tokens, the run {expected}: set prompt_length={length}"
            raise PromptError(f"{subject} {reason}")
        return stored


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
