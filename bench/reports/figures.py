"""Figures of records, for print and for the page."""

from __future__ import annotations

import io
import math
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from bench.errors import RecordError, UnknownNameError
from bench.files import atomic_write
from bench.record import Record
from bench.reports.frame import Results, make_sections
from bench.reports.scores import MAJORITY, METHODS, Column, Scores
from bench.reports.show import history
from bench.reports.tables import ordered_tasks

STYLE = ["default", str(Path(__file__).with_name("house.mplstyle"))]
"""Look of all figures, whatever the user's settings; needed to draw and to save."""

WIDTH, COLUMNS = 7.2, 5
"""Inches of a page's text, so that font sizes are those in print; most panels side by side."""


@dataclass(frozen=True)
class Part:
    """Finished runs of one setting, by row, without records that contradict each other."""

    number: int
    scores: Scores
    rows: dict[str, list[Record]]
    tasks: list[str]
    shots: list[float]

    @property
    def looks(self) -> dict[str, dict[str, Any]]:
        """Colour, marker and dashes by row; a method looks alike in all figures."""
        cycle = list(mpl.rcParams["axes.prop_cycle"])
        order = list(dict.fromkeys([*METHODS, *self.rows]))
        return {row: cycle[order.index(row) % len(cycle)] for row in self.rows}


def make_parts(results: Results, by_shots: bool = False) -> Iterator[Part]:
    """The settings that have finished runs; with ``by_shots`` a setting holds several shots."""
    for number, section in enumerate(make_sections(results, results.frame, by_shots), 1):
        scores, frame = Scores(section), section.frame.dropna(subset="metric")
        places = zip(frame["row"], frame["task"], frame["shots"], strict=True)
        frame = frame[np.array([place not in scores.conflicts for place in places], bool)]
        ids = frame.groupby("row")["id"].unique()
        rows = {row: [section.records[id] for id in ids[row]] for row in scores.rows if row in ids}
        rows.pop(MAJORITY, None)
        if rows:
            shots = sorted(frame["shots"].unique())
            yield Part(number, scores, rows, ordered_tasks(frame["task"]), shots)


