"""Cost estimate of a grid: steps, tokens, hours and disk.

The seconds of batches are linear in two amounts: passes of the model (one for a training step, one
for each answer token) and positions (rows x padded tokens, with prompt). Rates are measured in
short trainings. For an unavailable model, rates follow from its size and rows from the tasks.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, TypeAlias

import numpy as np
import torch

from bench.config import RunConfig
from bench.data import DataSource, Examples, load_splits, open_source
from bench.data.splits import declared_rows
from bench.executors import threads_each
from bench.grid import SOURCE_STAGE, Grid, Run
from bench.method import PromptMethod, SourceStage, tensor_digest
from bench.models.base import FrozenLM
from bench.models.loading import KNOWN, UNCHECKED, load, usable_device
from bench.record import ModelBlock, Record, TrainingBlock
from bench.reports import render
from bench.run_setup import Setup, SetupBuilder
from bench.store import MERGED, ResultStore, StoredPrompt
from bench.tasks import get_task
from bench.training.callbacks import TrainingInfo
from bench.training.loop import Validation, train
from bench.training.stopping import Stop

SAMPLES = {"train": 256, "validation": 32, "test": 256}  # Rows that are sampled for their lengths.
STEPS = 8  # Timed steps of a calibration, after one untimed step.
SLOW = 1.0  # Seconds; a slower untimed step is the measurement, but not on a GPU.
RECORD_BYTES = 12_000  # Approximate size of a record.
COLUMNS = ("runs", "prompts", "steps", "training_tokens", "evaluation_tokens", "seconds")
ANSWERS = "answers"  # Kind of decoding passes; other kinds are training steps of a method.
SPEED = 40e12  # Assumed FLOP/s of an absent GPU, about an A100 with bf16.

Amounts: TypeAlias = Any  # Array of passes, positions and text tokens.
Timings: TypeAlias = dict[str, list[tuple[Amounts, float]]]  # Amounts with seconds, by kind.
Rate: TypeAlias = Callable[[str], Amounts]  # Seconds per amount, by kind.
Costs: TypeAlias = tuple[Amounts, Amounts, Amounts]  # Of training, validations and test.
Say: TypeAlias = Callable[[str], object]  # Receives progress messages.
LengthsOf: TypeAlias = "Callable[[str, str], Lengths]"  # By task and part.
Lengths: TypeAlias = tuple[list[tuple[int, int]], float]
"""Input and answer lengths of sampled examples, and the number of examples each represents."""


def amounts(
    pairs: Sequence[Sequence[int]], size: int, prompt: int, shared: bool, answers: bool
) -> Amounts:
    """Amounts of examples in batches; ``pairs`` are lengths of input and answer in tokens.

    A ``shared`` prompt is computed once per batch.
    """
    total = np.zeros(3)
    for start in range(0, len(pairs), size):
        rows = np.array(pairs[start : start + size])
        copies = 1 if shared else len(rows)
        positions = copies * prompt + len(rows) * rows.max(axis=0).sum()
        total += (rows[:, 1].max() if answers else 1, positions, rows.sum())
    return total


def prompt_length_and_sharing(run: Run) -> tuple[int, bool]:
    """Prompt length, and whether the rows of a batch share the prompt's cache."""
    dependent = run.method.load().instance_dependent
    return run.prompt_length, run.protocol.model.kind == "decoder-only" and not dependent


def fit(timings: Timings) -> Rate:
    """Fit rates by non-negative least squares of relative errors."""
    from scipy.optimize import nnls

    rates = {}
    for kind, timed in timings.items():
        rows = np.array([[*amount[:2], 0.0] / np.float64(seconds) for amount, seconds in timed])
        scale = rows.max(axis=0) + 1e-12
        rates[kind] = nnls(rows / scale, np.ones(len(rows)))[0] / scale
    return lambda kind: rates.get(kind, np.zeros(3))  # Untrained methods have no steps.


def computed_rate(model: ModelBlock) -> Rate:
    """Rates at :data:`SPEED`: two operations per parameter and position, in training twice that.

    In an encoder-decoder, a position passes through half of the parameters.
    """
    _, parameters, _ = KNOWN[model.name]
    used = parameters / 2 if model.kind == "encoder-decoder" else parameters
    return lambda kind: np.array([0.0, (2 if kind == ANSWERS else 4) * used / SPEED, 0.0])


