"""What a grid will cost: steps, tokens, hours and disk, from records or short calibrations.

The seconds of batches are linear in two amounts: passes of the model (one for a training step, one
for each answer token) and positions (rows x padded tokens, prompt included).
"""

from __future__ import annotations

import time
from collections import defaultdict
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
from bench.executors import threads_each
from bench.grid import SOURCE_STAGE, GivenPrompt, Grid, Run
from bench.method import SourceStage, tensor_digest
from bench.models.base import FrozenLM
from bench.models.loading import load, usable_device
from bench.provenance import provenance
from bench.record import Record, RunBlock, TrainingBlock, read_records
from bench.registry import method_entry
from bench.reports import render
from bench.stages import Stages
from bench.store import MERGED, ResultStore, StoredPrompt
from bench.training.callbacks import TrainingInfo
from bench.training.loop import Validation, train
from bench.training.stopping import Stop

SAMPLE = 256  # Rows of a split that are read for their lengths.
STEPS = 8  # Timed steps of a calibration, after one that is not timed.
RECORD_BYTES = 12_000  # About the size of a record.
COLUMNS = ("runs", "prompts", "steps", "training_tokens", "evaluation_tokens", "seconds")
ANSWERS = "answers"  # Kind of work besides the steps of each method.
SAME = {"precision", "prompt_length", "input_length", "validation_rows"}  # In comparable runs.

Amounts: TypeAlias = Any  # Array of passes, positions, and tokens of the texts.
Timings: TypeAlias = dict[str, list[tuple[Amounts, float]]]  # With seconds, by kind of work.


def amounts(
    pairs: Sequence[Sequence[int]], size: int, prompt: int, shared: bool, answers: bool
) -> Amounts:
    """Amounts of examples in batches; ``pairs`` are the lengths of input and answer.

    A ``shared`` prompt is read once for a batch.
    """
    total = np.zeros(3)
    for start in range(0, len(pairs), size):
        rows = np.array(pairs[start : start + size])
        positions = (1 if shared else len(rows)) * prompt + len(rows) * rows.max(axis=0).sum()
        total += (rows[:, 1].max() if answers else 1, positions, rows.sum())
    return total


def prompt_of(run: RunBlock) -> tuple[int, bool]:
    """Length of the prompt, and whether the rows of a batch share what the model keeps of it."""
    dependent = method_entry(run.method).load().instance_dependent
    return run.prompt_length, run.model.kind == "decoder-only" and not dependent


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


