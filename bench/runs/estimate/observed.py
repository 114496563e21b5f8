"""Costs from records and prompts that are there: of the same model, on one kind of hardware."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from bench.runs.estimate.costs import (
    Costs,
    Lines,
    Observation,
    TrainingKind,
    evaluation_features,
    evaluation_kind,
    step_features,
    training_kind,
)
from bench.runs.estimate.sizes import (
    CARD_LISTS,
    RECORD_LISTS,
    FileSize,
    Sizes,
    file_size,
    mean_size,
)
from bench.runs.estimate.timings import (
    Hardware,
    Templates,
    Timed,
    hardware_text,
    timed_cells,
    timed_trainings,
)
from bench.runs.estimate.workload import Workload
from bench.runs.plan import Plan
from bench.runs.results import ResultFolder

LEAST_SHARE = 0.1
"""Of a training's seconds, so much at least are its steps, whatever its evaluations may take."""


def observed_costs(
    folder: ResultFolder,
    plan: Plan,
    workload: Workload,
    hardware: Hardware | None,
) -> Costs | None:
    """Costs from what a result folder holds of the plan's model and data.

    Args:
        folder: records and prompts.
        plan: what is to be estimated.
        workload: of its rows.
        hardware: whose timings count; None: of the machine with the most.

    Returns:
        None if there are no timings of trainings or none of evaluations.
    """
    like = Templates(plan)
    cards = list(timed_trainings(folder, like))
    records = list(timed_cells(folder, like))
    if hardware is None:
        seen = Counter(each.hardware for each in (*records, *cards))
        if not seen:
            return None
        hardware = seen.most_common(1)[0][0]
    cards = [each for each in cards if each.hardware == hardware]
    records = [each for each in records if each.hardware == hardware]
    # The record of a cell repeats what the card of its prompt says.
    carded = {each.training.digest for each in cards}
    trained = [*cards, *(each for each in records if each.training.digest not in carded)]
    # What is to be estimated has its passes to itself.
    trained = [each for each in trained if each.alone]
    if not trained or not records:
        return None
    evaluations = Lines(list(_evaluations(records, workload)))
    steps = Lines(list(_steps(trained, workload, evaluations)))
    per_training = _mean(each.around for each in cards)
    return Costs(
        steps=steps,
        evaluations=evaluations,
        per_training=per_training,
        per_evaluation=0.0,  # Part of the seconds that are counted as steps.
        per_cell=max(0.0, _mean(each.around for each in records) - per_training),
        start=0.0,
        sizes=_sizes(cards, records),
        origin=(
            f"timings of {len(trained)} trainings and {len(records)} cells in {folder.folder} "
            f"({hardware_text(hardware)})"
        ),
        share=_share(trained, workload),
        notes=("the loading of the model is not counted",),
    )


def _evaluations(records: Iterable[Timed], workload: Workload) -> Iterator[Observation[str]]:
    for each in records:
        if each.test_seconds is not None:
            load = workload.test(each.training)
            kind = evaluation_kind(each.training)
            yield Observation(kind, evaluation_features(load), each.test_seconds)


def _steps(
    trained: Iterable[Timed], workload: Workload, evaluations: Lines[str]
) -> Iterator[Observation[TrainingKind]]:
    for each in trained:
        once = evaluations.seconds(
            evaluation_kind(each.training), evaluation_features(workload.validation(each.training))
        )
        seconds = max(each.seconds - each.evaluations * once, LEAST_SHARE * each.seconds)
        load = workload.training(each.training)
        kind = training_kind(each.training)
        yield Observation(kind, step_features(load), seconds / each.steps)


def _share(trained: Iterable[Timed], workload: Workload) -> float | None:
    shares = [
        each.steps / workload.training(each.training).steps
        for each in trained
        if each.training.hyperparameters.patience is not None
    ]
    return _mean(shares) if shares else None


def _sizes(cards: Iterable[Timed], records: Iterable[Timed]) -> Sizes:
    tensors: dict[TrainingKind, float] = {}
    card_sizes: dict[TrainingKind, list[FileSize]] = defaultdict(list)
    record_sizes: dict[TrainingKind, list[FileSize]] = defaultdict(list)
    for card in cards:
        kind = training_kind(card.training)
        tensors[kind] = max(card.tensors, tensors.get(kind, 0.0))
        card_sizes[kind].append(file_size(card.file, CARD_LISTS))
    answers = []
    for record in records:
        record_sizes[training_kind(record.training)].append(file_size(record.file, RECORD_LISTS))
        answers.append(record.answers)
    return Sizes(
        tensors,
        {kind: mean_size(found) for kind, found in card_sizes.items()},
        {kind: mean_size(found) for kind, found in record_sizes.items()},
        _mean(answers),
    )


def _mean(values: Iterable[float | None]) -> float:
    """Of those that are known; 0 without any."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else 0.0
