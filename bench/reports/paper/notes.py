"""What stands above and below the tables of layouts."""

from __future__ import annotations

from bench.records import ModelBlock
from bench.reports.captions import DASH, setting_sentence
from bench.reports.paper.entries import BETTER, WORSE, Spread
from bench.reports.paper.scores import ScoreGrid
from bench.reports.sections import Section
from bench.reports.settings import Setting
from bench.reports.statistics import ALPHA, LEVEL, RESAMPLES

INTERVAL = (
    f"{LEVEL:.0%} percentile interval of a bootstrap over test rows ({RESAMPLES:,} resamples, "
    "the same for all methods and seeds; questions with all their answers where the metric judges "
    "these together)"
)
"""How intervals come about."""


def layout_caption(
    section: Section,
    setting: Setting,
    *,
    models: tuple[ModelBlock, ...],
    shots: tuple[int, ...],
    grid: ScoreGrid,
    spread: Spread,
) -> str:
    """The caption of a table, as plain text in one line."""
    sentences = [setting_sentence(setting, section.seeds, models=models, shots=shots)]
    if section.differences:
        sentences.append(f"Unlike the other tables: {'; '.join(section.differences)}.")
    sentences.append(_reading(grid, spread, len(section.seeds)))
    each = " of each model" if len(models) > 1 else ""
    sentences.append(f"Best value of a column{each} in bold.")
    averages = [column for column in grid.columns if column.kind == "average"]
    if averages:
        of = "; ".join(f"{c.group}: {len(c.tasks)} tasks" for c in averages)
        sentences.append(
            f"Average: mean over the tasks of a suite ({of}), {DASH} where a row lacks one."
        )
    sentences.append(_gaps(grid, section))
    return " ".join(sentences)


def _reading(grid: ScoreGrid, spread: Spread, seeds: int) -> str:
    fewer = f", with (n=…) where fewer than {seeds} seeds finished" if seeds > 1 else ""
    over = "mean over seeds" if seeds > 1 else "of a single seed"
    if spread == "ci":
        if not _has_intervals(grid):
            return (
                f"Test scores in percent: {over}{fewer} (no interval: no predictions are stored)."
            )
        lacking = "; the spread over seeds is not in it" if seeds > 1 else ""
        return f"Test scores in percent: {over} [{INTERVAL}{lacking}]{fewer}."
    if seeds == 1:
        return "Test scores in percent, of a single seed (no ±)."
    return (
        "Test scores in percent: mean ± sample standard deviation over seeds (divisor n - 1; for "
        f"averages, of the seeds' own averages){fewer}."
    )


def _has_intervals(grid: ScoreGrid) -> bool:
    return any(
        grid.score(row, column).interval is not None
        for row in range(len(grid.rows))
        for column in range(len(grid.columns))
    )


def _gaps(grid: ScoreGrid, section: Section) -> str:
    places = {
        (task, column.shots)
        for column in grid.columns
        for task in column.tasks
        if column.kind in ("score", "average")
    }
    seeds = set(section.seeds)
    finished = failed = conflicts = 0
    for row in grid.rows:
        for task, shots in places:
            trials = row.at(task, shots)
            finished += len(trials.finished)
            failed += trials.failed
            conflicts += trials.conflict
    cells = len(grid.rows) * len(places) * len(seeds)
    text = f"Cells (one row, task and seed): {cells} in all, {finished} finished, {failed} failed."
    if conflicts:
        text += (
            f" Rows of {conflicts} tasks have several records of a seed that started from "
            "different prompts and are shown as conflict: move the outdated ones away."
        )
    return text


def layout_notes(grid: ScoreGrid, section: Section, against: str | None) -> list[str]:
    """What marks mean, and why values are missing."""
    notes = []
    if against is not None:
        notes.append(comparison_note(grid, against))
    left_out = {
        f"{metric} is left out: {reason}."
        for record in section.records
        if record.scores is not None
        for metric, reason in record.scores.left_out.items()
        if metric in {column.metric for column in grid.columns}
    }
    return [*notes, *sorted(left_out)]


def comparison_note(grid: ScoreGrid, against: str) -> str:
    """What the marks of a table mean, or why it has none."""
    if all(grid.reference(row, against) is None for row in grid.rows):
        return f"No row {against}: nothing is compared."
    if not grid.comparisons:
        return f"No marks for differences to {against}: no predictions are stored for such pairs."
    tests = "one comparison" if grid.comparisons == 1 else f"{grid.comparisons} comparisons"
    return (
        f"{BETTER} above, {WORSE} below {against}: the difference over common seeds is significant "
        f"at {ALPHA:g} in a two-sided paired bootstrap over test rows ({RESAMPLES:,} resamples), "
        f"after Holm's correction for the {tests} of this table. The "
        "test holds for these trained prompts: it does not contain the chance in training them."
    )


__all__ = ["INTERVAL", "comparison_note", "layout_caption", "layout_notes"]
