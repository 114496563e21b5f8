"""Result records from what a cell's training and evaluation gave."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from bench.predictions import Predictions, judge, predictions_block
from bench.records import (
    CellBlock,
    CodeBlock,
    CurvePoint,
    DataBlock,
    ErrorBlock,
    HardwareBlock,
    LabelShares,
    MajorityBlock,
    MethodBlock,
    ModelBlock,
    ProvenanceBlock,
    Record,
    RowsBlock,
    ScoresBlock,
    SourceBlock,
    TimingBlock,
    TrainingBlock,
)
from bench.runs.cells import Cell, GivenPrompt, Required, Training
from bench.runs.examples import Examples
from bench.runs.prompts import PromptCard, StoredPrompt
from bench.runs.provenance import now, peak_memory, provenance
from bench.tasks.metrics import majority_scores
from bench.training.evaluation import Evaluation


@dataclass(frozen=True)
class Result:
    """What is kept of a cell: its record and, if it finished, its answers to the test examples."""

    record: Record
    predictions: Predictions | None = None


def finished(
    cell: Cell,
    parameters: int,
    stored: StoredPrompt,
    examples: Examples,
    test: Evaluation,
    evaluation_seconds: float,
) -> Result:
    """The result of a trained and evaluated cell.

    Args:
        cell: the cell.
        parameters: number of frozen parameters of the model.
        stored: its prompt with card.
        examples: the rows it was trained and scored on.
        test: scores and answers on test; those on validation are in the card, at the best step.
        evaluation_seconds: time that took.
    """
    task = examples.task(cell.training.task)
    card = stored.card
    result = card.result
    best = next(point for point in result["curve"] if point["step"] == result["best_step"])
    on_validation = result.get("evaluation_micro_batch_size")
    evaluated_at_once = [rows for rows in (on_validation, test.micro_batch_size) if rows]
    timing = {**card.timing, "finished": now(), "evaluation_seconds": evaluation_seconds}
    rows = examples.evaluation(task.name, "test")
    predictions = judge(
        task.scorers or task.metrics, rows.rows, test.predictions, rows.references, rows.groups
    )
    record = Record(
        schema=1,
        digest=cell.digest,
        status="finished",
        error=None,
        cell=_cell_block(cell, parameters),
        rows=RowsBlock(
            train=card.rows["train"],
            validation=card.rows["validation"],
            test=len(test.predictions),
            few_shot=None if card.rows["few_shot"] is None else tuple(card.rows["few_shot"]),
            notes=(*_notes(cell.training, examples), *_trained_elsewhere(card)),
        ),
        scores=ScoresBlock(
            table_metric=task.table_metric,
            validation=best["validation"],
            test=test.scores.metrics,
            valid_label_share=LabelShares(
                validation=best["valid_label_share"],
                test=test.scores.valid_label_share,
            ),
            left_out=test.scores.left_out,
        ),
        majority=_majority(cell.training.task, examples),
        training=TrainingBlock(
            trainable_parameters=card.trainable_parameters,
            steps=result["steps"],
            best_step=result["best_step"],
            best_score=result["best_score"],
            stopped_early=result["stopped_early"],
            curve=tuple(CurvePoint(**point) for point in result["curve"]),
            initial_digest=card.initial_digest,
            prompt=card.digest,
            # Cards of older versions lack it.
            micro_batch_size=result.get("micro_batch_size"),
            evaluation_micro_batch_size=min(evaluated_at_once, default=None),
            trainings_per_pass=result.get("trainings_per_pass"),
        ),
        diagnostics=_diagnostics(result),
        timing=TimingBlock(**timing),
        provenance=_provenance_block(),
        sources=_sources(cell.training),
    )
    block = predictions_block(record, predictions)
    return Result(replace(record, predictions=block), predictions)


def failed(cell: Cell, parameters: int, error: Exception) -> Result:
    """The result of a cell that could not be finished."""
    record = Record(
        schema=1,
        digest=cell.digest,
        status="failed",
        error=ErrorBlock(type=type(error).__name__, message=" ".join(str(error).split())),
        cell=_cell_block(cell, parameters),
        rows=None,
        scores=None,
        majority=None,
        training=None,
        diagnostics={},
        timing=TimingBlock(
            started=now(),
            finished=now(),
            training_seconds=0.0,
            evaluation_seconds=0.0,
            examples_per_second=0.0,
            peak_memory_bytes=peak_memory(),
        ),
        provenance=_provenance_block(),
        sources=_sources(cell.training),
    )
    return Result(record)


def _cell_block(cell: Cell, parameters: int) -> CellBlock:
    training = cell.training
    setting = training.setting
    model = setting.model
    return CellBlock(
        method=MethodBlock(
            name=training.method.name,
            settings=training.method.values(),
            label=training.method.label,
        ),
        task=training.task,
        model=ModelBlock(
            name=model.name,
            digest=model.digest,
            kind=model.architecture,
            bundled=model.bundled,
            parameters=parameters,
            note=model.note,
        ),
        data=DataBlock(**asdict(training.data)),
        shots=training.shots,
        seed=training.seed,
        data_seed=setting.data_seed,
        prompt_length=setting.prompt_length,
        input_length=setting.input_length,
        precision=setting.precision,
        preset=cell.preset,
        training=asdict(training.hyperparameters),
        code=CodeBlock(**training.code),
        requires=tuple(required.digest for required in training.requires),
    )


def _majority(task: str, examples: Examples) -> MajorityBlock | None:
    labels, known = examples.labels(task), examples.task(task).labels
    test = examples.evaluation(task, "test")
    scores = majority_scores(examples.task(task), labels, test.references, test.groups)
    if scores is None or known is None:
        return None
    # The lowest class wins a tie, as in the scores.
    return MajorityBlock(label=max(known, key=Counter(labels).__getitem__), test=scores)


def _notes(training: Training, examples: Examples) -> list[str]:
    notes = examples.notes(training.task)
    below = _all_requirements(training)
    if training.task in {required.task for required in below}:
        notes.append("a source prompt trained on the full data of this very task was available")
    given = {required for required in below if isinstance(required, GivenPrompt)}
    for prompt in sorted(given, key=lambda prompt: prompt.task):
        notes.append(f"source prompt of {prompt.task} was given: {prompt.digest[:12]}")
    return notes


def _all_requirements(training: Training) -> list[Required]:
    """The source prompts below a training: all that it starts from but the target's own prompt."""
    found: list[Required] = []
    method = training.method
    own_prompt = not training.is_source_stage and method.load().needs(method.settings).target
    for position, required in enumerate(training.requires, start=1):
        if own_prompt and position == len(training.requires):
            continue  # The planner puts the target's own prompt last.
        found.append(required)
        if isinstance(required, Training):
            found += _all_requirements(required)
    return found


