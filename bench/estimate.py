"""What a grid will cost: steps, tokens, hours and disk, from records or short calibrations.

The seconds of batches are linear in two amounts: passes of the model (one for a training step, one
for each answer token) and positions (rows x padded tokens, prompt included).
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from bench.config import TrainingSettings
from bench.data import Examples, open_source
from bench.data.splits import TaskRows
from bench.errors import RecordError
from bench.executors import usable_cores
from bench.grid import SOURCE_STAGE, GivenPrompt, Grid, Run
from bench.method import SourceStage, tensor_digest
from bench.models.base import FrozenLM
from bench.models.loading import load, usable_device
from bench.provenance import provenance
from bench.record import HardwareBlock, Record, RunBlock, TrainingBlock, read_records
from bench.registry import method_entry
from bench.stages import Stages
from bench.store import MERGED, ResultStore, StoredPrompt
from bench.training.loop import adamw, backward
from bench.training.stopping import Stop

SAMPLE = 256  # Rows of a split that are read for their lengths.
STEPS = 5  # Timed steps of a calibration, after one that is not timed.
RECORD_BYTES = 12_000  # About the size of a record.
COLUMNS = ("runs", "prompts", "steps", "training_tokens", "evaluation_tokens", "seconds")
ANSWERS = "answers"  # Kind of work besides the steps of each method.

Amounts: TypeAlias = Any  # Array of passes, positions, and tokens of the texts.
Timings: TypeAlias = dict[str, list[tuple[Amounts, float]]]  # With seconds, by kind of work.


def amounts(pairs: Sequence[Sequence[int]], size: int, prompt: int, answers: bool) -> Amounts:
    """Amounts of examples in batches; ``pairs`` are the lengths of input and answer."""
    total = np.zeros(3)
    for start in range(0, len(pairs), size):
        rows = np.array(pairs[start : start + size])
        read, written = rows.max(axis=0)
        passes = written if answers else 1
        total += (passes, len(rows) * (prompt + read + written), rows.sum())
    return total


def fit(timings: Timings) -> Callable[[str], Amounts]:
    """Seconds per amount by kind, least squares of relative errors; of unknown kinds, the mean."""
    from scipy.optimize import nnls

    rates = {}
    for kind, pairs in timings.items():
        rows = np.array([[*found[:2], 0.0] / np.float64(seconds) for found, seconds in pairs])
        scale = rows.max(axis=0) + 1e-12
        rates[kind] = nnls(rows / scale, np.ones(len(rows)))[0] / scale
    steps = [found for kind, found in rates.items() if kind != ANSWERS]
    mean = np.mean(steps or [np.zeros(3)], axis=0)
    return lambda kind: rates.get(kind, mean)


def makespan(seconds: Mapping[str, float], needs: Mapping[str, list[str]], workers: int) -> float:
    """Seconds of the longest chain, or of all runs divided evenly; runs come after their needs."""
    ends = dict[str, float]()
    for key, own in seconds.items():
        ends[key] = own + max((ends.get(need, 0.0) for need in needs[key]), default=0.0)
    return max([sum(seconds.values()) / workers, *ends.values()])


class Rows:
    """Amounts of runs, from the first rows of each split."""

    def __init__(self, grid: Grid, model: FrozenLM) -> None:
        self._config = config = grid.config
        limits = config.input_length, config.validation_rows
        source = open_source(config.data)
        self.examples = Examples(source, model.encoder, config.data_seed, *limits)
        self._all = self.examples.rows
        self.examples.rows = cache(self._first)
        self._lengths = cache(self._read_lengths)

    def amounts(self, run: RunBlock) -> tuple[Amounts, Amounts, Amounts]:
        """Amounts of all steps of a run, all evaluations on validation, and that on test."""
        settings = TrainingSettings.model_validate(run.training)
        tasks = self._config.sources if run.task == SOURCE_STAGE else (run.task,)
        parts = [self._lengths(task, "train") for task in tasks]
        examples = run.shots or round(sum(len(pairs) * share for pairs, share in parts))
        mixed = [pair for row in zip(*(pairs for pairs, _ in parts), strict=False) for pair in row]
        size, steps = min(settings.batch_size, examples), settings.total_steps(examples)
        training = amounts(mixed, size, run.prompt_length, answers=False)
        evaluations = -(-steps // settings.evaluate_every)
        if not method_entry(run.method).load().trained:
            steps, evaluations = 0, 1

        def answered(task: str, split: str) -> Amounts:
            pairs, share = self._lengths(task, split)
            size = settings.evaluation_batch_size
            return share * amounts(sorted(pairs), size, run.prompt_length, answers=True)

        validation = evaluations * sum(answered(task, "validation") for task in tasks)
        test = np.zeros(3) if run.task == SOURCE_STAGE else answered(run.task, "test")
        return training * (steps / training[0]), validation, test

    def _first(self, task: str) -> TaskRows:
        rows = self._all(task)
        parts = (rows.train, rows.validation, rows.test)
        return TaskRows(*(part.select(range(min(SAMPLE, len(part)))) for part in parts))

    def _read_lengths(self, task: str, split: str) -> tuple[list[tuple[int, int]], float]:
        """Lengths of the first examples, and how many examples each of them stands for."""
        rows, examples = len(getattr(self._all(task), split)), self.examples
        if split == "validation":
            rows = min(rows, self._config.validation_rows or rows)
        train = split == "train"
        encoded = (
            examples.training(task, None, 0).encoded if train else examples.evaluation(task, split)
        )
        found = encoded.examples(range(len(encoded)))
        pairs = [(len(example["input_ids"]), len(example["labels"])) for example in found]
        return pairs, rows / min(rows, SAMPLE)


def kind_of(run: RunBlock) -> str:
    """Runs of one kind differ in data, seed and size alone."""
    return f"{run.label} {SOURCE_STAGE}" if run.task == SOURCE_STAGE else run.label


def observed(grid: Grid, store: ResultStore, rows: Rows, hardware: HardwareBlock | None) -> Timings:
    """Timings of finished runs of the grid's model and data, on this hardware if it is given."""

    def alike(run: RunBlock) -> tuple[object, ...]:
        lengths = run.prompt_length, run.input_length, run.validation_rows
        return run.model.digest, run.precision, run.data.fingerprint, *lengths, kind_of(run)

    wanted = {alike(run.protocol) for run in grid.runs.values()}
    timings: Timings = defaultdict(list)
    prompts: dict[str, Record] = {}  # A prompt has one record here, and maybe more of its runs.
    for record in (*read_records(store.records)[0], *store.list_prompts()[0]):
        known = hardware in (None, record.provenance.hardware)
        if record.training and known and alike(record.run) in wanted:
            prompts[record.training.prompt] = record
            if seconds := record.timing.evaluation_seconds:
                timings[ANSWERS].append((rows.amounts(record.run)[2], seconds))
    answer = fit(timings)(ANSWERS)
    for record in prompts.values():
        steps, validation, _ = rows.amounts(record.run)
        if record.training and (seconds := record.timing.training_seconds) and steps[0]:
            share = record.training.steps / steps[0]  # Less than 1 where it stopped early.
            rest = max(seconds - share * answer @ validation, 0.1 * seconds)
            timings[kind_of(record.run)].append((share * steps, rest))
    return timings


