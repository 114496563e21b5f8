"""Rows of published numbers beside ours: shown and subtracted, never averaged with ours."""

from __future__ import annotations

from collections.abc import Sequence

from bench.reports.captions import DASH
from bench.reports.paper.columns import Column
from bench.reports.paper.published import AVERAGE, PublishedScore, published_scores
from bench.reports.paper.scores import ScoreGrid
from bench.reports.sheets import Entry, Line, Scalar
from bench.reports.text import number, signed

GROUP = "published only"
"""Row group of methods that have no row of ours."""

KIND = "encoder-decoder"
"""The published numbers are those of such a model (T5-base)."""


class PublishedLines:
    """The published rows of one table.

    Args:
        columns: of the table; published numbers are on the full data, in one metric.
        grid: our scores.
        methods: whose numbers are shown; empty: all.
    """

    def __init__(
        self, columns: Sequence[Column], grid: ScoreGrid, methods: Sequence[str] = ()
    ) -> None:
        self._columns = columns
        self._grid = grid
        self._by_method: dict[str, dict[str, list[PublishedScore | None]]] = {}
        for score in published_scores():
            if methods and score.method not in methods:
                continue
            for place, column in enumerate(columns):
                if _fits(score, column):
                    rows = self._by_method.setdefault(score.method, {})
                    row = rows.setdefault(score.paper, [None] * len(columns))
                    row[place] = score
        self._letters: dict[str, str] = {}
        self._shown: set[str] = set()

    def beside(self, number: int, group: str) -> list[Line]:
        """What is published for one of our rows, and our difference to it.

        Args:
            number: of the row.
            group: of the row.
        """
        row = self._grid.rows[number]
        if row.model.kind != KIND:
            return []
        lines = []
        for paper, scores in self._by_method.get(row.spec, {}).items():
            self._shown.add(row.spec)
            lines.append(self._line(group, "", row.spec, paper, scores))
            entries = [
                _difference(self._grid.score(number, place).mean, score)
                for place, score in enumerate(scores)
            ]
            values: dict[str, Scalar] = {
                "kind": "difference",
                "method": row.method,
                "model": row.model.name,
                "model_digest": row.model.digest,
                "paper": paper,
            }
            lines.append(Line(group, "ours minus published", tuple(entries), values))
        return lines

    def others(self) -> list[Line]:
        """Published methods that have no row of ours."""
        return [
            self._line(GROUP, f"{method}, ", method, paper, scores)
            for method, papers in self._by_method.items()
            if method not in self._shown
            for paper, scores in papers.items()
        ]

    def notes(self) -> list[str]:
        """Provenance by letter; read it after the lines."""
        if not self._by_method:
            return [
                "No published number belongs into this table: the ones at hand are on the full "
                "training data, of GLUE, SuperGLUE, MRQA and other tasks."
            ]
        return [
            "Published numbers are of the model that the paper names and of the published "
            "datasets; nothing published is part of our means.",
            *(f"({letter}) {provenance}." for provenance, letter in self._letters.items()),
        ]

    def _line(
        self,
        group: str,
        prefix: str,
        method: str,
        paper: str,
        scores: Sequence[PublishedScore | None],
    ) -> Line:
        tables = dict.fromkeys(score.table for score in scores if score is not None)
        label = f"{prefix}published: {paper}, table {' and '.join(tables)}"
        values: dict[str, Scalar] = {"kind": "published", "method": method, "paper": paper}
        return Line(group, label, tuple(map(self._entry, scores)), values)

    def _entry(self, score: PublishedScore | None) -> Entry:
        if score is None:
            return Entry(DASH)
        letter = self._letters.setdefault(score.provenance, chr(ord("a") + len(self._letters)))
        values: dict[str, Scalar] = {
            "published": score.value,
            "published_table": score.table,
            "provenance": score.provenance,
        }
        return Entry(number(score.value), after=f"({letter})", number=score.value, values=values)


def _fits(score: PublishedScore, column: Column) -> bool:
    if column.shots is not None:
        return False
    if column.kind == "average":
        return score.task == AVERAGE and score.suite == column.group.lower()
    return (
        column.kind == "score" and score.task == column.tasks[0] and score.metric == column.metric
    )


def _difference(ours: float | None, published: PublishedScore | None) -> Entry:
    if ours is None or published is None:
        return Entry(DASH)
    difference = ours - published.value
    values: dict[str, Scalar] = {
        "ours": ours,
        "published": published.value,
        "difference": difference,
    }
    return Entry(signed(difference), number=difference, values=values)


__all__ = ["GROUP", "PublishedLines"]
