"""What stored predictions say about how certain a score is: bootstrap replicates over test rows.

All cells of one task are scored on the same resamples of its test examples (of its questions, where
the metric judges groups), so that scores of two methods, or of two seeds, can be subtracted
replicate by replicate.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bench.errors import BenchError
from bench.predictions import load_predictions
from bench.records import Record
from bench.reports.resampling import ResampledMetric
from bench.reports.results import Results
from bench.reports.statistics import RESAMPLES, Array, resample_counts

SEED = 0
"""Of all resamples; with the task's name, so that tasks are drawn independently."""

_MOST_HELD = 2**26
"""Numbers that are kept for the next table that asks for them: half a GiB."""

_TOLERANCE = 1e-6
"""Percentage points by which a score computed anew may differ from its record."""


class Evidence:
    """Reads predictions of a results folder and resamples them; tables may share one.

    Args:
        results: the records; their predictions lie beside them.
        resamples: number of replicates of every score.

    Attributes:
        warnings: one line per cell whose predictions cannot be used.
    """

    def __init__(self, results: Results, resamples: int = RESAMPLES) -> None:
        self.folder = results.records_folder
        self.resamples = resamples
        self.warnings: list[str] = []
        self._held: dict[tuple[frozenset[str], str], dict[str, Array]] = {}
        self._numbers = 0

    def replicates(self, records: Sequence[Record], metric: str | None = None) -> dict[str, Array]:
        """Scores of all resamples, ``(resamples,)`` in percent, by the digest of the cell.

        Args:
            records: finished cells of one task.
            metric: its name; None: the one that tables show.

        Returns:
            Without cells that have no predictions, and without metrics that are too slow to
            resample. Where cells were scored on different rows, only those of most of them.
        """
        if not records:
            return {}
        scores = records[0].scores
        name = metric or (scores.table_metric if scores is not None else "")
        key = (frozenset(record.digest for record in records), name)
        if key not in self._held:
            found = self._resample(records, metric)
            if self._numbers > _MOST_HELD:
                return found
            self._held[key] = found
            self._numbers += len(found) * self.resamples
        return self._held[key]

    def _resample(self, records: Sequence[Record], metric: str | None) -> dict[str, Array]:
        known = {record.digest: m for record in records if (m := self._metric(record, metric))}
        if not known:
            return {}
        ((units, _),) = Counter(m.units for m in known.values()).most_common(1)
        pairs = {digest: m for digest, m in known.items() if m.units == units}
        task = records[0].cell.task
        if len(pairs) < len(known):
            self._warn(f"cells of {task} were scored on different test rows: some are not compared")
        generator = np.random.default_rng([SEED, zlib.crc32(task.encode())])
        blocks: dict[str, list[Array]] = {digest: [] for digest in pairs}
        for counts in resample_counts(len(units), self.resamples, generator):
            drawn = counts.astype(np.float64)
            for digest, resampled in pairs.items():
                blocks[digest].append(resampled.scores(drawn))
        return {digest: np.concatenate(parts) for digest, parts in blocks.items()}

    def _metric(self, record: Record, name: str | None) -> ResampledMetric | None:
        if record.scores is None or record.predictions is None:
            return None
        metric = name or record.scores.table_metric
        if metric not in record.scores.test:
            return None
        try:
            resampled = ResampledMetric(load_predictions(self.folder, record), metric)
        except BenchError as error:
            self._warn(str(error))
            return None
        if not resampled.fast:
            return None
        if not math.isclose(resampled.score(), record.scores.test[metric], abs_tol=_TOLERANCE):
            self._warn(
                f"the predictions of {record.file_name} give {metric} {resampled.score():.4f}, the "
                f"record says {record.scores.test[metric]:.4f}: not used; run the cell again"
            )
            return None
        return resampled

    def _warn(self, line: str) -> None:
        if line not in self.warnings:
            self.warnings.append(line)


def mean_replicates(records: Iterable[Record], replicates: Mapping[str, Array]) -> Array | None:
    """Replicates ``(B,)`` of the mean over cells; None if a cell has none."""
    parts = [replicates.get(record.digest) for record in records]
    known = [part for part in parts if part is not None]
    return np.mean(known, axis=0) if known and len(known) == len(parts) else None


__all__ = ["SEED", "Evidence", "mean_replicates"]
