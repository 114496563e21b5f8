"""``bench status``, ``table``, ``plot``, ``report`` and ``show`` on a finished folder."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from bench.config import load_config
from bench.data import load_splits, open_source
from bench.grid import make_grid
from bench.predictions import load_predictions
from bench.record import read_records
from bench.reports.figures import FIGURES
from bench.reports.frame import load_results
from bench.reports.layouts import LAYOUTS
from bench.reports.tables import render_tables
from bench.store import ResultStore
from bench.tasks import get_task
from tests.cli.conftest import ONE, Bench
from tests.core.small_grids import flip


def test_status_of_a_finished_folder(finished: Path, bench: Bench) -> None:
    answer = bench("status", finished)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "finished: 1\nfailed: 0\nrunning: 0\nmissing: 0\nfaults: 0\n"
    values = json.loads(bench("status", finished, "--json").out)
    assert values == {"finished": 1, "failed": [], "running": [], "missing": [], "faults": []}


def test_status_of_missing_and_running_runs(out: Path, bench: Bench) -> None:
    (config,) = out.glob("configs/*.yaml")
    store = ResultStore(out)
    store.save_config(config.read_text().replace("seeds:\n- 1", "seeds:\n- 1\n- 2\n- 3"))
    missing = ["mrpc pt 4 shots seed 2", "mrpc pt 4 shots seed 3"]
    assert json.loads(bench("status", out, "--json").out)["missing"] == missing
    grid = make_grid(load_config(file=config, options={"seeds": [2]}), store)
    (run,) = grid.todo
    with store.lock(run) as held:
        assert held
        answer = bench("status", out)
    assert answer.code == 0
    assert "running: 1\n  mrpc pt 4 shots seed 2\n" in answer.out
    assert "missing: 1\n  mrpc pt 4 shots seed 3\n" in answer.out


FILES = "records/*.json records/*.gz prompts/*.json prompts/*.safetensors configs/*.yaml"


@pytest.mark.parametrize("pattern", FILES.split())
def test_status_finds_every_flipped_bit(pattern: str, out: Path, bench: Bench) -> None:
    (path,) = out.glob(pattern)
    flip(path)
    answer = bench("status", out, "--json")
    assert answer.code == 1
    assert any(str(path) in fault for fault in json.loads(answer.out)["faults"])


def test_status_finds_copies_and_damaged_group_logs(out: Path, bench: Bench) -> None:
    (record,) = out.glob("records/*.json")
    copy = record.with_name("z.json")
    copy.write_bytes(record.read_bytes())
    log = out / "groups" / "x.parquet"
    log.parent.mkdir()
    log.write_text("no parquet")
    values = json.loads(bench("status", out, "--json").out)
    assert values["finished"] == 1
    assert [fault.split(" (")[0] for fault in values["faults"]] == [
        f"{copy} is a copy of another record: left out",
        f"cannot read {log}",
    ]


def test_status_finds_what_is_missing_renamed_or_no_checkpoint(out: Path, bench: Bench) -> None:
    (record,) = out.glob("records/*.json")
    record.rename(record.with_name("other.json"))
    (out / "checkpoints" / "x.safetensors").write_bytes(b"no tensors")
    (prompt,) = out.glob("prompts/*.json")
    elsewhere = out.parent / "elsewhere"
    (out / "prompts").rename(elsewhere)
    faults = json.loads(bench("status", out, "--json").out)["faults"]
    assert len(faults) == 2
    assert "x.safetensors is damaged" in faults[0]
    assert faults[1] == f"{record} is missing, but its record exists: rename its file"
    # With a store that lacks the prompt it is a fault, without any store it is not.
    (elsewhere / prompt.name).rename(elsewhere / "mrpc-pt-4-1-000000000000.json")
    more = json.loads(bench("status", out, "--prompts", elsewhere, "--json").out)["faults"]
    assert any(str(elsewhere) in fault for fault in more)


FORMS = {f"--format {form}": form for form in ("markdown", "latex", "csv", "json", "tidy-csv")}
FORMS |= {"--json": "json", "--standalone": "latex-document"}


@pytest.mark.parametrize(("words", "form"), FORMS.items())
def test_tables(words: str, form: Any, finished: Path, bench: Bench) -> None:
    answer = bench("table", finished, *words.split())
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == render_tables(load_results(finished), form)


def test_table_options(finished: Path, bench: Bench) -> None:
    words = ("table", finished, "--layout", "glue-superglue")
    plain = bench(*words, "--no-marks").out
    assert "GLUE" in plain
    assert bench(*words, "--no-marks", "--published").out != plain
    for text, fault in {
        "--layout transfer": "nothing to compare with 'pt'",
        "--against dtvg": "unknown row 'dtvg': choose from pt",
        "--layout nlg": "for layout nlg (e2e, common_gen, web_nlg) in",
        "--layout summary --marks": "--marks has no effect in layout summary",
        "--layout transfer --no-marks": "--no-marks has no effect in layout transfer",
        "--layout parameters --against pt": "--against has no effect in layout parameters",
        "--layout transfer --published": "--published has no effect in layout transfer",
    }.items():
        assert fault in bench("table", finished, *text.split()).error()
    assert "unknown layout ''" in bench("table", finished, "--layout", "").error()


def test_every_layout_and_figure_is_named_in_the_help(bench: Bench) -> None:
    for command, names in (("table", LAYOUTS), ("plot", FIGURES)):
        text = "".join(bench(command, "--help").out.split())  # Lines break at hyphens.
        assert all(name in text for name in names)


def test_plot(finished: Path, bench: Bench) -> None:
    words = ("plot", finished, "learning-curves", "--out", "there", "--format", "png,pdf")
    answer = bench(*words, "--json")
    assert answer.code == 0, answer.err
    named = sorted(map(Path, json.loads(answer.out)))
    assert named == sorted(Path("there").iterdir())
    assert {path.suffix for path in named} == {".png", ".pdf"}
    assert bench("plot", finished, "group").error().startswith("unknown figure 'group': did you")
    assert "groups" in bench("plot", finished, "groups").error()


def test_report(finished: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = bench("report", finished, "--html", "page.html")
    assert (answer.code, answer.out) == (0, "page.html\n"), answer.err
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    save = Mock(return_value=[Path("there/table.md"), Path("page.html")])
    monkeypatch.setattr("bench.reports.page.save", save)
    answer = bench("report", finished, "--html", "page.html", "--out", "there")
    assert (answer.code, answer.out) == (0, "there/table.md\npage.html\n"), answer.err
    assert save.call_args.args[1:3] == (Path("page.html"), Path("there"))


def test_show_by_name_and_id(finished: Path, bench: Bench) -> None:
    (path,) = finished.glob("records/*.json")
    (record,), _ = read_records(path.parent)
    answer = bench("show", finished, record.id[:8])
    assert (answer.code, answer.err) == (0, "")
    assert record.id in answer.out
    assert "wrong" not in answer.out
    assert bench("show", finished, "mrpc").out == answer.out
    assert json.loads(bench("show", finished, "mrpc", "--json").out)["id"] == record.id


def test_show_errors_with_inputs(finished: Path, bench: Bench) -> None:
    (path,) = finished.glob("records/*.json")
    (record,), _ = read_records(path.parent)
    wrong = [e for e in load_predictions(path.parent, record).examples if not e.correct]
    answer = bench("show", finished, "mrpc", "--errors")
    assert (answer.code, answer.err) == (0, "")
    blocks = answer.out.split(" test examples wrong\n")[1].strip().split("\n\n")
    assert len(blocks) == len(wrong)
    task = get_task("mrpc")
    test = load_splits(open_source("bundled"), task).test
    rows = {row["official_row"]: task.to_text(row, False)[0].source for row in test}
    for block, example in zip(blocks, wrong, strict=True):
        facts = {line[:14].strip(): line[14:] for line in block.splitlines()}
        assert (facts["row"], facts["input"]) == (str(example.row), rows[example.row])


def test_show_errors_without_the_rows(bench: Bench) -> None:
    source = open_source("bundled")
    folder = Path("data/mrpc")
    folder.mkdir(parents=True)
    for split in ("train", "validation"):
        rows = source.load(get_task("mrpc"), split).select(range(20))
        rows.to_parquet(folder / f"{split}.parquet")
    assert bench(*ONE, "--data", "data").code == 0
    assert bench("show", "out", "mrpc", "--errors").err == ""
    flip(folder / "train.parquet")
    answer = bench("show", "out", "mrpc", "--errors")
    fault = "data: the rows of mrpc are no longer those of the record"
    assert (answer.code, answer.err) == (0, f"warning: inputs are not shown: {fault}\n")
    assert "input" not in answer.out.partition("test examples wrong")[2]
    next(Path("out/records").glob("*.gz")).unlink()
    assert bench("show", "out", "mrpc", "--errors").error().startswith("cannot read predictions")
