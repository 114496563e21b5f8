"""Layouts on result folders of all shapes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UnknownNameError
from bench.reports import FORMATS, Results, load_results
from bench.reports.paper import LAYOUTS, TableOptions, comparison_sheets, layout_sheets
from bench.reports.sheets import Line, Sheet, render_sheets
from bench.tasks import SUITES, get_task

MakeGrid = Callable[..., Results]
MakeResults = Callable[..., Results]
CompileLatex = Callable[[str, Path], str]

ORDER = ("pt", "spot", "attempt", "mpt", "dtvg")
OTHER = "ab12" * 16
SMALL = {"methods": ("pt", "dtvg"), "seeds": (1, 2), "shots": (None,), "rows": 10}


def sheets_of(results: Results, layout: str, **options: Any) -> list[Sheet]:
    sheets, warnings = layout_sheets(results, layout, TableOptions(**options), method_order=ORDER)
    assert warnings == []
    return sheets


def texts(line: Line) -> list[str]:
    return [entry.text for entry in line.entries]


def titles(sheet: Sheet) -> list[tuple[str, str]]:
    return [(head.group, head.title) for head in sheet.heads]


@pytest.mark.parametrize("name", LAYOUTS)
def test_tasks_are_known_and_stand_in_one_group(name: str) -> None:
    tasks = LAYOUTS[name].tasks
    assert len(set(tasks)) == len(tasks)
    for task in tasks:
        assert not get_task(task).source_only
        assert set(LAYOUTS[name].metrics) <= set(get_task(task).metrics)


def test_layouts_of_full_data_show_every_target_of_the_papers() -> None:
    shown = {t for name in ("glue-superglue", "mrqa-others", "nlg") for t in LAYOUTS[name].tasks}
    assert shown == {task for task in SUITES["paper"] if not get_task(task).source_only}


def test_unknown_layout() -> None:
    with pytest.raises(UnknownNameError, match="did you mean glue-superglue"):
        layout_sheets(Results(Path("x"), (), ()), "glue-superglu")


def test_every_layout_on_a_whole_grid(
    make_grid: MakeGrid, tmp_path: Path, compile_latex: CompileLatex
) -> None:
    tasks = [task for task in SUITES["paper"] if not get_task(task).source_only]
    results = make_grid(tasks=tasks, methods=ORDER, seeds=(1,), shots=(16, None), rows=6)
    all_sheets = []
    for name in LAYOUTS:
        sheets = sheets_of(results, name, published=True)
        all_sheets += sheets
        assert len(sheets) == (1 if name == "few-shot" else 2)
        for sheet in sheets:
            methods = [line.label for line in sheet.lines if line.values["kind"] == "method"]
            assert methods == (["dtvg"] if name == "ablation" else list(ORDER))
    sheets, _ = comparison_sheets(results, "pt", method_order=ORDER)
    assert [sheet.title.split(":")[0] for sheet in sheets] == 2 * [
        "Transfer over all targets",
        "Transfer per target",
    ]
    log = compile_latex(render_sheets([*all_sheets, *sheets], "latex"), tmp_path)
    assert f"({len(all_sheets) + len(sheets)} pages" in log
    assert "Overfull" not in log


def test_heads_follow_the_paper(make_grid: MakeGrid) -> None:
    results = make_grid(tasks=[*SUITES["glue"], "cb"], **SMALL)
    (sheet,) = sheets_of(results, "glue-superglue")
    glue = ["mnli", "qqp", "qnli", "sst2", "stsb", "mrpc", "rte", "cola", "average"]
    superglue = ["multirc", "boolq", "wic", "wsc.fixed", "cb", "average"]
    assert titles(sheet) == [("GLUE", t) for t in glue] + [("SuperGLUE", t) for t in superglue]
    assert [head.units for head in sheet.heads][7:10] == [
        "matthews_correlation (10)",
        "",
        "\N{EN DASH}",
    ]
    # SuperGLUE is not complete, so it has no average.
    assert texts(sheet.lines[0])[-6:-2] == ["\N{EN DASH}"] * 4
    assert texts(sheet.lines[0])[-1] == "\N{EN DASH}"
    assert texts(sheet.lines[0])[8] != "\N{EN DASH}"


def test_few_shot_has_a_column_per_task_and_shots(make_grid: MakeGrid) -> None:
    shots = {**SMALL, "shots": (4, 32, None)}
    results = make_grid(tasks=("scitail", "boolq", "cb"), **shots)
    (sheet,) = sheets_of(results, "few-shot")
    expected = [(task, shots) for task in ("boolq", "cb", "scitail") for shots in ("4", "32")]
    assert titles(sheet) == expected
    assert "4, 32 shots" in sheet.caption
    assert "| boolq 4 | boolq 32 |" in " ".join(render_sheets([sheet]).split())
    for record in results.records:
        if record.cell.shots is not None and record.cell.seed == 1:
            column = expected.index((record.cell.task, str(record.cell.shots)))
            line = next(x for x in sheet.lines if x.label == record.cell.method.label)
            both = [
                r.scores.test["accuracy"]
                for r in results.records
                if r.scores is not None
                and (r.cell.task, r.cell.shots) == (record.cell.task, record.cell.shots)
                and r.cell.method == record.cell.method
            ]
            assert line.entries[column].values["mean"] == pytest.approx(sum(both) / 2)


def test_nlg_shows_all_metrics_and_says_what_is_left_out(make_grid: MakeGrid) -> None:
    def without_meteor(content: dict[str, Any]) -> None:
        content["scores"]["test"].pop("meteor", None)
        content["scores"]["left_out"] = {"meteor": "needs WordNet"}

    results = make_grid(tasks=("web_nlg", "e2e"), change=without_meteor, **SMALL)
    (sheet,) = sheets_of(results, "nlg", spread="ci")
    metrics = ["bleu", "rouge1", "rouge2", "rougeL", "meteor"]
    assert titles(sheet) == [(task, metric) for task in ("e2e", "web_nlg") for metric in metrics]
    assert "meteor is left out: needs WordNet." in sheet.notes
    record = next(r for r in results.records if r.cell.task == "web_nlg" and r.cell.seed == 1)
    assert record.scores is not None
    line = next(x for x in sheet.lines if x.label == record.cell.method.label)
    assert line.entries[4].values["status"] == "left out"
    assert line.entries[5].after.startswith("[")
    found = {r.cell.seed: r for r in results.records
             if r.cell.task == "web_nlg" and r.cell.method == record.cell.method}  # fmt: skip
    rouge = [r.scores.test["rouge2"] for r in found.values() if r.scores is not None]
    assert line.entries[7].values["mean"] == pytest.approx(sum(rouge) / 2)


def test_ablation_compares_variants_with_the_whole_method(make_grid: MakeGrid) -> None:
    variants = ("dtvg:solver=exact", "dtvg:grouping=all", "dtvg", "dtvg:grouping=similarity", "pt")
    results = make_grid(tasks=SUITES["superglue"], **{**SMALL, "methods": variants})
    (sheet,) = sheets_of(results, "ablation")
    labels = [line.label for line in sheet.lines]
    assert labels == [
        "dtvg", "dtvg:grouping=similarity", "dtvg:grouping=all", "dtvg:solver=exact",
    ]  # fmt: skip
    assert "below dtvg" in sheet.notes[0]
    assert "15 comparisons" in sheet.notes[0]
    assert {group for group, _ in titles(sheet)} == {"SuperGLUE"}


def test_parameters(make_grid: MakeGrid) -> None:
    def count(content: dict[str, Any]) -> None:
        cell = content["cell"]
        extra = 100 if cell["method"]["name"] == "dtvg" and cell["task"] == "cb" else 0
        content["training"]["trainable_parameters"] = 12_000 + extra

    results = make_grid(tasks=SUITES["superglue"], change=count, **SMALL)
    (sheet,) = sheets_of(results, "parameters")
    assert titles(sheet) == [
        ("", "trainable parameters"),
        ("", "share"),
        ("SuperGLUE", "average"),
    ]
    pt, dtvg = sheet.lines
    assert texts(pt)[:2] == ["12,000", "1"]
    assert texts(dtvg)[:2] == ["12,000 \N{EN DASH} 12,100", "1"]
    (full,) = sheets_of(results, "glue-superglue")
    assert texts(pt)[2] == texts(full.lines[0])[-1]


def llama(content: dict[str, Any]) -> None:
    content["cell"]["model"] |= {
        "name": "llama", "kind": "decoder-only", "digest": OTHER, "parameters": 9_000_000,
    }  # fmt: skip
    content["digest"] = content["digest"][:-1] + "f"


def test_models_are_row_groups_of_one_table(make_grid: MakeGrid) -> None:
    make_grid(tasks=("cb", "boolq"), **SMALL)
    results = make_grid(tasks=("cb", "boolq"), change=llama, **SMALL)
    (sheet,) = sheets_of(results, "glue-superglue", published=True)
    groups = [(line.group, line.label) for line in sheet.lines if line.values["kind"] == "method"]
    assert groups == [("tiny", "pt"), ("tiny", "dtvg"), ("llama", "pt"), ("llama", "dtvg")]
    assert "Models tiny (encoder-decoder" in sheet.caption
    assert "and llama (decoder-only, 9,000,000 parameters" in sheet.caption
    assert "4 comparisons" in sheet.notes[0]
    text = render_sheets([sheet], "latex")
    assert r"\multirow{2}{*}{llama} & pt & " in text
    for line in csv.DictReader(io.StringIO(render_sheets([sheet], "csv"))):
        if line["kind"] == "method":
            assert (line["model_digest"] == OTHER) == (line["row_group"] == "llama")
        # The published numbers are of an encoder-decoder.
        assert line["row_group"] != "llama" or line["kind"] in ("method", "majority")


def test_a_preset_with_values_for_a_kind_of_model_is_one(make_grid: MakeGrid) -> None:
    def beams(content: dict[str, Any]) -> None:
        llama(content)
        content["cell"]["preset"] += " for decoder-only models with training.beams=4"
        content["digest"] = content["digest"][:-1] + "e"

    def own(content: dict[str, Any]) -> None:
        llama(content)
        content["cell"]["preset"] += " for decoder-only models"

    make_grid(tasks=("cb", "boolq"), **SMALL)
    results = make_grid(tasks=("cb", "boolq"), change=own, **SMALL)
    (sheet,) = sheets_of(results, "glue-superglue")
    groups = [line.group for line in sheet.lines if line.values["kind"] == "method"]
    assert groups == ["tiny", "tiny", "llama", "llama"]
    assert "preset smoke and smoke for decoder-only models;" in sheet.caption
    # What the user changed still makes a table of its own.
    results = make_grid(tasks=("cb", "boolq"), change=beams, **SMALL)
    first, second = sheets_of(results, "glue-superglue")
    assert "training.beams" not in first.caption
    assert "smoke for decoder-only models with training.beams=4;" in second.caption
    assert {line.group for line in second.lines} == {"llama"}


def test_models_of_one_name_are_told_apart(make_results: MakeResults) -> None:
    results = make_results({"score": 10.0}, {"score": 90.0, "cell.model.digest": OTHER})
    (sheet,) = sheets_of(results, "glue-superglue")
    means = {line.group: line.entries[5].values.get("mean") for line in sheet.lines}
    assert means == {
        "tiny [digest=9372c470eead]": 10.0, "tiny [digest=ab12ab12ab12]": 90.0, "any model": 66.5,
    }  # fmt: skip


@pytest.mark.parametrize("layout", ["glue-superglue", "few-shot"])
@pytest.mark.parametrize(
    ("path", "value", "written"),
    [
        ("cell.data.kind", "local", "data kind local"),
        ("cell.data.name", "/data", "data /data"),
        ("cell.data.fingerprint", OTHER, "fingerprint ab12ab12ab12"),
        ("cell.data.revision", "v2", "revision v2"),
        ("rows.test", 100, "100 test rows"),
        ("cell.data_seed", 7, "data seed 7"),
        ("cell.preset", "paper", "preset paper"),
        ("cell.prompt_length", 100, "prompt length 100"),
        ("cell.code.harness", OTHER, "harness code ab12ab12ab12"),
    ],
)
def test_settings_never_share_a_table(
    make_results: MakeResults, layout: str, path: str, value: Any, written: str
) -> None:
    cb = {"cell.task": "cb", "score": 10.0}
    sheets = sheets_of(make_results(cb, {**cb, path: value, "score": 90.0}), layout)
    found = {}
    for sheet in sheets:
        (mean,) = (
            entry.values["mean"]
            for entry in sheet.lines[0].entries
            if entry.values.get("mean") is not None
        )
        found[mean] = sheet.caption
    assert set(found) == {10.0, 90.0}
    assert written in found[90.0]
    assert "Unlike the other tables: " in found[10.0]


@pytest.mark.parametrize(("shots", "written"), [(4, "shots 4"), (None, "shots full data")])
def test_shots_never_share_a_table_or_column(
    make_results: MakeResults, shots: int | None, written: str
) -> None:
    results = make_results({"score": 10.0}, {"score": 90.0, "cell.shots": shots})
    sheets = sheets_of(results, "glue-superglue")
    changed = next(s for s in sheets if s.lines[0].entries[5].values["mean"] == 90.0)
    assert len(sheets) == 2
    assert written in changed.caption


def test_records_of_another_schema_are_not_read(superglue: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted((superglue / "records").glob("cb-*.json"))):
        content = json.loads(path.read_text())
        content["schema"] += number == 0
        (tmp_path / path.name).write_text(json.dumps(content))
    results = load_results(tmp_path)
    (warning,) = results.warnings
    assert "of schema version 2, this program reads 1" in warning
    assert len(results.records) == 3


def test_records_that_contradict_each_other_are_not_averaged(make_results: MakeResults) -> None:
    results = make_results(
        {"score": 60.0, "cell.requires": ["a" * 64]}, {"score": 80.0, "cell.requires": ["b" * 64]}
    )
    (sheet,) = sheets_of(results, "glue-superglue")
    assert sheet.lines[0].entries[5].text == "conflict"
    assert "1 tasks have several records" in sheet.caption


@pytest.mark.parametrize("format", FORMATS)
def test_twice_the_same_text(make_grid: MakeGrid, format: Any) -> None:
    results = make_grid(tasks=("cb", "stsb", "multirc", "cola"), **SMALL)
    once = render_sheets(sheets_of(results, "glue-superglue", spread="ci"), format)
    again = load_results(results.folder)
    assert render_sheets(sheets_of(again, "glue-superglue", spread="ci"), format) == once
