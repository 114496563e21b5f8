"""Tables: their numbers from the JSON anew, small cases by hand, and all formats."""

import csv
import io
import itertools
import json
import re
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.errors import RecordError, UnknownNameError
from bench.reports.forms import FORMS
from bench.reports.frame import Results, load_results
from bench.reports.layouts import DASH, LAYOUTS, display
from bench.reports.tables import make_tables, render_tables
from bench.tasks import SUITES, TASKS
from tests.reports.conftest import MakeResults, field, fields

ROOT = Path(__file__).parents[2]
PROGRAMS = ("csv", "json", "tidy-csv")


@pytest.fixture(scope="module")
def smoke() -> Results:
    return load_results(ROOT / "results" / "smoke")


@pytest.fixture(scope="module")
def golden() -> Results:
    return load_results(Path(__file__).parent / "golden")


def known_scores() -> dict[tuple[Any, ...], dict[int, float]]:
    """Scores by row, task, shots and metric, read with nothing but the json module."""
    known: dict[tuple[Any, ...], dict[int, float]] = defaultdict(dict)
    for path in sorted((ROOT / "results" / "smoke" / "records").glob("*.json")):
        record = json.loads(path.read_text())
        run, majority = record["run"], record["majority"] or {"test": {}}
        blocks = {run["label"]: record["scores"], "majority class": majority}
        for row, block in blocks.items():
            for metric, score in block["test"].items():
                known[row, run["task"], run["shots"], metric][run["seed"]] = score
    return known


def test_all_means_and_deviations_of_the_stored_smoke_run(smoke: Results) -> None:
    known, metrics = known_scores(), {task.name: task.table_metric for task in TASKS}
    sources = {"squad", "record"}  # Only sources in the papers, so in no average.
    suites = {display(suite): {*tasks} - sources for suite, tasks in SUITES.items()}
    compared = 0
    for layout in (None, *(name for name, own in LAYOUTS.items() if not own.transfer)):
        tasks = LAYOUTS[layout or "nlg"].groups
        plain = {} if layout and not LAYOUTS[layout].details else {"marks": False}
        for one in fields(smoke, layout, **plain):
            if one["column_kind"] not in ("score", "average"):
                continue
            shots = 16 if one["table"] == 1 else None
            names = [one["column"]]
            if one["column_kind"] == "average":
                names = list(tasks[one["group"]] if layout else suites[one["group"]])
            elif one["group"] in metrics:
                names = [one["group"]]
            several = len(names) > 1
            keys = [(one["row"], n, shots, metrics[n] if several else one["metric"]) for n in names]
            found = [known[key] for key in keys if key in known]
            if len(found) < len(keys):
                assert "mean" not in one
                continue
            mean = statistics.fmean(score for own in found for score in own.values())
            assert one["mean"] == pytest.approx(mean, abs=1e-9)
            by_seed = [statistics.fmean(own[seed] for own in found) for seed in (42, 43, 44)]
            assert one["std"] == pytest.approx(statistics.stdev(by_seed), abs=1e-9)
            compared += 1
    assert compared > 700


def test_golden_records(golden: Results) -> None:
    """Two tables with failed, missing and single seeds; their text is known."""
    text = render_tables(golden, "markdown")
    lines = [re.sub(r" +", " ", line).split("K | ")[-1] for line in text.splitlines()]
    assert "2.0 ± 7.5 | 62.0 ± 2.0 | 32.0 ± 4.8 | **51.0** ± 1.7 |" in lines
    gaps = "**12.0** (n=1) | **70.5** ± 0.7 (n=2, 1 failed) | **41.2** (n=1, 1 failed) | failed"
    assert f"{gaps} |" in lines
    assert f"| Majority | {DASH} | 0.0 | 66.5 | 33.2 | 50.0 |" in lines
    assert "Bundled model and data: not a benchmark result." in text
    assert "Runs: 18 in all, 2 failed, 4 missing." in text
    assert "of a single seed (no ±)" in text