def _sources(training: Training) -> tuple[SourceBlock, ...]:
    """The source prompts below a training, those behind a shared prompt too."""
    return tuple(
        SourceBlock(
            task=required.task,
            prompt=required.digest,
            given=isinstance(required, GivenPrompt),
        )
        for required in _all_requirements(training)
        if isinstance(required, GivenPrompt) or not required.is_source_stage
    )


def _trained_elsewhere(card: PromptCard) -> list[str]:
    """What a reader must know if another machine or other versions trained the prompt."""
    here = provenance()
    parts = {
        "commit": (card.provenance.get("git_commit"), here["git_commit"]),
        "versions": (card.provenance.get("versions"), here["versions"]),
        "hardware": (card.provenance.get("hardware"), here["hardware"]),
    }
    other = [f"{name} {then}" for name, (then, now) in parts.items() if then != now]
    return [f"the prompt was trained elsewhere: {'; '.join(other)}"] if other else []


def _diagnostics(result: dict[str, Any]) -> dict[str, Any]:
    """The method's diagnostics at the best step and over training; empty if it has none.

    ``changes`` counts, for every list of names among them (DTVG's group), how many evaluations
    found it other than the one before.
    """
    history = [point for point in result["history"] if len(point) > 1]
    best = [point for point in history if point["step"] == result["best_step"]]
    if not best:
        return {}
    lists = [key for key in history[0] if all(_is_names(point.get(key)) for point in history)]
    changes = {
        key: sum(one[key] != other[key] for one, other in pairwise(history)) for key in lists
    }
    return {"best": best[0], "changes": changes, "history": history}


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _provenance_block() -> ProvenanceBlock:
    values = provenance()
    return ProvenanceBlock(**{**values, "hardware": HardwareBlock(**values["hardware"])})
