"""The work on one device: train the prompt of a training, evaluate the prompt of a cell."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from bench.errors import PromptError
from bench.models.base import FrozenLM
from bench.protocol import tensor_digest
from bench.runs.cells import Cell, GivenPrompt, Required, Training
from bench.runs.claims import StepNotes
from bench.runs.examples import Examples
from bench.runs.jobs import Job, SourceStageJob, TargetJob, stored_prompt_source
from bench.runs.progress import Display
from bench.runs.prompts import Form, PromptCard, PromptStore, StoredPrompt
from bench.runs.provenance import now, peak_memory, provenance, reset_peak_memory
from bench.runs.recording import Result, failed, finished
from bench.training.checkpoints import CheckpointFile
from bench.training.evaluation import evaluate
from bench.training.listeners import Listener
from bench.training.loop import Trainer, TrainingResult
from bench.training.packing import train_together
from bench.training.stopping import Stop

Ended = Callable[[Training, StoredPrompt | Exception], None]
"""Told of a training that ended, with its prompt or the error it ended by."""


@dataclass(frozen=True)
class _Made:
    """A training made ready: what it trains, by what, and since when."""

    training: Training
    job: Job
    trainer: Trainer
    started: str


class Workshop:
    """Trains and evaluates on one frozen model.

    Args:
        model: the frozen language model.
        examples: the encoded rows of all tasks.
        store: where prompts are kept.
        checkpoint: where the checkpoint of a training lies, by digest.
        display: told about progress.
        listeners: told about progress of training too.
        stop: asked by every training whether to stop.
        beside: listeners for each training that may share its passes with one that ``listeners``
            hear of.
    """

    def __init__(
        self,
        model: FrozenLM,
        examples: Examples,
        store: PromptStore,
        checkpoint: Callable[[str], CheckpointFile],
        display: Display,
        listeners: Sequence[Listener] = (),
        stop: Stop | None = None,
        beside: Sequence[Sequence[Listener]] = (),
    ) -> None:
        self.model = model
        self.examples = examples
        self.store = store
        self.checkpoint = checkpoint
        self.display = display
        self.stop = stop or Stop()
        self._lanes = [(display, StepNotes(store.claims), *listeners)]
        for each in beside:
            self._lanes.append((display.beside(), StepNotes(store.claims), *each))

    @property
    def room(self) -> int:
        """How many trainings :meth:`train_together` takes."""
        return len(self._lanes)

    def train(self, training: Training) -> StoredPrompt:
        """Give the prompt of a training: from the store, or trained now and stored.

        Another process may be training it: then this waits for what it gives.

        Raises:
            PromptError: a prompt it starts from does not fit.
            DivergedError: the loss is no longer finite.
            ClaimLostError: another process took the training over.
        """
        digest = training.digest
        before = self.store.stamp(digest)
        stored = self._stored(training)
        if stored is not None:
            return stored
        with self.store.claims.holding(digest, training.describe()):
            if self.store.stamp(digest) != before:
                stored = self._stored(training)
            return stored or self._train(training)

    def _stored(self, training: Training) -> StoredPrompt | None:
        if self.store.has(training.digest):
            try:
                return self.store.load(training.digest)
            except PromptError as error:
                self.display.say(f"warning: {error}")
        return None

    def train_together(self, trainings: Sequence[Training], ended: Ended) -> None:
        """Train and store the prompts of several trainings in shared passes.

        Args:
            trainings: whose claims this process holds; at most :attr:`room`.
            ended: told of each as soon as its prompt is stored, or it failed; if it raises, the
                others save checkpoints and end.

        Raises:
            StopRequested: as asked for; all have saved checkpoints.
            BaseException: from ``ended``.
        """
        reset_peak_memory()
        made: dict[Trainer, _Made] = {}
        for training, listeners in zip(trainings, self._lanes, strict=False):
            try:
                one = self._make(training, listeners)
            except Exception as error:
                ended(training, error)
            else:
                made[one.trainer] = one

        def store(trainer: Trainer, outcome: TrainingResult | Exception) -> None:
            one = made[trainer]
            given: StoredPrompt | Exception
            try:
                given = outcome if isinstance(outcome, Exception) else self._store(one, outcome)
            except Exception as error:
                given = error
            ended(one.training, given)

        train_together(list(made), store)

    def _train(self, training: Training) -> StoredPrompt:
        reset_peak_memory()
        one = self._make(training, self._lanes[0])
        return self._store(one, one.trainer.run())

    def _make(self, training: Training, listeners: Sequence[Listener]) -> _Made:
        started = now()
        make = SourceStageJob if training.is_source_stage else TargetJob
        job = make(training, self.model, self.examples, self.supply)
        checkpoint = self.checkpoint(training.digest)
        damage = checkpoint.damage()
        if damage is not None:
            self.display.say(f"warning: {damage}; the training begins anew")
        trainer = Trainer(
            self.model,
            job.module,
            job.stream,
            training.hyperparameters,
            training.seed,
            job.validate,
            checkpoint,
            listeners,
            training.info(),
            self.stop,
        )
        return _Made(training, job, trainer, started)

    def _store(self, made: _Made, result: TrainingResult) -> StoredPrompt:
        digest = made.training.digest
        form, tensors = made.job.tensors()
        self.store.claims.check(digest)
        self.store.save(self._card(made, form, result), tensors)
        self.checkpoint(digest).remove()
        return self.store.load(digest)

    def supply(self, required: Required) -> StoredPrompt:
        """Give a prompt that another training starts from.

        Raises:
            PromptError: a given prompt is missing or damaged, or as :meth:`train`.
            DivergedError: the loss is no longer finite.
        """
        if isinstance(required, GivenPrompt):
            return self.store.load(required.digest)
        return self.train(required)

    def evaluate(self, cell: Cell) -> Result:
        """Score a cell's prompt, trained before or now, on test."""
        training = cell.training
        stored = self.train(training)
        prompt = stored_prompt_source(training, stored, self.model, self.supply)
        task = self.examples.task(training.task)
        settings = training.hyperparameters
        began = time.perf_counter()
        rows = self.examples.evaluation(task.name, "test")
        test = evaluate(
            self.model, prompt, rows, task, settings.evaluation_batch_size, settings.beams
        )
        seconds = time.perf_counter() - began
        return finished(cell, self.model.parameter_count(), stored, self.examples, test, seconds)

    def failed(self, cell: Cell, error: Exception) -> Result:
        """The result of a cell that could not be finished."""
        return failed(cell, self.model.parameter_count(), error)

    def _card(self, made: _Made, form: Form, result: TrainingResult) -> PromptCard:
        training, job = made.training, made.job
        return PromptCard(
            digest=training.digest,
            form=form,
            training={**training.card(), "model_name": training.setting.model.name},
            initial_digest=self._initial_digest(training),
            trainable_parameters=job.module.trainable_parameters(),
            rows=asdict(job.rows),
            result={
                "steps": result.steps,
                "best_step": result.best_step,
                "best_score": result.best_score,
                "stopped_early": result.stopped_early,
                "curve": result.curve,
                "history": result.history,
                "micro_batch_size": result.micro_batch_size,
                "evaluation_micro_batch_size": job.evaluation_micro_batch_size,
                "trainings_per_pass": result.trainings_per_pass,
            },
            timing={
                "started": made.started,
                "finished": now(),
                "training_seconds": result.seconds,
                "examples_per_second": result.examples_per_second,
                "peak_memory_bytes": peak_memory(),
            },
            provenance=provenance(),
        )

    def _initial_digest(self, training: Training) -> str | None:
        """Of the ``P_init`` behind a training; None if it builds on a given prompt of another."""
        initial = self.model.initial_prompt(training.setting.prompt_length, training.seed)
        digest = tensor_digest(initial)
        starts = {self.supply(required).card.initial_digest for required in training.requires}
        return digest if starts <= {digest} else None
