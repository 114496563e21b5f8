"""One JSON line per evaluation, in one file per run."""

from __future__ import annotations

import json
from pathlib import Path

from bench.training.callbacks import Callback, EvaluationEvent, TrainingInfo


class JsonLines(Callback):
    """Appends to ``OUT/logs/<name of the prompt>.jsonl``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_start(self, info: TrainingInfo, step: int, total: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / f"{info.name}.jsonl"

    def on_evaluation(self, event: EvaluationEvent) -> None:
        line = {"step": event.step, "loss": event.loss, **event.scores}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


LOGGERS = {"json-lines": JsonLines}