def test_text_does_not_depend_on_the_order_of_records(golden: Results) -> None:
    turned = golden.records[::-1]
    other = Results(golden.folder, turned, [])
    tables, again = make_tables(golden), make_tables(other)
    for form in FORMS.values():
        assert form(again) == form(tables)


def test_rows_and_columns_in_order(make_results: MakeResults) -> None:
    names = ["zebra", "no_prompt", "dtvg", "pt", "attempt"]
    runs = [{"row": n, "task": t} for n in names for t in ("rte", "cola", "own")]
    text = render_tables(make_results(*runs), "csv")
    found = list(csv.reader(io.StringIO(text)))
    expected = ["method", "pt", "attempt", "dtvg", "no_prompt", "zebra", "majority class"]
    assert [row[0] for row in found] == expected
    heads = [head for head in found[0] if not head.endswith(" std")]
    assert heads[1:6] == ["parameters", "cola", "rte", "GLUE average", "own"]


def test_csv_is_the_table_and_reads_back(smoke: Results) -> None:
    table = pd.read_csv(io.StringIO(render_tables(smoke, "csv")))
    known = known_scores()
    for _, row in table.iterrows():
        shots = None if pd.isna(row["shots"]) else int(row["shots"])
        scores = known[row["method"], "mrpc", shots, "accuracy"]
        assert row["mrpc"] == pytest.approx(statistics.fmean(scores.values()))
    tidy = pd.read_csv(io.StringIO(render_tables(smoke, "tidy-csv")))
    own = tidy[(tidy["row"] == "mpt") & (tidy["column"] == "mrpc")]
    assert list(own["mean"]) == pytest.approx(list(table.loc[table["method"] == "mpt", "mrpc"]))


@pytest.mark.parametrize("layout", [None, "few-shot", "transfer"])
def test_latex_is_well_formed(make_results: MakeResults, layout: str | None) -> None:
    odd: dict[str, Any] = {"label": r"pt:a_b=5|50%&{x}\~^$#[1]", "model.note": "a & random_b, 5%"}
    runs = [{"task": "boolq", "seed": seed} | own for seed in (1, 2) for own in (odd, {})]
    text = render_tables(make_results(*runs), "latex", layout)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == text.count(r"\end{tabular}")
    for body in re.findall(r"\\midrule\n(.*?)\\bottomrule", text, re.DOTALL):
        lines = body.strip().splitlines()
        assert all(line.endswith(r"\\") for line in lines if line != r"\midrule")
        counts = {len(re.findall(r"(?<!\\)&", line)) for line in lines if "midrule" not in line}
        assert len(counts) == 1
    content = re.sub(r"^%.*$|%$", "", text, flags=re.MULTILINE)  # Comments.
    plain = re.sub(r"\$[_^]\S+\$", "", re.sub(r"\\[{}&%$#_\\]", "", content))
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert not re.search(r"[^\x00-\x7f]|[%#_|]", plain)


@pytest.mark.parametrize("layout", [None, *LAYOUTS])
def test_layouts_in_every_format(make_results: MakeResults, layout: str | None) -> None:
    names = itertools.product(("boolq", "cb", "e2e", "nq", "paws"), ("pt", "dtvg", "spot"), (1, 2))
    results = make_results(*({"task": task, "row": n, "seed": seed} for task, n, seed in names))
    tables = make_tables(results, layout)
    assert results.bootstrap.warnings == []
    for form, render in FORMS.items():
        text = render(tables)
        assert ("dtvg" in text) == (form in PROGRAMS)
        assert "DTVG" in text or form in PROGRAMS
        assert text.endswith("\n")


def test_few_shot_by_hand(make_results: MakeResults) -> None:
    runs = [
        {"task": "cb", "shots": shots, "seed": seed, "score": score}
        for shots, scores in ((4, (10.0, 20.0)), (32, (40.0, 40.0)), (None, (90.0, 90.0)))
        for seed, score in enumerate(scores)
    ]
    found = fields(make_results(*runs), "few-shot")
    first = field(found, row="pt", group="cb", column="4")
    assert (first["mean"], first["std"]) == (15.0, pytest.approx(50**0.5))
    assert field(found, row="pt", group="cb", column="32")["mean"] == 40.0
    assert {one["column"] for one in found} == {"4", "32"}