def make_figure(
    part: Part,
    name: str,
    title: str,
    reading: str,
    axes: tuple[str, str],
    panels: Sequence[str] = (),
    height: float = 1.35,
    legend: bool = True,
) -> Figure:
    """A figure with empty panels of a height in inches; without titles, a panel per task."""
    panels = panels or [f"{task}\n{part.scores.metrics[task]}" for task in part.tasks]
    facts = "; ".join(
        f"{key.replace('_', ' ')} {own!s:.40}" for key, own in part.scores.facts().items()
    )
    toy = part.scores.model.bundled or part.scores.facts()["data_kind"] == "bundled"
    reading = ("Bundled model or data: not a benchmark result. " if toy else "") + reading
    notes = textwrap.wrap(f"{reading} Setting: {facts}.", 145)
    looks = part.looks if legend else {}
    heads = [f" {row}" for row in looks]  # A name with "_" in front would be hidden.
    columns = max(1, min(len(heads), 110 // (8 + max(map(len, heads), default=0))))
    lines, across = math.ceil(len(panels) / COLUMNS), min(len(panels), COLUMNS)
    above, below = 0.3 + 0.2 * math.ceil(len(heads) / columns), 0.13 * (len(notes) + 1)
    total = above + 0.2 + lines * height + below
    layout = ConstrainedLayoutEngine(rect=(0, below / total, 1, 1 - (above + below) / total))
    figure = Figure(figsize=(WIDTH, total), layout=layout)
    figure.set_label(f"{name}-{part.number}")
    figure.text(0, 1, title, size=11, weight="bold", va="top")
    figure.text(0, 0, "\n".join(notes), size=7, va="bottom")
    handles, place = [Line2D([], [], **look) for look in looks.values()], (0, 1 - 0.25 / total)
    key = figure.legend(handles, heads, loc="upper left", bbox_to_anchor=place, ncols=columns)
    key.set_in_layout(False)
    for number, head in enumerate(panels):
        panel = figure.add_subplot(lines, across, number + 1, title=head)
        panel.set_xlabel(axes[0] if number + across >= len(panels) else "")
        panel.set_ylabel(axes[1] if number % across == 0 else "")
    return figure


Points: TypeAlias = Sequence[tuple[float, float, float, float]]
"""Position, mean, and lower and upper end of the band."""

SHOTS = "Line: mean over seeds. Band: ± sample standard deviation over seeds, none for one seed."
STEPS = (
    "Line: mean over the seeds that came so far; it may jump where one stops early. Band: lowest "
    "to highest seed."
)


def few_shot(results: Results) -> Iterator[Figure]:
    """Test score against the number of training examples; a figure per setting."""
    title, axes = "Test score (%) against number of training examples", ("shots", "score (%)")
    for part in make_parts(results, by_shots=True):
        if len(part.shots) > 1:
            figure = make_figure(part, "few-shot", title, SHOTS, axes)
            _draw_lines(figure, part, partial(_by_shots, part))
            names = [f"{count:g}".replace("inf", "full") for count in part.shots]
            for panel in figure.axes:
                panel.set_xticks(range(len(names)), names)
            yield figure


def _by_shots(part: Part, row: str, task: str) -> Points:
    columns = [Column("score", "", task, (task,), shots) for shots in part.shots]
    cells = enumerate(part.scores.cell(row, column, interval=False) for column in columns)
    known = [(at, cell["mean"], cell.get("std", 0.0)) for at, cell in cells if "mean" in cell]
    return [(at, mean, mean - spread, mean + spread) for at, mean, spread in known]


def learning_curves(results: Results) -> Iterator[Figure]:
    """Validation score, and training loss, against training steps; two figures per setting."""
    for part in make_parts(results):
        for what in ("validation score (%)", "training loss"):
            axes = ("training steps", what.split(" ", 1)[1])
            name, title = f"learning-curves-{what.split()[1]}", f"Learning curves: {what}"
            figure = make_figure(part, name, title, STEPS, axes)
            _draw_lines(figure, part, partial(_by_step, part, what == "training loss"))
            yield figure


def _by_step(part: Part, loss: bool, row: str, task: str) -> Points:
    found: dict[int, list[float]] = defaultdict(list)
    for record in part.rows[row]:
        for point in record.training.curve if record.training and record.run.task == task else ():
            value = point.loss if loss else point.validation.get(part.scores.metrics[task])
            if value is not None:
                found[point.step].append(value)
    return [(step, fmean(own), min(own), max(own)) for step, own in sorted(found.items())]


def _draw_lines(figure: Figure, part: Part, points: Callable[[str, str], Points]) -> None:
    for task, panel in zip(part.tasks, figure.axes, strict=True):
        for row, look in part.looks.items():
            if known := points(row, task):
                at, means, lows, highs = zip(*known, strict=True)
                panel.plot(at, means, markevery=max(1, len(at) // 4), **look)
                panel.fill_between(at, lows, highs, color=look["color"], alpha=0.15, linewidth=0)
        panel.locator_params(nbins=4)


READING = (
    "Score: mean over {}, which every method finished with every seed. Bars: ± sample standard "
    "deviation over seeds, none for a single seed. Horizontal lines: nothing is trained."
)


def parameters(results: Results) -> Iterator[Figure]:
    """A figure per setting in which all rows finished at least one task with all seeds."""
    for part in make_parts(results):
        scores, tasks = part.scores, []
        for task in part.tasks:
            column = Column("score", "", task, (task,), part.shots[0])
            cells = [scores.cell(row, column, interval=False) for row in part.rows]
            if min(cell["n_seeds"] for cell in cells) == len(scores.seeds):
                tasks.append(task)
        frame = scores.section.frame
        amounts = frame[frame["task"].isin(tasks)].groupby("row")["parameters"].mean()
        trained = amounts[amounts > 0]
        if trained.empty:
            continue
        title, reading = "Test score against trainable parameters", READING.format(", ".join(tasks))
        axes = "trainable parameters", f"mean test score (%), tasks: {len(tasks)}"
        figure = make_figure(part, "parameters", title, reading, axes, [""], height=3)
        (panel,) = figure.axes
        average = Column("average", "", "", tuple(tasks), part.shots[0])
        for row, look in part.looks.items():
            cell = scores.cell(row, average, interval=False)
            if amounts[row]:
                point = look | {"linestyle": "none", "markersize": 7}
                panel.errorbar(amounts[row], cell["mean"], cell.get("std", 0), **point)
            else:
                panel.axhline(cell["mean"], color=look["color"])
        panel.set(xscale="log", xlim=(trained.min() / 1.7, trained.max() * 1.7))
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.minorticks_off()
        yield figure


def groups(results: Results) -> Iterator[Figure]:
    """Sources in the group at each evaluation, by task; a figure per setting and row."""
    reading = "Colour: share of the seeds with the source in the group at that evaluation."
    for part in make_parts(results):
        for place, (row, records) in enumerate(part.rows.items(), 1):
            told = [(r.run.task, *own) for r in records for own in history(r, "group", list)]
            named = [source.task for record in records for source in record.sources]
            grouped = sorted({str(source) for *_, group in told for source in group})
            sources = list(dict.fromkeys([*named, *grouped]))
            lines = [(task, at, name, name in own) for task, at, own in told for name in sources]
            frame = pd.DataFrame(lines, columns=["head", "column", "row", "value"])
            frame, tasks = frame.sort_values("column", kind="stable"), ordered_tasks(frame["head"])
            if tasks:
                title, axes = f"Sources in the group of {row}", ("training steps", "share of seeds")
                yield _map(part, f"groups-{place}", title, reading, axes, frame, tasks, sources)


def similarity(results: Results) -> Iterator[Figure]:
    """Cosines of targets and sources at the first evaluation; a figure per setting.

    Prompts share their initial prompt and are alike; task vectors are what training added to it
    (Zhang et al. 2025). Variants of DTVG start from equal prompts and count once per seed.
    """
    title = "Cosine similarity of targets (rows) and sources (columns)"
    for part in make_parts(results):
        told = [
            (kind.replace("_", " "), str(source), record.run.task, value, record.run.seed, step)
            for records in part.rows.values()
            for record in records
            for step, kinds in history(record, "cosines", dict)[:1]
            for kind, cosines in kinds.items()
            for source, value in (cosines.items() if isinstance(cosines, dict) else ())
            if isinstance(value, float)
        ]
        frame = pd.DataFrame(told, columns=["head", "column", "row", "value", "seed", "step"])
        frame = frame.drop_duplicates(["head", "column", "row", "seed"])
        if len(frame):
            steps = ", ".join(map(str, sorted(frame["step"].unique())))
            reading = f"Means over seeds, of the means over tokens, at step {steps}."
            heads, rows = ["prompts", "task vectors"], ordered_tasks(frame["row"])
            axes = ("", "cosine")
            yield _map(part, "similarity", title, reading, axes, frame, heads, rows)


def _map(
    part: Part,
    name: str,
    title: str,
    reading: str,
    axes: tuple[str, str],
    frame: pd.DataFrame,
    heads: list[str],
    rows: list[str],
) -> Figure:
    """A panel per head with the means of ``value`` by row and column; cosines with numbers."""
    cosines, height = axes[1] == "cosine", max(1.2, 0.45 + 0.15 * len(rows))
    figure = make_figure(part, name, title, reading, (axes[0], ""), heads, height, legend=False)
    panels = list(figure.axes)
    for place, (panel, head) in enumerate(zip(panels, heads, strict=True)):
        values = frame[frame["head"] == head].pivot_table("value", "row", "column", sort=False)
        grid = values.reindex(rows).to_numpy()
        colours, low = ("PuOr_r", -1) if cosines else ("Blues", 0)
        image = panel.imshow(grid, aspect="auto", cmap=colours, vmin=low, vmax=1)
        for (line, column), value in np.ndenumerate(grid):
            if cosines and not np.isnan(value):
                colour = "white" if abs(value) > 0.6 else "black"
                text = f"{round(value, 2) + 0.0:.2f}"
                panel.text(column, line, text, ha="center", va="center", size=6, color=colour)
        step = 1 if cosines else max(1, len(values.columns) // 2)
        panel.set_xticks(range(0, len(values.columns), step), values.columns[::step])
        panel.set_yticks(range(len(rows)), [""] * len(rows) if place % COLUMNS else rows)
        panel.grid(False)
    bar = figure.colorbar(image, ax=panels, location="bottom", shrink=0.4, aspect=40, pad=0.02)
    bar.set_label(axes[1])
    return figure


FIGURES: Mapping[str, Callable[[Results], Iterator[Figure]]] = {
    "few-shot": few_shot,
    "groups": groups,
    "learning-curves": learning_curves,
    "parameters": parameters,
    "similarity": similarity,
}
"""Each yields figures labelled with a name for files: one per setting with records for it."""

NEEDS = {
    "few-shot": "finished runs of two numbers of shots: run `bench run --shots 4,16,full`",
    "groups": "finished runs of DTVG: run `bench run --method dtvg`",
    "parameters": "a task that all methods finished with all seeds: `bench run --overwrite failed`",
    "similarity": "finished runs of DTVG: run `bench run --method dtvg`",
}


def make_figures(
    results: Results, names: Sequence[str] | None = None
) -> tuple[list[Figure], list[str]]:
    """Some or all figures, and a warning for each name without records for it."""
    figures: list[Figure] = []
    warnings = []
    for name in FIGURES if names is None else names:
        if name not in FIGURES:
            raise UnknownNameError("figure", name, FIGURES)
        with matplotlib.style.context(STYLE):
            drawn = list(FIGURES[name](results))
            for figure in drawn:  # Laid out once, so that all files look alike.
                figure.draw_without_rendering()
                figure.set_layout_engine("none")
        figures += drawn
        if not drawn:
            needs = NEEDS.get(name, "finished runs: see `bench status` for what failed")
            warnings.append(f"no figure {name}: {results.folder} lacks {needs}")
    return figures, warnings


def draw(
    results: Results,
    names: Sequence[str] | None,
    folder: Path,
    formats: Sequence[str] = ("pdf", "png"),
) -> tuple[list[Path], list[str]]:
    """Write figures to files, all without names; RecordError if none of them can be drawn."""
    figures, warnings = make_figures(results, names)
    if not figures:
        raise RecordError("; ".join(warnings))
    paths = []
    for figure in figures:
        for form in formats:
            paths.append(folder / f"{figure.get_label()}.{form}")
            atomic_write(paths[-1], image(figure, form))
    return paths, warnings


def image(figure: Figure, form: str, dpi: int = 200) -> bytes:
    """The file of a figure, without the time of writing: equal figures give equal bytes."""
    dates = {"CreationDate": None, "ModDate": None} if form == "pdf" else {"Software": None}
    data = io.BytesIO()
    with matplotlib.style.context(STYLE):
        figure.savefig(data, format=form, metadata=dates, dpi=dpi)
    return data.getvalue()
