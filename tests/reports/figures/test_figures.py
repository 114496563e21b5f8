"""The numbers in figures are those of the records, and files are equal for equal records."""

import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from bench.errors import RecordError, UnknownNameError
from bench.reports.canvas import image
from bench.reports.figures import FIGURES, draw, make_figures
from bench.reports.frame import Results
from tests.reports.conftest import MakeResults, by_task


def told(history: Any) -> dict[str, Any]:
    return {".diagnostics": {"history": history}}


def figures(results: Results, name: str) -> list[Figure]:
    return make_figures(results, [name])[0]


def panel(figure: Figure, title: str) -> Axes:
    (found,) = (axes for axes in figure.axes if axes.get_title().split("\n")[0] == title)
    return found


def labels(ticks: list[Text]) -> list[str]:
    return [tick.get_text() for tick in ticks]


def footer(figure: Figure) -> str:
    return " ".join(figure.texts[1].get_text().split())


def curve(*points: tuple[int, float, float]) -> dict[str, Any]:
    return {
        ".training.curve": [
            {"step": step, "loss": loss, "validation": {"accuracy": score}, "valid_label_share": 1}
            for step, loss, score in points
        ]
    }


def test_learning_curves(make_results: MakeResults) -> None:
    results = make_results(
        {"seed": 1} | curve((10, 2.0, 40.0), (20, 1.0, 60.0)),
        {"seed": 2} | curve((10, 4.0, 50.0)),
        {"seed": 1, "label": "pt:x=1"} | curve((10, 1.0, 90.0)),
        {"seed": 1, "task": "cola"},
    )
    (score,), (loss,) = figures(results, "learning-curves"), figures(results, "losses")
    assert [score.get_label(), loss.get_label()] == ["learning-curves-1", "losses-1"]
    assert [axes.get_title() for axes in score.axes] == ["CoLA", "MRPC"]
    first, second = panel(score, "MRPC").lines
    assert list(first.get_xdata()) == [10, 20]
    assert list(first.get_ydata()) == [45.0, 60.0]
    assert list(second.get_ydata()) == [90.0]
    band = np.asarray(panel(score, "MRPC").patches[0].get_path().vertices)
    assert {tuple(point) for point in band.tolist()} >= {(10, 40), (10, 50), (20, 60)}
    assert list(panel(loss, "MRPC").lines[0].get_ydata()) == [3.0, 1.0]
    (legend,) = score.legends
    assert [text.get_text().strip() for text in legend.get_texts()] == ["PT", "PT:x=1"]


def test_few_shot(make_results: MakeResults) -> None:
    scores = {4: [10.0, 20.0, 60.0], 16: [50.0], None: [70.0, 80.0]}
    variations = [
        {"shots": shots, "seed": seed, "score": score}
        for shots, values in scores.items()
        for seed, score in enumerate(values)
    ]
    (figure,) = figures(make_results(*variations), "few-shot")
    axes = panel(figure, "MRPC")
    (line,) = axes.lines
    assert list(line.get_ydata()) == pytest.approx([30.0, 50.0, 75.0])
    low = np.asarray(axes.patches[0].get_path().vertices)[:, 1].min()
    assert low == pytest.approx(30 - statistics.stdev(scores[4]))
    assert labels(axes.get_xticklabels()) == ["4", "16", "full"]


def test_parameters(make_results: MakeResults) -> None:
    rows = ("pt", "dtvg")
    first = by_task(rows, {"cola": (10.0, 20.0), "mrpc": (50.0, 80.0), "rte": (99.0, 99.0)})
    second = by_task(rows, {"cola": (30.0, 20.0), "mrpc": (70.0, 60.0)})
    constant = by_task(["no_prompt"], {"cola": [5.0], "mrpc": [7.0]})
    results = make_results(
        *(run | {"seed": 1} for run in first),  # On rte, seed 2 is lacking.
        *(run | {"seed": 2} for run in second),
        *(run | {"seed": 1, "parameters": 0} for run in constant),
    )
    (figure,) = figures(results, "cost")
    axes = figure.axes[0]
    # Means over tasks by seed: 30 and 50 of pt, 50 and 40 of dtvg.
    points = {
        round(float(line.get_ydata()[0]), 6): bars.get_segments()[0][:, 1]
        for line, _, (bars,) in axes.containers
    }
    assert points.keys() == {40, 45}
    assert np.ptp(points[45]) / 2 == pytest.approx(statistics.stdev([50, 40]))
    assert [6.0, 6.0] in [list(line.get_ydata()) for line in axes.lines]
    assert axes.get_ylabel() == "mean test score (%), tasks: 2"
    assert "mean over CoLA, MRPC," in footer(figure)