def test_parameters_by_hand(make_results: MakeResults) -> None:
    runs = [
        {"task": "rte", "parameters": 1000, "model.parameters": 100_000},
        {"task": "rte", "parameters": 3000, "model.parameters": 100_000, "seed": 43},
    ]
    found = fields(make_results(*runs), "parameters")
    assert field(found, row="pt", column="parameters")["number"] == f"1.0K{DASH}3.0K"
    assert field(found, row="pt", column="share (%)")["number"] == f"1{DASH}3"
    table = render_tables(make_results(*runs, FROZEN), "csv", "parameters")
    read = pd.read_csv(io.StringIO(table)).set_index("method")
    assert read["parameters"].dropna().to_dict() == {"pt": 3000, "no_prompt": 0}


def test_ablation_shows_dtvg_in_the_order_of_groupings(make_results: MakeResults) -> None:
    labels = ["dtvg:grouping=all", "dtvg:grouping=similarity", "dtvg"]
    runs = [{"row": label, "task": "rte"} for label in labels]
    found = fields(make_results({"task": "rte"}, *runs), "ablation", marks=False)
    rows = list(dict.fromkeys(one["row"] for one in found))
    assert rows == ["dtvg", "dtvg:grouping=similarity", "dtvg:grouping=all", "majority class"]


def test_conflicting_records_are_not_averaged(make_results: MakeResults) -> None:
    results = make_results({"needs": ["a" * 64]}, {"needs": ["b" * 64]}, {"seed": 43})
    assert field(fields(results), row="pt", column="mrpc")["status"] == "conflict"
    assert "1 fields show conflict" in render_tables(results, "markdown")


def test_several_commits_are_named(make_results: MakeResults) -> None:
    first, second = ({".provenance.git_commit": own} for own in ("abc", "def"))
    text = render_tables(make_results(first, second | {"seed": 43}), "markdown")
    assert "Runs of 2 commits: abc, def." in text


FROZEN = {"row": "no_prompt", "parameters": 0, "shots": None}


def test_methods_without_training_join_all_shots_and_seeds(make_results: MakeResults) -> None:
    """Among runs with other prompts and seeds, which are repetitions, the lowest seed counts."""
    again = FROZEN | {"seed": 50, "prompt_length": 1, "score": 99.0}
    runs = [FROZEN | {"score": 12.5}, again, FROZEN | {"model.digest": "f" * 64, "score": 1.0}]
    results = make_results({}, {"seed": 43}, {"shots": 32}, *runs)
    own = [f for f in fields(results) if (f["row"], f["column"]) == ("no_prompt", "mrpc")]
    found = [(f["table"], f["mean"], f["n_seeds"]) for f in own]
    assert found == [(1, 12.5, 2), (2, 12.5, 1), (3, 1.0, 1)]
    assert "Runs: 2 in all, 0 failed, 0 missing." in render_tables(results, "markdown")


def test_the_majority_class_of_a_task_without_trained_methods(make_results: MakeResults) -> None:
    results = make_results({}, FROZEN | {"task": "rte", "majority": 60.0})
    assert field(fields(results), row="majority class", column="rte")["mean"] == 60.0


@pytest.mark.parametrize("layout", [None, "summary"])
def test_a_table_without_trained_methods(layout: str | None, make_results: MakeResults) -> None:
    """It has no seeds, no shots, no ranks and no number of runs."""
    text = render_tables(make_results(FROZEN), "markdown", layout)
    assert "no training: test score (%)." in text
    for word in ("; seed 4", "single seed", "Rank:", "Runs:", "full training data"):
        assert word not in text


def test_a_failed_run_without_training_gives_way_to_a_finished_one(
    make_results: MakeResults,
) -> None:
    finished, failed = FROZEN | {"score": 12.5}, FROZEN | {"prompt_length": 9, "status": "failed"}
    results = make_results({}, finished, failed)
    assert field(fields(results), row="no_prompt", column="mrpc")["mean"] == 12.5
    older = FROZEN | {"score": 99.0, "versions.method": 7}
    rows = {one["row"] for one in fields(make_results(finished, older))}
    assert rows == {"no_prompt [version=1]", "no_prompt [version=7]", "majority class"}


