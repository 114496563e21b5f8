"""Score a stored prompt on a task, whoever trained it."""

from __future__ import annotations

from bench.errors import PromptError
from bench.models.base import FrozenLM
from bench.models.info import ModelInfo
from bench.runs.examples import Examples
from bench.runs.prompts import StoredPrompt
from bench.training.evaluation import Evaluation, evaluate, fixed_prompt


def require_model(stored: StoredPrompt, model: ModelInfo) -> None:
    """Check that a prompt belongs to a model.

    Raises:
        PromptError: it does not.
    """
    if stored.card.training.get("model") != model.digest:
        raise PromptError(
            f"prompt {stored.card.digest[:12]} belongs to another model than {model.name}: name "
            "its own by --model, or import it for this one"
        )


def evaluate_prompt(
    stored: StoredPrompt,
    model: FrozenLM,
    examples: Examples,
    task: str,
    split: str = "test",
    batch_size: int = 100,
    beams: int = 1,
) -> Evaluation:
    """Answer the rows of a split with a stored prompt in front, and score the answers.

    Args:
        stored: one matrix for all inputs.
        model: the frozen language model it belongs to.
        examples: gives the rows.
        task: to answer; need not be the one the prompt was trained on.
        split: ``test`` or ``validation``.
        batch_size: rows that are answered at once.
        beams: of the search for answers; 1: greedy.

    Raises:
        PromptError: the prompt depends on the input.
        DataError: rows are missing or unusable.
    """
    prompt = fixed_prompt(stored.matrix.to(model.device))
    rows = examples.evaluation(task, split)
    return evaluate(model, prompt, rows, examples.task(task), batch_size, beams)
