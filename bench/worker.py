"""Execution of one run: lock, train, evaluate, record."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import Any, Literal

from bench.data import Examples, open_source
from bench.errors import BenchError, PromptError, RunError
from bench.grid import Grid, Outcome, Run
from bench.models.base import FrozenLM
from bench.models.loading import load, usable_device
from bench.predictions import Predictions, make_predictions
from bench.progress import Reporter
from bench.provenance import differences, now, peak_memory, provenance, reset_peak_memory
from bench.record import (
    UNSEALED,
    ErrorBlock,
    MajorityBlock,
    PromptBlock,
    Record,
    RunBlock,
    ScoresBlock,
    TimingBlock,
    TrainingBlock,
    TryBlock,
)
from bench.run_setup import SetupBuilder
from bench.store import MERGED, ResultStore, StoredPrompt
from bench.tasks.metrics import majority_scores
from bench.training.callbacks import Callback, TrainingInfo, tell
from bench.training.checkpoint import TrainingResult
from bench.training.evaluation import fixed_prompt
from bench.training.loop import train
from bench.training.stopping import Stop

# Fields of the training result that are copied into the record.
FROM_RESULT = ("steps", "best_step", "best_score", "stopped_early", "curve", "micro_batch_size")


@dataclass
class Worker:
    """Trains and scores the runs of one grid in this process; model and rows stay loaded."""

    grid: Grid
    store: ResultStore
    reporter: Reporter
    callbacks: Sequence[Callback]  # In addition to the reporter.
    stop: Stop
    debug: bool  # Show the tracebacks of failed runs.

    def __post_init__(self) -> None:
        provenance()  # The commit of the imported code; the checkout may change while it runs.

    @cached_property
    def model(self) -> FrozenLM:
        """The frozen language model, loaded on first use."""
        config = self.grid.config
        self.reporter.phase("loading model")
        device = usable_device(config.device)
        model = load(config.model, device, config.precision, config.bin_weights)
        model.warn = self.reporter.say
        return model

    @cached_property
    def builder(self) -> SetupBuilder:
        """Builder of the modules and batches of runs."""
        return SetupBuilder(self.model, self.examples, self._supply, self.stop, self.reporter.phase)

    @cached_property
    def examples(self) -> Examples:
        """Encoded rows; each split is loaded on first use."""
        config = self.grid.config
        source, encoder = open_source(config.data), self.model.encoder
        limits = config.validation_rows, config.train_rows, config.test_rows
        return Examples(source, encoder, config.data_seed, config.input_length, *limits)

    def prepare(self) -> None:
        """Encode all data of the remaining runs up front, so that bad rows fail early."""
        examples = self.examples
        for run in self.grid.todo:
            self.builder.check_starts(run)
            for task in run.tasks:
                self.reporter.phase("encoding", what=task)
                splits = [
                    examples.training(task, run.shots, run.seed),
                    examples.evaluation(task, "validation"),
                ]
                if run.prompt_id in self.grid.reported:
                    splits.append(examples.evaluation(task, "test"))
                longest = max(length for split in splits for length in split.lengths)
                answer = examples.task(task).target_length
                self.model.require_positions(run.prompt_length + longest, answer)

    def execute(self, run: Run, blocked: str | None = None) -> Outcome:
        """Train the prompt of a run if it is missing, and score it on test if the run is reported.

        All needed prompts must exist; if one is missing, ``blocked`` is the reason, which is
        recorded. A run with tries trains nothing, but scores the try that is best on validation.
        """
        self.reporter.phase("starting", what=run.describe())
        with self.store.lock(run) as held:
            if not held:
                return Outcome("locked")
            reported = run.prompt_id in self.grid.reported
            record = self.store.find(run) if reported else None
            to_score = reported and (record is None or record.seal in self.grid.to_replace)
            if record is not None and record.error is not None and not to_score:
                return Outcome("failed", record.error.message)
            try:
                candidates = run.start.tries or (run,)
                prompts = {candidate: self._stored(candidate) for candidate in candidates}
                best = max(candidates, key=lambda candidate: _validation_score(prompts[candidate]))
                stored = prompts[best]
                if stored is not None and not to_score:
                    return Outcome("found")
                if blocked is not None:
                    raise RunError(blocked)
                if stored is None and run.start.tries:
                    raise RunError("all of its tries failed")
                stored = stored or self._train(run)
                if not to_score:
                    return Outcome("finished", f"validation {_validation_score(stored):.1f}")
                record, predictions = self._score(best, stored)
                tries = _tries(run, prompts, best)
                changes = {"id": run.id, "run": self._run_block(run), "tries": tries}
                record = self.store.write(record.model_copy(update=changes), predictions)
                scores, training = record.scores, record.training
                assert scores is not None
                assert training is not None
                tell(
                    (self.reporter, *self.callbacks),
                    "on_scores",
                    _info(run),
                    training.steps,
                    scores.test,
                )
            except Exception as error:
                if isinstance(error, BenchError) and not isinstance(error, RunError):
                    raise
                self.store.checkpoint(run).unlink(missing_ok=True)  # A repetition starts anew.
                if self.debug:
                    self.reporter.say("".join(traceback.format_exception(error)))
                if to_score:
                    self.store.write(self._failed(run, error))
                return Outcome("failed", " ".join(str(error).split()))
        metric = scores.table_metric
        return Outcome("finished", f"test {metric} {scores.test[metric]:.1f}")

    def _stored(self, run: Run) -> StoredPrompt | None:
        """The prompt of a run; None if it is missing, damaged or to be replaced."""
        try:
            stored = self.store.prompt_of(run)
        except PromptError as error:
            self.reporter.say(f"warning: {error}; it is trained again")
            return None
        return stored if stored and stored.record.seal not in self.grid.to_replace else None

    def _supply(self, need: Run | StoredPrompt) -> StoredPrompt:
        if isinstance(need, StoredPrompt):
            return need
        return self.store.load_prompt(need.prompt_id)

    def _train(self, run: Run) -> StoredPrompt:
        self.store.remove_prompt(run)  # If killed after this line, the run is trained again.
        reset_peak_memory()
        started = now()
        setup = self.builder.make(run)
        checkpoint = self.store.checkpoint(run)
        result = train(
            self.model,
            setup.module,
            setup.batches,
            run.training,
            run.seed,
            setup.validate,
            info=_info(run),
            checkpoint=checkpoint,
            callbacks=(self.reporter, *self.callbacks),
            stop=self.stop,
            warn=self.reporter.say,
        )
        tensors = setup.tensors()
        form: Literal["prompt", "module", "shared"] = "prompt"
        if MERGED not in tensors:
            form = "shared" if run.is_source_stage else "module"
        record = Record(
            id=run.prompt_id,
            status="finished",
            run=self._run_block(run),
            rows=setup.rows,
            training=TrainingBlock(
                trainable_parameters=setup.module.trainable_parameters(),
                initial_digest=self.builder.initial_digest(run),
                prompt=run.prompt_id,
                evaluation_micro_batch_size=setup.evaluation_micro_batch_size,
                **{key: getattr(result, key) for key in FROM_RESULT},
            ),
            diagnostics=_diagnostics(result),
            timing=TimingBlock(
                started=started,
                finished=now(),
                training_seconds=result.seconds,
                examples_per_second=result.examples_per_second,
                peak_memory_bytes=peak_memory(),
            ),
            provenance=provenance(),
            sources=run.sources(),
            prompt=PromptBlock(form=form, sha256=UNSEALED),
        )
        self.store.save_prompt(record, tensors)
        checkpoint.unlink(missing_ok=True)
        return self.store.load_prompt(run.prompt_id)

    def _score(self, run: Run, stored: StoredPrompt) -> tuple[Record, Predictions]:
        """Score a prompt on test; returns its record with the scores, and the predictions."""
        if MERGED in stored.tensors:
            source = fixed_prompt(stored.matrix.to(self.model.device))
        else:
            module = self.builder.build(run)
            module.load_state_dict(stored.tensors)
            source = self.builder.prompt_source(module)
        record, training = stored.record, stored.record.training
        assert training is not None
        assert record.rows is not None
        started = time.perf_counter()
        rows, task = self.examples.evaluation(run.task, "test"), self.examples.task(run.task)
        micro_batch_size = training.evaluation_micro_batch_size
        test = self.builder.evaluate(run, run.task, "test", source, micro_batch_size)
        seconds = time.perf_counter() - started
        predictions = make_predictions(
            task.scorers, rows.rows, test.predictions, rows.references, rows.groups
        )
        best = next(point for point in training.curve if point.step == training.best_step)
        labels = self.examples.labels(run.task)
        majority = majority_scores(task, labels, rows.references, rows.groups)
        notes, share = self._notes(run, record), test.scores.valid_label_share
        timing = {"finished": now(), "evaluation_seconds": seconds}
        changes = {
            "rows": record.rows.model_copy(update={"test": len(rows), "notes": notes}),
            "scores": ScoresBlock(
                table_metric=task.table_metric,
                validation=best.validation,
                test=test.scores.metrics,
                valid_label_share={"validation": best.valid_label_share, "test": share},
                left_out=test.scores.left_out,
            ),
            "majority": majority and MajorityBlock(label=majority[0], test=majority[1]),
            "training": training.model_copy(
                update={"evaluation_micro_batch_size": test.micro_batch_size or micro_batch_size}
            ),
            "timing": record.timing.model_copy(update=timing),
            "provenance": provenance(),
            "prompt": None,
        }
        return record.model_copy(update=changes), predictions

    def _notes(self, run: Run, prompt: Record) -> list[str]:
        """Caveats on the scores, for the record."""
        notes = list(self.examples.notes(run.task))
        sources = run.sources()
        if run.task in chain.from_iterable(source.task.split("+") for source in sources):
            notes.append("a source prompt trained on the full data of this very task was available")
        for source in sources:
            if source.given:
                notes.append(f"source prompt of {source.task} was given: {source.prompt[:12]}")
        if changes := differences(prompt.provenance, provenance()):
            notes.append(f"the prompt was trained in another environment: {'; '.join(changes)}")
        return notes

    def _failed(self, run: Run, error: Exception) -> Record:
        """Record of a failed run."""
        return Record(
            id=run.id,
            status="failed",
            error=ErrorBlock(type=type(error).__name__, message=" ".join(str(error).split())),
            run=self._run_block(run),
            timing=TimingBlock(started=now(), finished=now(), peak_memory_bytes=peak_memory()),
            provenance=provenance(),
            sources=run.sources(),
        )

    def _run_block(self, run: Run) -> RunBlock:
        """Run block of the record, with the parameter count of the loaded model."""
        model = run.protocol.model.model_copy(update={"parameters": self.model.parameter_count()})
        return run.protocol.model_copy(update={"model": model})


def _info(run: Run) -> TrainingInfo:
    """Description of a run for callbacks."""
    return TrainingInfo(run.prompt_name, run.describe(), run.protocol.model_dump(mode="json"))


def _validation_score(stored: StoredPrompt | None) -> float:
    training = None if stored is None else stored.record.training
    return -math.inf if training is None else training.best_score


def _tries(run: Run, prompts: Mapping[Run, StoredPrompt | None], best: Run) -> list[TryBlock]:
    """Tries of a run with the settings that differ; empty for a run without tries."""
    common = run.protocol.settings
    return [
        TryBlock(
            settings={k: v for k, v in candidate.protocol.settings.items() if v != common[k]},
            score=stored.record.training.best_score if stored and stored.record.training else None,
            prompt=candidate.prompt_id,
            chosen=candidate is best,
        )
        for candidate, stored in prompts.items()
        if candidate is not run
    ]


def _diagnostics(result: TrainingResult) -> dict[str, Any]:
    """Diagnostics of the method at the best step and over training; empty if there are none.

    ``changes`` counts, for each list of names (DTVG's group), the evaluations at which the list
    differs from the previous one.
    """
    history = [point for point in result.history if len(point) > 1]
    best = next((point for point in history if point["step"] == result.best_step), {})
    changes = {
        key: sum(point.get(key) != following.get(key) for point, following in pairwise(history))
        for key, value in best.items()
        if isinstance(value, list) and all(isinstance(item, str) for item in value)
    }
    return {"best": best, "changes": changes, "history": history} if best else {}
