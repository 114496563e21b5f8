"""Builds the module, batches and validation that the training loop needs for a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.data import Examples, MixtureBatches, TaskBatches
from bench.grid import Run
from bench.method import (
    PromptMethod,
    SoftPrompt,
    SourceStage,
    StartPrompts,
    require_same_initial,
    require_same_shape,
    tensor_digest,
)
from bench.models.base import FrozenLM
from bench.record import RowsBlock
from bench.seeding import derive_seed
from bench.store import MERGED, StoredPrompt
from bench.tasks.metrics import TaskScores
from bench.training.checkpoint import snapshot
from bench.training.evaluation import Evaluation, PromptSource, evaluate, fixed_prompt
from bench.training.loop import Validation
from bench.training.stopping import Stop


@dataclass
class Setup:
    """Module, batches and validation of one run."""

    run: Run
    module: PromptMethod[Any] | SourceStage
    batches: TaskBatches | MixtureBatches
    rows: RowsBlock
    builder: SetupBuilder
    # Rows per pass, if reduced after an out-of-memory error.
    evaluation_micro_batch_size: int | None = None

    def validate(self) -> Validation:
        """Validation metrics (in a source stage by task), and the score that selects a step."""
        module, means = self.module, {}
        if isinstance(module, SourceStage):
            for index, task in enumerate(self.run.tasks):
                scores = self._scores(task, fixed_prompt(module.task_prompt(index)))
                means[task] = self.builder.selection_score(task, scores.metrics)
            return Validation(means, sum(means.values()) / len(means), None)
        scores = self._scores(self.run.task, self.builder.prompt_source(module))
        score = self.builder.selection_score(self.run.task, scores.metrics)
        return Validation(scores.metrics, score, scores.valid_label_share)

    def tensors(self) -> dict[str, Tensor]:
        """Tensors to store for the trained module."""
        if isinstance(self.module, SourceStage):
            return self.module.source_state()
        merged = self.module.merged_prompt()
        return snapshot(self.module) if merged is None else {MERGED: merged}

    def _scores(self, task: str, prompt: PromptSource) -> TaskScores:
        rows = self.evaluation_micro_batch_size
        evaluation = self.builder.evaluate(self.run, task, "validation", prompt, rows)
        self.evaluation_micro_batch_size = evaluation.micro_batch_size or rows
        return evaluation.scores


@dataclass
class SetupBuilder:
    """Builds setups on one frozen model; ``supply`` loads the prompts that runs start from."""

    model: FrozenLM
    examples: Examples
    supply: Callable[[Run | StoredPrompt], StoredPrompt]
    stop: Stop
    on_progress: Callable[[str, int, int], object] = lambda phase, done, total: None

    def make(self, run: Run) -> Setup:
        """Build the setup of a run: a method on one target task, or a joint source stage."""
        examples, size, device = self.examples, run.training.batch_size, self.model.device
        encoded = {task: examples.training(task, run.shots, run.seed) for task in run.tasks}
        numbers = {task: list(dict.fromkeys(rows.rows)) for task, rows in encoded.items()}
        rows = RowsBlock(
            train=sum(map(len, numbers.values())),
            validation=sum(len(examples.evaluation(task, "validation")) for task in encoded),
            test=0,
            few_shot=None if run.shots is None else numbers[run.task],
            notes=[],
        )
        if not run.is_source_stage:
            batching = run.training.batching
            batches = TaskBatches(encoded[run.task], size, run.seed, device, batching)
            return Setup(run, self.build(run), batches, rows, self)
        module = self.build(run, {task: len(rows) for task, rows in encoded.items()})
        mixture = MixtureBatches([*encoded.values()], module, size, run.seed, device)
        return Setup(run, module, mixture, rows, self)

    def build(self, run: Run, examples: Mapping[str, int] | None = None) -> Any:
        """Build the method's module; with ``examples`` (count by task), its source stage.

        Random initialisation follows from the seed.
        """
        self.check_starts(run)  # On Ray, no worker checks them up front.
        start, method = self._start_prompts(run), run.method.load()
        torch.manual_seed(derive_seed("module", run.seed))
        settings = run.method.settings
        if examples is None:
            return method.build(settings, start).to(self.model.device)
        return method.source_stage(settings, start, examples).to(self.model.device)

    def prompt_source(self, module: PromptMethod[Any]) -> PromptSource:
        """Prompt source of a module for evaluation: its merged prompt, if it has one."""
        merged = module.merged_prompt()
        if merged is not None:
            return fixed_prompt(merged)
        return lambda batch: module.prompt_for(self.model, batch)

    def evaluate(
        self, run: Run, task: str, split: str, prompt: PromptSource, rows: int | None = None
    ) -> Evaluation:
        """Answer and score a split with the run's settings, at most ``rows`` rows per batch."""
        split_rows, entry = self.examples.evaluation(task, split), self.examples.task(task)
        size, beams = rows or run.training.evaluation_batch_size, run.training.beams
        on_progress = partial(self.on_progress, "scoring test" if split == "test" else "validating")
        return evaluate(self.model, prompt, split_rows, entry, size, beams, self.stop, on_progress)

    def selection_score(self, task: str, metrics: Mapping[str, float]) -> float:
        """Mean of the task's selection metrics that are available, or else of all metrics."""
        names = self.examples.task(task).selection_metrics
        chosen = [metrics[name] for name in names if name in metrics] or [*metrics.values()]
        return sum(chosen) / len(chosen)

    def check_starts(self, run: Run) -> None:
        """Raise PromptError for given prompts of another shape, or ``P_init`` if that matters."""
        needs = run.method.load().needs(run.method.settings)
        require = require_same_initial if needs.same_initial else require_same_shape
        given = [need for need in run.start.sources if isinstance(need, StoredPrompt)]
        require(self._initial(run), [self._soft_prompt(need) for need in given])

    def initial_digest(self, run: Run) -> str | None:
        """Digest of a run's ``P_init``; None if a given prompt was trained from another one."""
        digest = tensor_digest(self._initial(run))
        starts = {self.supply(need).initial_digest for need in run.start}
        return digest if starts <= {digest} else None

    def _initial(self, run: Run) -> Tensor:
        return self.model.initial_prompt(run.protocol.prompt_length, run.seed)

    def _start_prompts(self, run: Run) -> StartPrompts:
        start, stage = run.start, run.start.source_stage
        return StartPrompts(
            initial=self._initial(run),
            sources=tuple(map(self._soft_prompt, start.sources)),
            target=None if start.target is None else self._soft_prompt(start.target),
            source_state=None if stage is None else self.supply(stage).tensors,
            stored=None if start.stored is None else self._soft_prompt(start.stored),
        )

    def _soft_prompt(self, need: Run | StoredPrompt) -> SoftPrompt:
        stored = self.supply(need)
        return SoftPrompt(need.task, stored.matrix, stored.initial_digest)
