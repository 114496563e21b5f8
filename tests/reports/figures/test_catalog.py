"""The numbers in the figures are those of the records."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from bench.reports import Results
from bench.reports.figures import draw_figure

MakeResults = Callable[..., Results]


def panel(figure: Figure, title: str) -> Axes:
    (found,) = (axes for axes in figure.axes if axes.get_title().split("\n")[0] == title)
    return found


def curve(*points: tuple[int, float, float]) -> list[dict[str, Any]]:
    return [
        {"step": step, "loss": loss, "validation": {"accuracy": score}, "valid_label_share": 1.0}
        for step, loss, score in points
    ]


def bars(axes: Axes) -> dict[str, tuple[list[float], list[float], list[float]]]:
    """Positions, means and lengths of the bars of each colour."""
    found = {}
    for container in axes.containers:
        assert isinstance(container, ErrorbarContainer)
        line, _, (collection,) = container
        lengths = [(path[1, 1] - path[0, 1]) / 2 for path in collection.get_segments()]
        xs, ys = (np.asarray(values, dtype=float).tolist() for values in line.get_data())
        found[str(line.get_color())] = xs, ys, lengths
    return found


def test_learning_curves(make_results: MakeResults) -> None:
    results = make_results(
        {"cell.seed": 1, "training.curve": curve((10, 2.0, 40.0), (20, 1.0, 60.0))},
        {"cell.seed": 2, "training.curve": curve((10, 4.0, 50.0))},
        {"cell.seed": 1, "label": "pt:x=1", "training.curve": curve((10, 1.0, 90.0))},
        {"cell.seed": 1, "cell.task": "cola", "cell.data.fingerprint": "c"},
    )
    score, loss = draw_figure("learning-curves", results)
    assert (score.name, loss.name) == ("learning-curves-1-score", "learning-curves-1-loss")
    first, _ = panel(score.figure, "mrpc").lines
    assert list(first.get_xdata()) == [10, 20]
    assert list(first.get_ydata()) == [45.0, 60.0]
    band = panel(score.figure, "mrpc").collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in np.asarray(band).tolist()} >= {(10, 40), (10, 50), (20, 60)}
    assert list(panel(loss.figure, "mrpc").lines[0].get_ydata()) == [3.0, 1.0]
    assert [axes.get_title() for axes in score.figure.axes] == ["cola\naccuracy", "mrpc\naccuracy"]


def test_few_shot(make_results: MakeResults) -> None:
    scores = {4: [10.0, 20.0, 60.0], 16: [50.0], None: [70.0, 80.0]}
    results = make_results(
        *(
            {"cell.shots": shots, "cell.seed": seed, "score": score}
            for shots, values in scores.items()
            for seed, score in enumerate(values)
        )
    )
    (drawing,) = draw_figure("few-shot", results)
    axes = panel(drawing.figure, "mrpc")
    ((places, means, lengths),) = bars(axes).values()
    assert places == pytest.approx([0, 1, 2], abs=0.2)
    assert means == pytest.approx([30.0, 50.0, 75.0])
    assert lengths == pytest.approx([statistics.stdev(scores[4]), 0.0, statistics.stdev([70, 80])])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["4", "16", "full"]
    assert "Shots: 4, 16, full data." in drawing.setting


def test_few_shot_keeps_settings_apart(make_results: MakeResults) -> None:
    results = make_results(
        {"cell.shots": 4},
        {"cell.shots": 16},
        {"cell.shots": 4, "cell.model.name": "large", "cell.model.bundled": False},
        {"cell.shots": 32, "cell.model.name": "large", "cell.model.bundled": False},
    )
    drawings = draw_figure("few-shot", results)
    assert [drawing.name for drawing in drawings] == ["few-shot-1", "few-shot-2"]
    large, tiny = drawings
    assert "large" in large.setting
    assert "Shots: 4, 32." in large.setting
    assert "Shots: 4, 16." in tiny.setting


def test_parameters(make_results: MakeResults) -> None:
    def cells(task: str, seed: int, pt: float, dtvg: float) -> list[dict[str, Any]]:
        place = {"cell.task": task, "cell.data.fingerprint": task, "cell.seed": seed}
        big = {"label": "dtvg", "cell.method.name": "dtvg", "training.trainable_parameters": 3000}
        return [{**place, "score": pt}, {**place, **big, "score": dtvg}]

    results = make_results(
        *cells("cola", 1, 10.0, 20.0),
        *cells("cola", 2, 30.0, 20.0),
        *cells("mrpc", 1, 50.0, 80.0),
        *cells("mrpc", 2, 70.0, 60.0),
        *cells("rte", 1, 99.0, 99.0),  # Lacks a seed: no task of all.
    )
    (drawing,) = draw_figure("parameters", results, ("pt", "dtvg"))
    (axes,) = drawing.figure.axes
    pt, dtvg = bars(axes).values()
    # Means over tasks: 30 and 50 of pt, 50 and 40 of dtvg.
    assert (pt[1], dtvg[1]) == ([pytest.approx(40.0)], [pytest.approx(45.0)])
    assert pt[2] == pytest.approx([statistics.stdev([30, 50])])
    assert dtvg[2] == pytest.approx([statistics.stdev([50, 40])])
    assert dtvg[0] == [3000.0]
    assert axes.get_ylabel() == "mean test score over 2 tasks (%)"
    assert "the 2 tasks cola, mrpc" in " ".join(
        text.get_text().replace("\n", " ") for text in drawing.figure.texts
    )


def test_groups(make_results: MakeResults) -> None:
    def told(*groups: list[str]) -> dict[str, Any]:
        history = [{"step": 5 * place, "group": group} for place, group in enumerate(groups)]
        return {"diagnostics": {"history": history}}

    sources = [{"task": t, "prompt": "ab" * 32, "given": False} for t in ("qnli", "mnli", "sst2")]
    results = make_results(
        {"cell.seed": 1, "sources": sources, **told(["mnli"], ["mnli", "qnli"], [])},
        {"cell.seed": 2, "sources": sources, **told([], ["mnli"])},
    )
    (drawing,) = draw_figure("groups", results)
    axes = panel(drawing.figure, "mrpc")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["qnli", "mnli", "sst2"]
    shares = np.asarray(axes.images[0].get_array())
    # The second seed ended before the third evaluation.
    assert shares.tolist() == [[0.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "5", "10"]


def test_similarity(make_results: MakeResults) -> None:
    def told(prompts: float, vectors: float) -> dict[str, Any]:
        first = {
            "step": 0,
            "cosines": {"prompts": {"mnli": prompts}, "task_vectors": {"mnli": vectors}},
        }
        later = {
            "step": 9,
            "cosines": {"prompts": {"mnli": -1.0}, "task_vectors": {"mnli": -1.0}},
        }
        return {"diagnostics": {"history": [first, later]}}

    other = {"cell.task": "cola", "cell.data.fingerprint": "c"}
    results = make_results(
        {"cell.seed": 1, **told(0.9, -0.5)},
        {"cell.seed": 2, **told(0.7, 0.3)},
        # Another variant of the same seed starts from the same prompts.
        {"cell.seed": 2, "label": "dtvg:grouping=all", **told(0.7, 0.3)},
        {"cell.seed": 1, **other, **told(0.5, 0.25)},
    )
    (drawing,) = draw_figure("similarity", results)
    prompts = np.asarray(panel(drawing.figure, "prompts").images[0].get_array())
    vectors = np.asarray(panel(drawing.figure, "task vectors").images[0].get_array())
    assert prompts.ravel().tolist() == pytest.approx([0.5, 0.8])
    assert vectors.ravel().tolist() == pytest.approx([0.25, -0.1])
    shown = [text.get_text() for text in panel(drawing.figure, "task vectors").texts]
    assert shown == ["0.25", "-0.10"]
    assert "of task vectors between -0.10 and 0.25" in drawing.alt