def test_full_source_data_behind_few_shots_is_told(make_results: MakeResults) -> None:
    sources = [{"task": task, "prompt": "ab" * 32, "given": False} for task in ("mnli", "mrpc")]
    runs = [{"row": "spot", ".sources": sources, "shots": shots} for shots in (4, None)]
    few, full = render_tables(make_results(*runs), "markdown").split("**Table 2.**")
    assert "Also source tasks: MRPC; transfer methods saw their full training data." in few
    assert "Also source tasks" not in full


def test_published_numbers_stand_beside_ours(make_results: MakeResults) -> None:
    with (ROOT / "bench" / "reports" / "published.csv").open() as file:
        read = list(csv.DictReader(file))
    known = {(r["method"], r["task"], r["suite"]): float(r["value"]) for r in read}
    run = {"task": "mnli", "shots": None, "data.kind": "hub", "score": 80.0}
    rate = "pt:learning_rate=0.1,weight_decay=0"
    results = make_results(run, run | {"label": rate})
    found = fields(results, "glue-superglue", published=True)
    (one, *others) = [f for f in found if "published" in f and f["column"] == "mnli"]
    assert one["row"].startswith("pt, published: Wang et al. 2023")
    assert one["published"] == known["pt", "mnli", "glue"]
    assert len(others) == sum(task == "mnli" for _, task, _ in known) - 1
    order = list(dict.fromkeys(f["row"] for f in found))
    assert order[:4] == ["pt", one["row"], rate, "majority class"]
    averages = [f for f in found if f["column"] == "average" and f.get("published")]
    assert known["mpt", "average", "glue"] in [f["published"] for f in averages]
    few = make_results({"task": "mnli"})
    assert "No published number fits" in render_tables(few, "markdown", published=True)


def test_published_averages_stand_only_beside_the_whole_suite(make_results: MakeResults) -> None:
    for tasks, shown in ((["nq", "searchqa"], False), ([*SUITES["mrqa"]], True)):
        runs = [{"task": task, "shots": None} for task in tasks]
        found = fields(make_results(*runs), published=True)
        averages = [each for each in found if each["column"] == "average"]
        assert {each["group"] for each in averages} == {"MRQA"}
        assert any("published" in each for each in averages) == shown


def test_bad_arguments(make_results: MakeResults, tmp_path: Path) -> None:
    results = make_results({"task": "rte"})
    with pytest.raises(UnknownNameError, match="did you mean few-shot"):
        render_tables(results, "markdown", "fewshot")
    with pytest.raises(UnknownNameError, match="unknown format"):
        render_tables(results, "excel")
    with pytest.raises(RecordError, match="no readable record for layout nlg"):
        render_tables(results, "markdown", "nlg")
    (tmp_path / "empty").mkdir()
    for layout in (None, "transfer"):
        with pytest.raises(RecordError, match="run `bench run`"):
            render_tables(load_results(tmp_path / "empty"), "markdown", layout)


def test_a_terminal_table_is_cut_between_suites(
    make_results: MakeResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = ("mnli", "qqp", "qnli", "sst2", "boolq", "wic", "cb", "multirc")
    odd = "pt\x1b[2J"
    runs = [
        {"task": task, "seed": seed, "label": label, "score": 50.0 + seed}
        for task, seed, label in itertools.product(tasks, (1, 2), ("dtvg", odd))
    ]
    results = make_results(*runs)
    for width, parts in ((40, 4), (80, 2), (200, 1)):
        monkeypatch.setenv("COLUMNS", str(width))
        text = render_tables(results, "terminal", "glue-superglue")
        assert odd not in text
        lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
        assert max(map(len, lines)) <= width
        heads = [line.split() for line in lines if line.startswith("Method")]
        assert len(heads) >= parts
        assert sum(len(own) - 1 for own in heads) == 16
        if width == 80:
            assert [own[-1] for own in heads] == ["Avg.", "Avg."]