def calibrated(grid: Grid, rows: Rows, model: FrozenLM, say: Callable[[str], object]) -> Timings:
    """Timings of a few steps and answers of each method, on short and on long inputs."""
    length = grid.config.prompt_length
    timings: Timings = defaultdict(list)

    def supply(need: Run | GivenPrompt) -> StoredPrompt:
        """A prompt that takes as long as the one that is not there yet."""
        if isinstance(need, GivenPrompt):
            return need.stored
        start = model.initial_prompt(length, need.seed)
        training = TrainingBlock.model_construct(initial_digest=tensor_digest(start))
        tensors = {MERGED: start + 0.01 * torch.randn_like(start)}
        if need.is_source_stage:
            tensors = stages.make(need).tensors()
        return StoredPrompt(Record.model_construct(training=training), tensors)

    stages = Stages(model, rows.examples, supply, Stop())
    by_length = sorted(grid.todo, key=lambda run: rows.amounts(run.protocol)[0][1])
    ends = [{kind_of(run.protocol): run for run in part} for part in (by_length[::-1], by_length)]
    for run in dict.fromkeys([*ends[0].values(), *ends[1].values()]):
        say(f"calibrating: {run.describe()}")
        stage = stages.make(replace(run, protocol=run.protocol.model_copy(update={"shots": None})))
        module, total, began = stage.module, np.zeros(3), 0.0
        optimiser = adamw(module.parameter_groups())
        with model.training():
            for step in range(STEPS + 1) if module.trainable_parameters() else ():
                began = began if step > 1 else now()
                batch = stage.batches.batch(step + 1)
                backward(model, module, batch, step, len(batch))
                optimiser.step()
                tokens = length + batch.mask.shape[1] + batch.labels.shape[1]
                total += np.array([1, len(batch) * tokens, 0]) * (step > 0)
        if began:
            timings[kind_of(run.protocol)].append((total, now() - began))
        if not isinstance(module, SourceStage):
            began = now()
            done = stages.evaluate(run, run.task, "validation", stages.prompt_source(module))
            seconds, size = now() - began, run.training.evaluation_batch_size
            inputs = rows.examples.evaluation(run.task, "validation").lengths
            answers = [len(ids) for ids in model.tokenizer(done.predictions)["input_ids"]]
            pairs = sorted(zip(inputs, answers, strict=True))
            timings[ANSWERS].append((amounts(pairs, size, length, answers=True), seconds))
    return timings


