"""What every figure has in common: names, files, labels, errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from bench.errors import UnknownNameError
from bench.reports import Results
from bench.reports.figures import (
    FILE_FORMATS,
    Drawing,
    MissingDataError,
    catalog,
    draw_figure,
    figure_names,
    save_drawing,
    small_png,
)
from bench.reports.figures.style import line_styles

MakeResults = Callable[..., Results]

FIGURES = ("few-shot", "groups", "learning-curves", "parameters", "similarity")

TELLING: dict[str, Any] = {
    "diagnostics": {
        "history": [
            {
                "step": 0,
                "group": ["mnli"],
                "cosines": {"prompts": {"mnli": 0.9}, "task_vectors": {"mnli": -0.25}},
            }
        ]
    }
}
"""Diagnostics that every figure can draw."""


@pytest.fixture
def results(make_results: MakeResults) -> Results:
    return make_results(TELLING, {"cell.shots": 4, **TELLING}, {"cell.seed": 7, **TELLING})


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def test_the_figures() -> None:
    assert figure_names() == FIGURES


@pytest.mark.parametrize("name", FIGURES)
def test_equal_records_give_equal_bytes_whatever_the_reader_has_set(
    name: str, results: Results, tmp_path: Path
) -> None:
    def files(folder: Path) -> Iterator[bytes]:
        drawing, *_ = draw_figure(name, results)
        yield small_png(drawing)
        for form in FILE_FORMATS:
            path = save_drawing(drawing, folder, form)
            assert path.name == f"{drawing.name}.{form}"
            yield path.read_bytes()

    first = list(files(tmp_path / "first"))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 50}):
        assert list(files(tmp_path / "second")) == first
    assert {data[:4] for data in first} == {b"%PDF", b"\x89PNG"}


@pytest.mark.parametrize("name", FIGURES)
def test_says_model_data_shots_and_seeds(name: str, results: Results) -> None:
    for drawing in draw_figure(name, results):
        footer = " ".join(" ".join(texts(drawing.figure)).split())
        for text in (footer, drawing.setting):
            assert "Model: tiny (bundled with the package: its scores are no results)" in text
            assert "Data: bundled samples (generated)" in text
            assert re.search(r"Shots: (4|16|4, 16)\.", text)
            assert "42" in text
        assert drawing.alt.startswith(drawing.title)


@pytest.mark.parametrize("word", ["MMMM", "iiii", "M" * 200])
def test_text_stays_inside(word: str, make_results: MakeResults) -> None:
    """Footer and legend, however wide the letters and however long the names are."""
    long = {"cell.preset": " ".join([word] * 9)}
    labels = [f"pt:{word[:20]}{place}" for place in range(6)]
    results = make_results(*({**long, "label": label} for label in labels))
    (drawing,) = draw_figure("parameters", results)
    figure = drawing.figure
    figure.set_dpi(100)
    figure.draw_without_rendering()
    edge = figure.bbox.width
    for text in figure.texts:
        assert text.get_window_extent().x1 <= edge
    (legend,) = figure.legends
    assert legend.get_window_extent().x1 <= edge


def test_what_is_not_bundled_is_not_called_so(make_results: MakeResults) -> None:
    real = {"cell.model.bundled": False, "cell.data.kind": "local", "cell.data.name": "/rows"}
    (drawing,) = draw_figure("parameters", make_results(real))
    assert "Model: tiny. Data: local folder /rows. Shots: 16." in drawing.setting


def test_pictures_of_several_settings_say_what_differs(make_results: MakeResults) -> None:
    results = make_results({}, {"cell.code.harness": "ab" * 32})
    old, new = draw_figure("parameters", results)
    assert old.setting.endswith("Unlike the other pictures: harness code 49f756463ad9.")
    assert new.setting.endswith("Unlike the other pictures: harness code abababababab.")


@pytest.mark.parametrize("name", FIGURES)
def test_names_from_records_are_text(name: str, make_results: MakeResults) -> None:
    """No formula, no markup, and not hidden: matplotlib would read them so."""
    foreign = {"cell.method.label": "_$\\frac$ <script>", "cell.task": "$x_$", **TELLING}
    results = make_results(foreign, {**foreign, "cell.shots": 4})
    for drawing in draw_figure(name, results):
        small_png(drawing)
        shown = "\n".join(texts(drawing.figure))
        if name != "similarity":
            assert "_$\\frac$ <script>" in shown
        assert "$x_$" in shown


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("few-shot", "--shots"),
        ("groups", "--method dtvg"),
        ("learning-curves", "bench table"),
        ("parameters", "--overwrite failed"),
        ("similarity", "--method dtvg"),
    ],
)
def test_nothing_to_draw(name: str, hint: str, make_results: MakeResults) -> None:
    with pytest.raises(MissingDataError, match=hint) as error:
        draw_figure(name, make_results({"status": "failed"}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "diagnostics",
    [{"history": 3}, {"history": [3, {"step": "x"}, {"step": 1, "group": 4, "cosines": [1]}]}],
)
def test_strange_diagnostics_are_none(diagnostics: Any, make_results: MakeResults) -> None:
    results = make_results({"diagnostics": diagnostics})
    for name in ("groups", "similarity"):
        with pytest.raises(MissingDataError):
            draw_figure(name, results)


def test_an_unknown_figure(results: Results) -> None:
    with pytest.raises(UnknownNameError, match="did you mean learning-curves"):
        draw_figure("learning-curve", results)


def test_a_new_figure_is_one_file(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own.py").write_text(
        "from bench.reports.figures.drawing import Drawing, frame\n"
        "def draw(results, method_order):\n"
        "    return [Drawing('my-own-1', 'Mine', 'all', 'An empty frame', frame('Mine', '', 1))]\n"
    )
    monkeypatch.setattr(catalog, "__path__", [*catalog.__path__, str(tmp_path)])
    assert "my-own" in figure_names()
    (drawing,) = draw_figure("my-own", results)
    assert isinstance(drawing, Drawing)
    assert drawing.title == "Mine"


def test_lines_differ_in_more_than_colour() -> None:
    styles = line_styles({str(place): "pt" for place in range(7)}, ()).values()
    assert len({style.color for style in styles}) == 7
    assert len({style.marker for style in styles}) == 7


def test_a_method_looks_the_same_whatever_else_is_there() -> None:
    order = ("pt", "spot", "dtvg")
    alone = line_styles({"dtvg": "dtvg"}, order)
    among = line_styles({"pt": "pt", "dtvg": "dtvg", "dtvg:x=1": "dtvg", "mine": "mine"}, order)
    assert among["dtvg"] == alone["dtvg"]
    assert len({style.color for style in among.values()}) == 4


def test_records_that_contradict_each_other_are_left_out(make_results: MakeResults) -> None:
    other = {"cell.requires": ["ab" * 32]}
    with pytest.raises(MissingDataError):
        draw_figure("parameters", make_results({}, other))
