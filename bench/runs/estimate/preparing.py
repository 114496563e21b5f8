"""What an estimate rests on: lengths of the rows, and costs from records or a calibration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from bench.data import open_source
from bench.errors import ModelError, RecordError, one_line
from bench.models.catalog import BUNDLED
from bench.models.encoders import CausalEncoder, TokenEncoder
from bench.models.loading import architecture_of, load
from bench.runs.cells import Training
from bench.runs.estimate.calibration import calibrate
from bench.runs.estimate.costs import Costs, evaluation_kind, training_kind
from bench.runs.estimate.estimate import Estimator, trainings_to_do
from bench.runs.estimate.observed import observed_costs
from bench.runs.estimate.timings import this_hardware
from bench.runs.estimate.workload import SampledExamples, Workload
from bench.runs.grid import Grid
from bench.runs.results import ResultFolder
from bench.runs.workers import THREADS, worker_environment

Say = Callable[[str], None]


def make_estimator(
    grid: Grid,
    workers: int,
    say: Say,
    anew: bool = False,
    records: Path | None = None,
) -> Estimator:
    """Read the rows that the work left needs, and find out what it costs.

    Costs come from ``records`` if that is given; else from the result folder, if it holds timings
    of every kind of work left, of this model on this machine; else from a calibration.

    Args:
        grid: with work left.
        workers: that are to share the work.
        say: told about progress, line by line.
        anew: whether to calibrate whatever the result folder holds.
        records: a result folder of the same model, on any machine.

    Raises:
        RecordError: ``records`` holds no timings that help.
        BenchError: model, rows or prompts cannot be used.
    """
    config = grid.config
    device = config.torch_device()
    gpus = torch.cuda.device_count() if device == "cuda" else workers
    if device.startswith("cuda:"):
        gpus = 1
    notes: tuple[str, ...] = ()
    if workers > gpus:
        notes = (
            f"{workers} workers share {gpus} GPU: counted as {gpus}, they wait for each other",
        )
        workers = gpus
    with _threads_of(workers):
        began = time.perf_counter()
        encoder = load_encoder(config.model, config.tokenizer)
        examples = SampledExamples(
            open_source(config.data), encoder, grid.plan.cells[0].training.setting
        )
        workload = Workload(examples)
        say(f"reading rows for {len(grid.work.cells)} cells")
        trainings = _read(grid, workload)
        start = time.perf_counter() - began
        costs = None
        if records is not None or not anew:
            costs = _observed(grid, workload, trainings, records, start)
        if costs is None:
            began = time.perf_counter()
            model = load(config.model, device, config.tokenizer, config.precision)
            start += time.perf_counter() - began
            store = grid.folder.prompts
            costs = calibrate(config, trainings, workload, model, store, start, say)
    costs = replace(costs, notes=(*costs.notes, *notes))
    return Estimator(grid, workload, costs, workers)


def _read(grid: Grid, workload: Workload) -> list[Training]:
    """Count all loads, so that unusable rows show at once; gives all trainings of the work left,
    those too whose prompt is there."""
    todo = {training.digest: training for training in trainings_to_do(grid)}
    for cell in grid.work.cells:
        todo.setdefault(cell.training.digest, cell.training)
        workload.test(cell.training)
    for training in todo.values():
        workload.training(training)
        workload.validation(training)
    return list(todo.values())


def _observed(
    grid: Grid,
    workload: Workload,
    trainings: Sequence[Training],
    records: Path | None,
    start: float,
) -> Costs | None:
    """Costs from records; None if those of the result folder itself do not cover all kinds.

    Raises:
        RecordError: what was given holds no timings that help.
    """
    if records is not None:
        place, hardware = ResultFolder(records), None
    else:
        place, hardware = grid.folder, this_hardware()
    costs = observed_costs(place, grid.plan, workload, hardware)
    if costs is None:
        if records is None:
            return None
        raise RecordError(
            f"{records} holds no timings of model {grid.config.model} on these rows with methods "
            "of this run: give another result folder, or leave --from-records out to calibrate"
        )
    costs = replace(costs, start=start)
    missing = {
        training.method.label
        for training in trainings
        if training_kind(training) not in costs.steps
        or evaluation_kind(training) not in costs.evaluations
    }
    if not missing:
        return costs
    if records is None:
        return None
    note = f"no timings of {', '.join(sorted(missing))} there: taken as the others on average"
    return replace(costs, notes=(*costs.notes, note))


def load_encoder(name: str, tokenizer: str | None) -> TokenEncoder:
    """A model's texts-to-ids without its weights, which timings of others make needless.

    Raises:
        ModelError: the tokenizer cannot be read.
    """
    if name in BUNDLED:
        return load(name).encoder
    from transformers import AutoTokenizer

    place = tokenizer or name
    folder = Path(place).expanduser()
    source, _, revision = (str(folder), "", "") if folder.is_dir() else place.partition("@")
    try:
        words = AutoTokenizer.from_pretrained(
            source, revision=revision or "main", use_fast=True, trust_remote_code=False
        )
        causal = architecture_of(name) == "decoder-only"
        return (CausalEncoder if causal else TokenEncoder)(words)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"tokenizer of model {place!r} cannot be read ({one_line(error)[:200]}): give a "
            "complete local folder, or a hub id that is cached or reachable"
        ) from error


@contextmanager
def _threads_of(workers: int) -> Iterator[None]:
    """The threads that one of several workers has; calibrations with more would be too quick."""
    before = torch.get_num_threads()
    if workers > 1:
        torch.set_num_threads(int(worker_environment(0, workers)[THREADS]))
    try:
        yield
    finally:
        torch.set_num_threads(before)


__all__ = ["load_encoder", "make_estimator"]