def test_differences_and_transfer_are_those_of_the_table(make_results: MakeResults) -> None:
    right = {"rte": (10, 30), "wic": (22, 20)}
    runs = by_task(("pt", "spot:source=mnli"), right, "right")
    both = {"settings": {"source": "mnli"}}
    results = make_results(*(run | both | {"seed": seed} for run in runs for seed in (1, 2)))
    for name in ("differences", "transfer"):
        (figure,) = figures(results, name)
        (mesh,) = figure.axes[0].collections
        assert np.asarray(mesh.get_array()).ravel().tolist() == pytest.approx([50.0, -5.0])
        assert labels(figure.axes[0].get_xticklabels()) == ["RTE", "WiC"]
    assert labels(figures(results, "differences")[0].axes[0].texts) == ["+50†", "-5"]
    assert labels(figure.axes[0].get_yticklabels()) == ["MNLI"]
    (forest,) = figures(results, "forest")
    marks = [line for line in forest.axes[0].lines if line.get_marker() in ("o", "D")]
    assert [float(line.get_xdata()[0]) for line in marks] == pytest.approx([50.0, -5.0, 22.5])


def test_ranks(make_results: MakeResults) -> None:
    scores = {"cola": (3, 2, 1), "mrpc": (3, 2, 1), "rte": (3, 1, 2), "cb": (3, 2, 1)}
    (figure,) = figures(make_results(*by_task(("pt", "spot", "mpt"), scores)), "ranks")
    names = labels(figure.axes[0].get_yticklabels())
    assert names == ["PT (1.00)", "SPoT (2.25)", "MPT (2.75)"]
    # Critical value 2.343 of Nemenyi for three methods (Demšar 2006, table 5a).
    assert f"critical difference {2.343 * (3 * 4 / (6 * 4)) ** 0.5:.2f}" in footer(figure)


def test_ranks_of_equal_methods(make_results: MakeResults) -> None:
    scores = dict.fromkeys(("cola", "mrpc", "rte"), (3, 3, 3))
    (figure,) = figures(make_results(*by_task(("pt", "spot", "mpt"), scores)), "ranks")
    assert "Friedman p: 1.000" in footer(figure)


def test_seeds_are_points(make_results: MakeResults) -> None:
    preset = "laptop with sources=['mnli', 'qnli', 'qqp']"
    runs = ({"seed": 1, "score": 10.0}, {"seed": 2, "score": 30.0})
    (figure,) = figures(make_results(*({"preset": preset} | run for run in runs)), "seeds")
    assert f"preset {preset};" in footer(figure)
    (points,) = figure.axes[0].lines
    assert list(points.get_ydata()) == [10.0, 30.0]


def test_figures_for_a_paper(make_results: MakeResults) -> None:
    (figure,), _ = make_figures(make_results({}, {"seed": 43}), ["cost"], 6.3)
    assert figure.get_figwidth() == 6.3
    assert labels(figure.texts) == ["", ""]


def test_groups(make_results: MakeResults) -> None:
    def groups(every: int, *members: list[str]) -> dict[str, Any]:
        return told([{"step": every * at, "group": own} for at, own in enumerate(members)])

    sources = [{"task": t, "prompt": "ab" * 32, "given": False} for t in ("qnli", "mnli", "sst2")]
    results = make_results(
        {"seed": 2, ".sources": sources} | groups(5, [], ["mnli"]),
        {"seed": 1, ".sources": sources} | groups(5, ["mnli"], ["mnli", "qnli"], []),
        {"seed": 1, "task": "cola", ".sources": sources} | groups(10, ["mnli"], ["sst2"]),
    )
    (figure,) = figures(results, "groups")
    assert [axes.get_title() for axes in figure.axes] == ["QNLI", "MNLI", "SST-2", ""]
    assert labels(panel(figure, "QNLI").get_yticklabels()) == ["CoLA", "MRPC"]
    # CoLA is evaluated half as often; seed 2 of MRPC ended before the third evaluation.
    shares = {
        "QNLI": [[0.0, 0.0, 0.0], [0.0, 0.5, 0.0]],
        "MNLI": [[1.0, 1.0, 0.0], [0.5, 1.0, 0.0]],
        "SST-2": [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]],
    }
    for source, expected in shares.items():
        (mesh,) = panel(figure, source).collections
        assert np.asarray(mesh.get_array()).reshape(2, 3).tolist() == expected
        assert mesh.get_coordinates()[0, :, 0].tolist() == [0, 5, 10, 15]


def test_groups_of_logged_steps(make_results: MakeResults, tmp_path: Path) -> None:
    results = make_results({"row": "dtvg"})
    (record,) = results.records
    name = f"{record.run.file_stem}-{record.training.prompt[:12]}.parquet"
    (tmp_path / "groups").mkdir()
    rows = [(step, "mnli", step > 1, 1.0, 0.5) for step in (1, 2, 3)]
    trace = pd.DataFrame(rows, columns=["step", "source", "member", "scale", "similarity"])
    trace.to_parquet(tmp_path / "groups" / name)
    (figure,) = figures(results, "groups")
    (mesh,) = figure.axes[0].collections
    assert np.asarray(mesh.get_array()).ravel().tolist() == [0, 1, 1]
    pd.DataFrame({"step": [1], "norm": [0.5]}).to_parquet(tmp_path / "groups" / name)
    assert figures(results, "groups") == []  # The log of another method.
    (tmp_path / "groups" / name).write_bytes(b"PAR1")
    (warning,) = make_figures(results, ["groups", "seeds"])[1]
    assert warning.startswith(f"no figure groups: cannot read {tmp_path / 'groups' / name} (")