def sampled(config: RunConfig, model: FrozenLM) -> tuple[Examples, LengthsOf]:
    """Encoded examples of some rows of each split, and their lengths."""
    limits = {f"{split}_rows": used_rows(config, split, rows) for split, rows in SAMPLES.items()}
    source = open_source(config.data)
    examples = Examples(source, model.encoder, config.data_seed, config.input_length, **limits)

    def lengths(task: str, split: str) -> Lengths:
        training = examples.training(task, None, 0)
        encoded = training if split == "train" else examples.evaluation(task, split)
        chosen = encoded.examples(range(len(encoded)))
        pairs = [(len(example["input_ids"]), len(example["labels"])) for example in chosen]
        rows = used_rows(config, split, len(getattr(examples.rows(task), split)))
        return pairs, rows / min(rows, SAMPLES[split])

    return examples, cache(lengths)


def longest(config: RunConfig, source: DataSource, name: str, split: str) -> Lengths:
    """Maximum lengths that a task allows, for the rows of its files or its declared number."""
    task = get_task(name)
    if source.of(task).kind == "hub":
        rows = declared_rows(task)[[*SAMPLES].index(split)]
    else:
        rows = len(getattr(load_splits(source, task, config.data_seed), split))
    rows = used_rows(config, split, rows)
    pair = min(task.input_length, config.input_length or task.input_length), task.target_length
    return [pair] * min(rows, SAMPLES[split]), rows / min(rows, SAMPLES[split])


def used_rows(config: RunConfig, split: str, rows: int) -> int:
    """Rows of a split that a configuration uses."""
    return min(rows, getattr(config, f"{split}_rows") or rows)


