"""The metrics in the form that the ``evaluate`` library gives to its own."""

from __future__ import annotations

from typing import Any

import evaluate
from datasets import Features, Sequence, Value

from bench.tasks.metrics.definitions import Metric


class MetricModule(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """An ``evaluate`` metric computed by the project: no download, no cache file."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        super().__init__(keep_in_memory=True)
        self.info.module_name = metric.name

    def _build_data_dir(self) -> str:
        # The base class makes its cache folder even if it keeps everything in memory.
        return str(self._data_dir_root)

    def _info(self) -> evaluate.MetricInfo:
        text = Value("string")
        more = {"groups": text} if self.metric.grouped else {}
        return evaluate.MetricInfo(
            description=self.metric.description,
            citation="",
            inputs_description=f"predictions, references{''.join(f', {name}' for name in more)}",
            features=[
                Features({"predictions": text, "references": references, **more})
                for references in (text, Sequence(text))
            ],
        )

    def _compute(
        self,
        predictions: list[str],
        references: list[str] | list[list[str]],
        **groups: Any,
    ) -> dict[str, float]:
        answers = [[item] if isinstance(item, str) else list(item) for item in references]
        return self.metric.compute(predictions, answers, **groups)
