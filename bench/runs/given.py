"""Stored prompts that the user gives in place of training source prompts."""

from __future__ import annotations

from collections.abc import Iterable

from bench.config import RunConfig
from bench.errors import InitialPromptMismatchError, PromptError
from bench.models.base import FrozenLM
from bench.models.info import ModelInfo
from bench.protocol import tensor_digest
from bench.runs.cells import Cell, GivenPrompt
from bench.runs.prompts import PromptStore


def find_given(config: RunConfig, model: ModelInfo, store: PromptStore) -> dict[str, GivenPrompt]:
    """The prompts that ``source_prompts`` names, by task in the order of the sources.

    Raises:
        PromptError: one is missing, damaged, no single matrix, or of another task, model or length.
    """
    found = {}
    for task in config.sources:
        if task in config.source_prompts:
            found[task] = _find(task, config.source_prompts[task], config, model, store)
    return found


def require_starts(cells: Iterable[Cell], model: FrozenLM | None = None) -> None:
    """Check the start of given prompts for the methods that work with differences to ``P_init``.

    Args:
        cells: those to run.
        model: gives ``P_init`` of each seed; None: only find prompts of unknown start.

    Raises:
        InitialPromptMismatchError: a given prompt started elsewhere, or its start is unknown.
    """
    for cell in cells:
        training = cell.training
        spec = training.method
        if not spec.load().needs(spec.settings).same_initial:
            continue
        for prompt in training.requires:
            if not isinstance(prompt, GivenPrompt):
                continue
            name = f"source_prompts.{prompt.task}: prompt {prompt.digest[:12]}"
            if prompt.initial_digest is None:
                raise InitialPromptMismatchError(
                    f"{name} was trained from an unknown initial prompt, but {spec.label} needs "
                    "the difference to it: import it again with --initial or --seed, or leave "
                    f"{spec.label} out"
                )
            if model is None:
                continue
            initial = model.initial_prompt(training.setting.prompt_length, training.seed)
            if prompt.initial_digest != tensor_digest(initial):
                raise InitialPromptMismatchError(
                    f"{name} was trained from another initial prompt than that of seed "
                    f"{training.seed}, to which {spec.label} takes differences: run the seed it "
                    f"was trained with, or leave {spec.label} out"
                )


def _find(
    task: str, prefix: str, config: RunConfig, model: ModelInfo, store: PromptStore
) -> GivenPrompt:
    stored = store.load(store.find(prefix))
    card = stored.card
    place = f"source_prompts.{task}: prompt {card.digest[:12]}"
    of_task, length = card.training.get("task"), stored.matrix.shape[0]
    if of_task != task:
        raise PromptError(f"{place} is of task {of_task}: name it for that one")
    if card.training.get("model") != model.digest:
        raise PromptError(
            f"{place} belongs to another model than {model.name}: train or import it for this one"
        )
    if length != config.prompt_length:
        raise PromptError(
            f"{place} has {length} tokens, the run {config.prompt_length}: "
            f"set prompt_length={length}, or choose another prompt"
        )
    return GivenPrompt(task, card.digest, card.initial_digest)