def now() -> float:
    """Seconds of a clock, once the GPU has done what it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def estimate(
    grid: Grid,
    store: ResultStore,
    workers: int,
    say: Callable[[str], object],
    calibrate: bool = False,
    records: Path | None = None,
) -> dict[str, Any]:
    """The cost of the runs that are left, JSON-ready; nothing is written to the store.

    ``workers`` share the runs and the cores of this machine. ``say`` gets lines on progress.
    Timings are those of the store, of another result folder (``records``), or made now.
    """
    config, start, origin = grid.config, 0.0, "nothing to run"
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    seconds, disk = dict[str, float](), 0
    if grid.todo:
        began, threads = now(), torch.get_num_threads()
        torch.set_num_threads(max(1, min(threads, usable_cores() // workers)))
        try:
            model = load(config.model, usable_device(config.device), config.precision)
            rows, start = Rows(grid, model), now() - began
            here = provenance().hardware.model_copy(update={"threads": torch.get_num_threads()})
            place = ResultStore(records) if records else store
            timings = {} if calibrate else observed(grid, place, rows, None if records else here)
            wanted = {kind_of(run.protocol) for run in grid.todo if run.method.load().trained}
            origin = f"finished runs in {place.folder}"
            if records and ANSWERS not in timings:
                raise RecordError(f"{records} has no finished runs of this model, data and lengths")
            if not records and {ANSWERS, *wanted} - timings.keys():
                timings, origin = calibrated(grid, rows, model, say), "short calibrations"
        finally:
            torch.set_num_threads(threads)
        rate = fit(timings)
    for run in grid.todo:
        kind = kind_of(run.protocol)
        reported, train = run.prompt_id in grid.reported, store.seal(run) in {None, *grid.renewed}
        steps, validation, test = rows.amounts(run.protocol)
        steps, answers = steps * train, validation * train + test * reported
        seconds[run.prompt_id] = float(rate(kind) @ steps + rate(ANSWERS) @ answers)
        counts = (reported, train, steps[0], steps[2], answers[2], seconds[run.prompt_id])
        parts[run.protocol.label if reported else f"prompts by {kind}"].update(
            dict(zip(COLUMNS, map(round, counts), strict=True))
        )
        matrices = 1 + len(run.start.sources) * run.method.load().instance_dependent
        prompt = RECORD_BYTES + 4 * matrices * config.prompt_length * model.width
        disk += prompt * train + RECORD_BYTES * reported
    total = sum(parts.values(), Counter[str]())
    needs = {run.prompt_id: [need.prompt_id for need in run.start] for run in grid.todo}
    return {
        **{"preset": config.preset, "model": config.model, "data": config.data},
        **{"runs_to_run": grid.to_run, "runs_done": len(grid.records), "workers": workers},
        "hours": (start + makespan(seconds, needs, workers)) / 3600,
        **{"disk_bytes": disk, "costs_from": origin},
        "total": {name: total[name] for name in COLUMNS},
        "parts": {key: dict(part) for key, part in parts.items()},
    }


def render_estimate(values: Mapping[str, Any]) -> str:
    """The estimate as text."""
    from tabulate import tabulate

    heads = ["", *(name.replace("_", " ") for name in COLUMNS)]
    parts = {**values["parts"], "all": values["total"]}.items()
    table = tabulate([[key, *part.values()] for key, part in parts], heads, intfmt=",")
    return (
        f"preset {values['preset']}, model {values['model']}, data {values['data']}\n"
        f"runs: {values['runs_to_run']} to run, {values['runs_done']} done\n{table}\n"
        f"time: {values['hours']:.2f} h; workers: {values['workers']}\n"
        f"disk: {values['disk_bytes'] / 1e6:.1f} MB; costs from: {values['costs_from']}"
    )