def test_similarity(make_results: MakeResults) -> None:
    def cosines(prompts: float, vectors: float) -> dict[str, Any]:
        later = {"prompts": {"mnli": -1.0}, "task_vectors": {"mnli": -1.0}}
        first = {"prompts": {"mnli": prompts}, "task_vectors": {"mnli": vectors}}
        return told([{"step": 0, "cosines": first}, {"step": 9, "cosines": later}])

    results = make_results(
        {"seed": 1} | cosines(0.9, -0.5),
        {"seed": 2} | cosines(0.7, 0.3),
        {"seed": 2, "label": "dtvg:grouping=all"} | cosines(0.7, 0.3),  # Equal prompts.
        {"seed": 1, "task": "cola"} | cosines(0.5, 0.25),
    )
    (figure,) = figures(results, "similarity")
    prompts, vectors = (panel(figure, name) for name in ("prompts", "task vectors"))
    (mesh,) = prompts.collections
    assert np.asarray(mesh.get_array()).ravel().tolist() == pytest.approx([0.5, 0.8])
    assert labels(vectors.texts) == ["0.25", "-0.10"]
    assert labels(prompts.get_yticklabels()) == ["CoLA", "MRPC"]


def test_equal_records_equal_files(make_results: MakeResults, tmp_path: Path) -> None:
    hostile = "_$\\frac$ <script>"
    cosines = {"prompts": {"mnli": 0.9}, "task_vectors": {"mnli": -0.25}}
    foreign = {"label": hostile, "task": "$x_$"} | told([{"step": 0, "cosines": cosines}])
    results = make_results(foreign, foreign | {"seed": 7})
    files = []
    for style in ({}, {"font.size": 30, "axes.facecolor": "red", "text.parse_math": True}):
        with mpl.rc_context(style):
            drawn, warnings = make_figures(results, ["cost", "similarity"])
            files.append([image(own, form) for own in drawn for form in ("pdf", "png", "svg")])
    assert warnings == []
    assert files[0] == files[1]
    for figure, name in zip(drawn, (hostile, "$x_$"), strict=True):
        assert name in "\n".join(text.get_text() for text in figure.findobj(Text))
        assert "not a benchmark result" in footer(figure)


HINTS = {"few-shot": "--shots", "groups": "--method dtvg", "learning-curves": "bench status"}
HINTS |= {"cost": "--overwrite failed", "similarity": "--method dtvg", "ranks": "--method dtvg"}
HINTS |= {"differences": "--method pt", "transfer": "spot:source="}


@pytest.mark.parametrize(("name", "hint"), HINTS.items())
def test_no_records(name: str, hint: str, make_results: MakeResults, tmp_path: Path) -> None:
    for results in (make_results({"status": "failed"}), make_results({}).only([])):
        with pytest.raises(RecordError, match=hint) as error:
            draw(results, [name], tmp_path)
        assert "\n" not in str(error.value)


def test_all_figures_that_the_records_allow(make_results: MakeResults, tmp_path: Path) -> None:
    paths, warnings = draw(make_results({}), (), tmp_path, ["png"])
    names = {"learning-curves-1", "losses-1", "cost-1", "seeds-1"}
    assert {path.stem for path in paths} == names
    assert len(warnings) == len(FIGURES) - 4
    with pytest.raises(UnknownNameError, match="did you mean learning-curves"):
        make_figures(make_results({}), ["learning-curve"])


@pytest.mark.parametrize(
    "history", [3, [3, {"step": "x"}, {"step": 1, "group": 4, "cosines": [1]}], [{"group": []}]]
)
def test_strange_diagnostics_are_none(history: Any, make_results: MakeResults) -> None:
    results = make_results(told(history))
    drawn, warnings = make_figures(results, ["groups", "similarity"])
    assert drawn == []
    assert len(warnings) == 2


def test_records_that_contradict_each_other_are_left_out(make_results: MakeResults) -> None:
    results = make_results({}, {"needs": ["ab" * 32]})
    assert figures(results, "cost") == []


def test_a_method_looks_alike_whatever_else_is_there(make_results: MakeResults) -> None:
    def looks(*rows: str) -> list[tuple[Any, Any]]:
        (figure,) = figures(make_results(*({"row": row} for row in rows)), "learning-curves")
        return [(line.get_color(), line.get_marker()) for line in figure.legends[0].get_lines()]

    (alone,), among = looks("dtvg"), looks("pt", "dtvg", "dtvg:x=1", "mine")
    assert len({*among}) == 4
    assert alone == among[1]
