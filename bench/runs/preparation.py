"""A look at all rows of a run before any training."""

from __future__ import annotations

from bench.data import EncodedExamples
from bench.runs.cells import Training
from bench.runs.local import Work
from bench.runs.workshop import Workshop


def prepare(work: Work, workshop: Workshop) -> None:
    """Read and encode all rows the work needs, so that unusable ones show before any training.

    Raises:
        DataError: rows, columns or labels are not what a task declares.
        ModelError: the model has no room for the longest of them.
    """
    examples = workshop.examples
    for cell in work.cells:
        task = cell.training.task
        _require_room(workshop, cell.training, task, examples.evaluation(task, "test"))
    for training in [*work.prompts, *(cell.training for cell in work.cells)]:
        if training.is_source_stage:
            tasks = [required.task for required in training.requires]
        else:
            tasks = [training.task]
        for task in tasks:
            validation = examples.evaluation(task, "validation")
            chosen = examples.training(task, training.shots, training.seed).encoded
            for encoded in (validation, chosen):
                _require_room(workshop, training, task, encoded)


def _require_room(
    workshop: Workshop, training: Training, task: str, encoded: EncodedExamples
) -> None:
    """Raise ModelError if prompt, longest input and longest answer are too long together."""
    answer = workshop.examples.task(task).target_length
    longest = training.setting.prompt_length + max(encoded.lengths) + answer
    workshop.model.require_room(longest)


__all__ = ["prepare"]