class Rows:
    """Amounts of runs, from the first rows of each split."""

    def __init__(self, grid: Grid, model: FrozenLM) -> None:
        self._config = config = grid.config
        limits = config.data_seed, config.input_length, config.validation_rows
        self.examples = Examples(open_source(config.data), model.encoder, *limits)
        self._all, self.examples.rows = self.examples.rows, cache(self._first)
        self._lengths = cache(self._read_lengths)

    def amounts(self, run: RunBlock) -> tuple[Amounts, Amounts, Amounts]:
        """Amounts of all steps of a run, all evaluations on validation, and that on test."""
        settings = TrainingSettings.model_validate(run.training)
        tasks = self._config.sources if run.task == SOURCE_STAGE else run.task.split("+")
        parts = [self._lengths(task, "train") for task in tasks]
        counts = np.array([len(pairs) * share for pairs, share in parts])
        examples, draw = run.shots or round(counts.sum()), np.random.default_rng(0)
        drawn = draw.choice(len(parts), 4 * SAMPLE, p=counts / counts.sum())
        pairs = [parts[task][0][draw.integers(len(parts[task][0]))] for task in drawn]
        training = amounts(pairs, min(settings.batch_size, examples), *prompt_of(run), False)
        steps = settings.total_steps(examples)
        evaluations = -(-steps // settings.evaluation_interval(examples))
        if not method_entry(run.method).load().trained:
            steps, evaluations = 0, 1

        def answered(task: str, split: str) -> Amounts:
            pairs, share = self._lengths(task, split)
            size = settings.evaluation_batch_size
            return share * amounts(sorted(pairs), size, *prompt_of(run), answers=True)

        validation = evaluations * sum(answered(task, "validation") for task in tasks)
        return training * (steps / training[0]), validation, answered(tasks[0], "test")

    def _first(self, task: str) -> TaskRows:
        rows = self._all(task)
        parts = (rows.train, rows.validation, rows.test)
        return TaskRows(*(part.select(range(min(SAMPLE, len(part)))) for part in parts))

    def _read_lengths(self, task: str, split: str) -> tuple[list[tuple[int, int]], float]:
        """Lengths of the first examples, and how many examples each of them stands for."""
        rows, training = len(getattr(self._all(task), split)), split == "train"
        if split == "validation":
            rows = min(rows, self._config.validation_rows or rows)
        read = self.examples
        found = read.training(task, None, 0).encoded if training else read.evaluation(task, split)
        pairs = [(len(e["input_ids"]), len(e["labels"])) for e in found.examples(range(len(found)))]
        return pairs, rows / min(rows, SAMPLE)


def kind_of(run: RunBlock) -> str:
    """Kind of work of a run's steps: those of a method, or of its source stage."""
    return f"{run.method} {SOURCE_STAGE}" if run.task == SOURCE_STAGE else run.method


def observed(grid: Grid, store: ResultStore, rows: Rows, anywhere: bool) -> Timings:
    """Timings of finished runs of the grid's model and data, on this hardware or on any."""
    same: Any = {"model": {"digest"}, "data": {"fingerprint"}, **dict.fromkeys(SAME, True)}
    wanted = {run.protocol.model_dump_json(include=same) for run in grid.runs.values()}
    here = provenance().hardware.model_copy(update={"threads": torch.get_num_threads()})
    timings: Timings = defaultdict(list)
    prompts: dict[str, Record] = {}  # A prompt has one record here, and maybe more of its runs.
    for record in (*read_records(store.records)[0], *store.list_prompts()[0]):
        known = anywhere or record.provenance.hardware == here
        if record.training and known and record.run.model_dump_json(include=same) in wanted:
            prompts[record.training.prompt] = record
            if seconds := record.timing.evaluation_seconds:
                timings[ANSWERS].append((rows.amounts(record.run)[2], seconds))
    answer = fit(timings)(ANSWERS)
    for record in prompts.values():
        (steps, validation, _), seconds = rows.amounts(record.run), record.timing.training_seconds
        if record.training and seconds and steps[0]:
            share = record.training.steps / steps[0]  # Less than 1 where it stopped early.
            rest = max(seconds - share * answer @ validation, 0.1 * seconds)
            timings[kind_of(record.run)].append((share * steps, rest))
    return timings


def calibrated(grid: Grid, rows: Rows, model: FrozenLM, say: Callable[[str], object]) -> Timings:
    """Timings of a few steps and answers of each method, on short and on long inputs."""
    timings: Timings = defaultdict(list)

    def supply(need: Run | GivenPrompt) -> StoredPrompt:
        """A prompt that takes as long as the one that is not there yet."""
        if isinstance(need, GivenPrompt):
            return need.stored
        start = model.initial_prompt(grid.config.prompt_length, need.seed)
        training = TrainingBlock.model_construct(initial_digest=tensor_digest(start))
        tensors = {MERGED: start + 0.01 * torch.randn_like(start)}
        if need.task == SOURCE_STAGE:
            tensors = stages.make(need).tensors()
        return StoredPrompt(Record.model_construct(training=training), tensors)

    stages, nothing = Stages(model, rows.examples, supply, Stop()), Validation({"": 0.0}, 0.0, None)
    found = {run: rows.amounts(run.protocol)[0] for run in grid.todo if not run.start.tries}
    by_length = sorted(found, key=lambda run: found[run][1] / max(1, found[run][0]))
    ends = [{kind_of(run.protocol): run for run in part} for part in (by_length[::-1], by_length)]
    for run in dict.fromkeys([*ends[0].values(), *ends[1].values()]):
        say(f"calibrating: {run.describe()}")
        run = replace(run, protocol=run.protocol.model_copy(update={"shots": None}))
        stage, names = stages.make(run), (run.method.name, run.method.label)
        for steps in (1, STEPS):
            changes = {"steps": steps, "epochs": None, "evaluate_every": steps, "patience": None}
            settings = run.training.model_copy(update=changes)
            info = TrainingInfo("", run.task, *names, None, run.seed)
            loop = model, stage.module, stage.batches, settings, run.seed, lambda: nothing
            done = train(*loop, info=info)
        protocol = run.protocol.model_copy(update={"training": settings.model_dump(mode="json")})
        if done.steps:
            timings[kind_of(protocol)].append((rows.amounts(protocol)[0], done.seconds))
        if not isinstance(stage.module, SourceStage):
            began, prompt = time.perf_counter(), stages.prompt_source(stage.module)
            texts = stages.evaluate(run, run.task, "validation", prompt).predictions
            seconds = time.perf_counter() - began
            written = [len(ids) for ids in model.tokenizer(texts)["input_ids"]]
            inputs = rows.examples.evaluation(run.task, "validation").lengths
            sizes = settings.evaluation_batch_size, *prompt_of(protocol)
            pairs = sorted(zip(inputs, written, strict=True))
            timings[ANSWERS].append((amounts(pairs, *sizes, answers=True), seconds))
    return timings


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
    config, start, longest, prompt, origin = grid.config, 0.0, 0.0, 0, "nothing to run"
    parts: dict[str, Amounts] = defaultdict(lambda: np.zeros(len(COLUMNS)))
    if grid.todo:
        began, threads = time.perf_counter(), torch.get_num_threads()
        torch.set_num_threads(min(threads, threads_each(workers)))
        device = usable_device(config.device)
        model = load(config.model, device, config.precision, config.bin_weights)
        rows, start = Rows(grid, model), time.perf_counter() - began
        prompt = RECORD_BYTES + 4 * config.prompt_length * model.width  # Its bytes.
        place = ResultStore(records) if records else store
        timings = {} if calibrate else observed(grid, place, rows, anywhere=bool(records))
        wanted = {kind_of(run.protocol) for run in grid.todo if run.method.load().trained}
        origin = f"finished runs in {place.folder}"
        if records and ANSWERS not in timings:
            raise RecordError(f"{records} has no finished runs of this model, data and lengths")
        if not records and {ANSWERS, *wanted} - timings.keys():
            timings, origin = calibrated(grid, rows, model, say), "short calibrations"
        torch.set_num_threads(threads)
        rate = fit(timings)
    for run in grid.todo:
        kind, reported = kind_of(run.protocol), run.prompt_id in grid.reported
        trains = not run.start.tries and store.seal(run) in {None, *grid.renewed}
        steps, validation, test = rows.amounts(run.protocol)
        steps, answers = steps * trains, validation * trains + test * reported
        seconds = float(rate(kind) @ steps + rate(ANSWERS) @ answers)
        part = parts[run.protocol.label if reported else f"prompts by {kind}"]
        part += (reported, trains, steps[0], steps[2], answers[2], seconds)
        longest = max(longest, seconds)
    total = sum(parts.values(), np.zeros(len(COLUMNS)))
    counts = [dict(zip(COLUMNS, map(round, v), strict=True)) for v in (total, *parts.values())]
    return {
        **{"preset": config.preset, "model": config.model, "data": config.data},
        **{"runs_to_run": grid.to_run, "runs_done": len(grid.records), "workers": workers},
        "hours": (start + max(total[-1] / workers, longest)) / 3600,
        "disk_bytes": round(RECORD_BYTES * total[0] + prompt * total[1]),
        "costs_from": origin,
        "total": counts[0],
        "parts": dict(zip(parts, counts[1:], strict=True)),
    }


def render_estimate(values: Mapping[str, Any]) -> str:
    """The estimate as text."""
    from tabulate import tabulate

    heads = ["", *(name.replace("_", " ") for name in COLUMNS)]
    parts = {**values["parts"], "all": values["total"]}.items()
    table = tabulate([[key, *part.values()] for key, part in parts], heads, intfmt=",")
    return render("estimate.txt.jinja", table=table.splitlines(), **values)