def run_amounts(lengths: LengthsOf, run: Run) -> Costs:
    """Amounts of a run's training steps, its validations, and its test evaluation."""
    settings, tasks = run.training, run.tasks
    samples = [lengths(task, "train") for task in tasks]
    counts = np.array([len(pairs) * weight for pairs, weight in samples])
    examples = run.shots or round(counts.sum())
    random, drawn = np.random.default_rng(0), []
    for index in random.choice(len(tasks), 1024, p=counts / counts.sum()):
        pairs, _ = samples[index]
        drawn.append(pairs[random.integers(len(pairs))])
    if settings.batching == "bucketed":
        drawn.sort()
    prompt = prompt_length_and_sharing(run)
    training = amounts(drawn, min(settings.batch_size, examples), *prompt, answers=False)
    steps = settings.total_steps(examples)
    evaluations = -(-steps // settings.evaluation_interval(examples))
    if not run.method.load().trained:
        steps, evaluations = 0, 1

    def answers(task: str, split: str) -> Amounts:
        pairs, weight = lengths(task, split)
        size = settings.evaluation_batch_size
        return weight * amounts(sorted(pairs), size, *prompt, answers=True)

    validation = evaluations * sum(answers(task, "validation") for task in tasks)
    return training * (steps / training[0]), validation, answers(tasks[0], "test")


def kind_of(run: Run) -> str:
    """Kind of a run's training steps: the method, or the method's source stage."""
    name = run.method.name
    return f"{name} {SOURCE_STAGE}" if run.task == SOURCE_STAGE else name


def calibrated(
    grid: Grid, costs: Callable[[Run], Costs], examples: Examples, model: FrozenLM, say: Say
) -> Rate:
    """Measure rates from a few steps and answers of each method, on short and long inputs."""
    timings: Timings = defaultdict(list)

    def supply(need: Run | StoredPrompt) -> StoredPrompt:
        """Stand-in of equal size for a prompt that is not trained yet."""
        if isinstance(need, StoredPrompt):
            return need
        initial = model.initial_prompt(grid.config.prompt_length, need.seed)
        training = TrainingBlock.model_construct(initial_digest=tensor_digest(initial))
        tensors = {MERGED: initial + 0.01 * torch.randn_like(initial)}
        if need.task == SOURCE_STAGE:
            tensors = builder.make(need).tensors()
        return StoredPrompt(Record.model_construct(training=training), tensors)

    builder = SetupBuilder(model, examples, supply, Stop())
    steps_of = {run: costs(run)[0] for run in grid.todo if not run.start.tries}
    by_length = sorted(steps_of, key=lambda run: steps_of[run][1] / max(1, steps_of[run][0]))
    short = {kind_of(run): run for run in reversed(by_length)}
    long = {kind_of(run): run for run in by_length}
    for runs in (short.values(), [run for run in long.values() if run not in short.values()]):
        answered = set()  # Kinds of prompts whose answers are timed.
        for run in runs:
            say(f"calibrating: {run.describe()}")
            setup = builder.make(
                replace(run, protocol=run.protocol.model_copy(update={"shots": None}))
            )
            prompt = prompt_length_and_sharing(run)
            if run.method.load().trained:
                timings[kind_of(run)].append(timed_steps(setup))
            if not isinstance(setup.module, SourceStage) and prompt not in answered:
                answered.add(prompt)
                timings[ANSWERS].append(timed_answers(setup, setup.module))
    return fit(timings)


def timed_steps(setup: Setup) -> tuple[Amounts, float]:
    """Amounts and seconds of some training steps of a run."""
    run, model, prompt = setup.run, setup.builder.model, prompt_length_and_sharing(setup.run)
    unscored = Validation({"": 0.0}, 0.0, None)
    for steps in (1, STEPS):
        changes = {"steps": steps, "epochs": None, "evaluate_every": steps, "patience": None}
        settings, info = run.training.model_copy(update=changes), TrainingInfo("", run.describe())
        result = train(
            model, setup.module, setup.batches, settings, run.seed, lambda: unscored, info=info
        )
        if result.seconds > SLOW and model.device.type == "cpu":
            break
    done = np.zeros(3)
    for step in range(1, result.steps + 1):
        batch = setup.batches.batch(step)
        pair = batch.input_ids.shape[1], batch.labels.shape[1]
        done += amounts([pair] * len(batch), len(batch), *prompt, answers=False)
    return done, result.seconds


def timed_answers(setup: Setup, module: PromptMethod[Any]) -> tuple[Amounts, float]:
    """Amounts and seconds of answering the validation rows of a run."""
    run, builder = setup.run, setup.builder
    started, prompt = time.perf_counter(), builder.prompt_source(module)
    texts = builder.evaluate(run, run.task, "validation", prompt).predictions
    seconds = time.perf_counter() - started
    answers = [len(ids) for ids in builder.model.tokenizer(texts)["input_ids"]]
    inputs = builder.examples.evaluation(run.task, "validation").lengths
    pairs = sorted(zip(inputs, answers, strict=True))
    size = run.training.evaluation_batch_size
    return amounts(pairs, size, *prompt_length_and_sharing(run), answers=True), seconds


def estimate(grid: Grid, store: ResultStore, workers: int, say: Say) -> dict[str, Any]:
    """Cost of the remaining runs in local processes, JSON-ready; writes nothing to the store."""
    config, origin = grid.config, "nothing to run"
    width, loading, longest_run = 0, 0.0, 0.0  # Width of the model; the others in seconds.
    parts: dict[str, Amounts] = defaultdict(lambda: np.zeros(len(COLUMNS)))
    model = next(iter(grid.runs.values())).protocol.model
    if grid.todo and model.note == UNCHECKED:
        origin = f"{UNCHECKED}: the longest texts at {SPEED / 1e12:.0f} TFLOP/s"
        upper = cache(partial(longest, config, open_source(config.data)))
        costs, rate = partial(run_amounts, upper), computed_rate(model)
        width = KNOWN[model.name][2]
    elif grid.todo:
        origin = "short calibrations"
        started, threads = time.perf_counter(), torch.get_num_threads()
        torch.set_num_threads(min(threads, threads_each(workers)))
        device = usable_device(config.device)
        loaded = load(config.model, device, config.precision, config.bin_weights)
        examples, lengths = sampled(config, loaded)
        loading, width = time.perf_counter() - started, loaded.width
        costs = partial(run_amounts, lengths)
        rate = calibrated(grid, costs, examples, loaded, say)
        torch.set_num_threads(threads)
    for run in grid.todo:
        kind, reported = kind_of(run), run.prompt_id in grid.reported.keys() - grid.records.keys()
        trains = not run.start.tries and store.seal(run) in {None, *grid.to_replace}
        steps, validation, test = costs(run)
        steps, answers = steps * trains, validation * trains + test * reported
        seconds = float(rate(kind) @ steps + rate(ANSWERS) @ answers)
        part = parts[run.protocol.label if reported else f"prompts by {kind}"]
        part += (reported, trains, steps[0], steps[2], answers[2], seconds)
        longest_run = max(longest_run, seconds)
    total = sum(parts.values(), np.zeros(len(COLUMNS)))
    prompt_bytes = RECORD_BYTES + 4 * config.prompt_length * width
    tables = [dict(zip(COLUMNS, map(round, v), strict=True)) for v in (total, *parts.values())]
    return {
        "preset": config.preset,
        "model": config.model,
        "data": config.data,
        "runs_to_run": grid.to_run,
        "runs_done": len(grid.records),
        "workers": workers,
        "hours": (loading + max(total[-1] / workers, longest_run)) / 3600,
        "disk_bytes": round(RECORD_BYTES * total[0] + prompt_bytes * total[1]),
        "costs_from": origin,
        "total": tables[0],
        "parts": dict(zip(parts, tables[1:], strict=True)),
    }


def render_estimate(values: Mapping[str, Any]) -> str:
    """Format an estimate as text."""
    from tabulate import tabulate

    headers = ["", *(name.replace("_", " ") for name in COLUMNS)]
    parts = {**values["parts"], "all": values["total"]}
    table = tabulate([[key, *part.values()] for key, part in parts.items()], headers, intfmt=",")
    return render("estimate.txt.jinja", table=table.splitlines(), **values)
