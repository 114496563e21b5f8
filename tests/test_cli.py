"""The command line: what it prints, and how it complains."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from bench.cli import main
from bench.data.sources import bundled_rows
from bench.listing import LISTINGS

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "transformers", "datasets", "evaluate", "sklearn", "scipy", "pandas"}
SHORT = ("--set", "training.steps=2", "--set", "training.evaluate_every=1")
CELL = ("--task", "cb", "--method", "pt", "--shots", "3", "--seeds", "1", *SHORT)
"""One cell, trained for two steps."""


@dataclass(frozen=True)
class Answer:
    """What a command gave."""

    code: int
    out: str
    err: str


Bench = Callable[..., Answer]
Rows = Callable[..., Path]


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    """Runs ``bench`` through its entry point, in an empty folder and with an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Writes a data folder with twelve rows of cb, each changed by a function."""

    def write(change: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> Path:
        for split in ("train", "validation"):
            folder = tmp_path / "data" / "cb"
            folder.mkdir(parents=True, exist_ok=True)
            changed = [change(dict(row)) for row in bundled_rows("cb", split).take(12)]
            datasets.Dataset.from_list(changed).to_parquet(folder / f"{split}.parquet")
        return tmp_path / "data"

    return write


def complaint(answer: Answer) -> str:
    """The one line that starts with ``error:``."""
    lines = [line for line in answer.err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, answer
    assert answer.err.splitlines()[-1] == lines[0]
    assert "Traceback" not in answer.err
    assert answer.code == 2
    return lines[0]


def test_light_commands_import_nothing_heavy() -> None:
    lines = [
        "import sys",
        "from click.testing import CliRunner",
        "from bench.cli import cli",
        "run = lambda *words: print(CliRunner().invoke(cli, words, catch_exceptions=False).output)",
        "run('--help'), run('run', '--help'), run('table', '--help')",
        *(f"run('list', '{kind}'), run('list', '{kind}', '--json')" for kind in LISTINGS),
        f"print('loaded:', sorted({HEAVY} & set(sys.modules)))",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "wsc.fixed" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_a_grid_is_laid_out_without_the_libraries_for_rows_and_models(tmp_path: Path) -> None:
    lines = [
        "import sys",
        "from click.testing import CliRunner",
        "from bench.cli import cli",
        f"words = ['run', '--dry-run', '--out', {str(tmp_path)!r}]",
        "print(CliRunner().invoke(cli, words, catch_exceptions=False).output)",
        "print('loaded:', sorted({'datasets', 'evaluate', 'transformers'} & set(sys.modules)))",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "cells: 80 to run, 0 done" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_names_the_commands(words: tuple[str, ...], bench: Bench) -> None:
    answer = bench(*words)
    assert answer.code == 0
    assert answer.err == ""
    assert all(f"\n  {command} " in answer.out for command in ("run", "table", "list"))


def test_help_of_run_names_the_options(bench: Bench) -> None:
    out = bench("run", "--help").out
    options = "suite task method shots seeds model data preset out overwrite dry-run set config"
    assert all(f"--{option} " in out for option in options.split())


@pytest.mark.parametrize("kind", LISTINGS)
def test_lists_as_text_and_json(kind: str, bench: Bench) -> None:
    rows = LISTINGS[kind]()
    assert json.loads(bench("list", kind, "--json").out) == rows
    text = bench("list", kind).out.splitlines()
    assert text[0].split()[0] == next(iter(rows[0]))
    names = [next(iter(row.values())) for row in rows]
    shown = [line.split()[0] for line in text[2:] if not line.startswith(" ")]
    assert shown == names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "cbb"), "unknown task 'cbb': did you mean cb?"),
        (("--suite", "glu"), "unknown suite 'glu': did you mean glue or superglue?"),
        (("--method", "dtvf"), "unknown method 'dtvf': did you mean dtvg?"),
        (("--method", "dtvg:groping=all"), "unknown setting of dtvg 'groping': did you mean grou"),
        (("--preset", "papr"), "unknown preset 'papr': did you mean paper?"),
        (("--shots", "0"), "shots.0: expected a whole number of at least 1, or 'full' (given: 0)"),
        (("--shots", "-1"), "shots.0: expected a whole number of at least 1, or 'full' (given: -1"),
        (("--shots", "4,x"), "shots.1: expected a whole number of at least 1, or 'full' (given: '"),
        (("--seeds", "1,x"), "seeds.1: input should be a valid integer"),
        (("--seeds", ""), "seeds.0: input should be a valid integer"),
        (("--set", "training.steps"), "--set training.steps: expected key=value"),
        (("--config", "none.yaml"), "configuration none.yaml: No such file"),
        (("--data", "nowhere"), "there is no data folder nowhere: name a folder of"),
        (("--model", "./nowhere"), "no model folder at './nowhere': give a folder"),
        (("--overwrite", "sometimes"), "Invalid value for '--overwrite'"),
        (("--nonsense",), "No such option"),
    ],
)
def test_bad_words_are_one_line(words: tuple[str, ...], message: str, bench: Bench) -> None:
    answer = bench("run", *words)
    assert complaint(answer).startswith(f"error: {message}")
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1
    assert not Path("out").exists()


def test_all_faults_of_a_file_are_named(bench: Bench) -> None:
    Path("bad.yaml").write_text("shots: [0]\nmodle: tiny\ntraining: {batch_size: x}\n")
    line = complaint(bench("run", "--task", "cb", "--config", "bad.yaml"))
    assert all(f"{place}: " in line for place in ("shots.0", "modle", "training.batch_size"))
    assert line.count("; ") == 2


def test_a_missing_column_is_named(bench: Bench, rows: Rows) -> None:
    folder = rows(lambda row: {k: v for k, v in row.items() if k != "premise"})
    line = complaint(bench("run", *CELL, "--data", folder))
    assert line == (
        f"error: {folder}/cb/validation.parquet lacks the column premise: "
        "cb needs premise, hypothesis, label"
    )


def test_a_label_out_of_range_is_named_with_its_row(bench: Bench, rows: Rows) -> None:
    folder = rows(lambda row: row | {"label": 7 if row["idx"] == 5 else 0})
    line = complaint(bench("run", *CELL, "--data", folder))
    assert "cb/validation.parquet, row 5: task cb: column 'label' holds 7" in line


def test_more_shots_than_rows(bench: Bench, rows: Rows) -> None:
    line = complaint(bench("run", *CELL, "--data", rows(), "--shots", "13"))
    assert "cb has 12 training rows, fewer than the 13 shots asked for" in line


@pytest.mark.parametrize("config", [None, "{", '{"model_type": "t5"}', '{"model_type": "bert"}'])
def test_an_unreadable_model_folder(config: str | None, bench: Bench, rows: Rows) -> None:
    Path("model").mkdir()
    if config is not None:
        Path("model/config.json").write_text(config)
    line = complaint(bench("run", *CELL, "--data", rows(), "--model", "model"))
    assert line.startswith("error: model 'model'")


@pytest.mark.parametrize("option", ["--out", "--prompts"])
def test_a_place_that_cannot_be_written(option: str, bench: Bench, rows: Rows) -> None:
    Path("taken").write_text("a file")
    line = complaint(bench("run", *CELL, "--data", rows(), option, "taken"))
    assert line.startswith("error: cannot write taken/")
    assert Path("taken").read_text() == "a file"


def test_a_device_that_is_not_there(bench: Bench, rows: Rows) -> None:
    line = complaint(bench("run", *CELL, "--data", rows(), "--set", "device=nonsense"))
    assert line.startswith("error: device: 'nonsense' cannot be used here")


def test_debug_shows_the_traceback(bench: Bench) -> None:
    with pytest.raises(Exception, match="unknown task"):
        bench("run", "--task", "cbb", "--debug")


def test_interrupting_is_no_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.config.load_config", interrupt)
    answer = bench("run")
    assert answer.code == 130
    assert answer.err.strip() == "error: interrupted; give the same command again to continue"


def test_the_printed_configuration_is_the_one_that_runs(bench: Bench) -> None:
    words = ("--task", "cb", "--method", "dtvg:scales=off", "--shots", "3,full", "--seeds", "1,2")
    first = bench("run", *words, "--set", "prompt_length=3", "--print-config").out
    assert yaml.safe_load(first)["shots"] == [3, "full"]
    Path("printed.yaml").write_text(first)
    assert bench("run", "--config", "printed.yaml", "--print-config").out == first
    plans = [
        bench("run", *more, "--dry-run", "--json").out
        for more in ((*words, "--set", "prompt_length=3"), ("--config", "printed.yaml"))
    ]
    assert plans[0] == plans[1]


def test_naming_tasks_or_suites_replaces_those_of_the_preset(bench: Bench) -> None:
    def grid(*words: str) -> tuple[list[str], list[str]]:
        values = yaml.safe_load(bench("run", *words, "--print-config").out)
        return values["suites"], values["tasks"]

    assert grid() == (["glue"], [])
    assert grid("--task", "cb") == ([], ["cb"])
    assert grid("--suite", "nlg") == (["nlg"], [])
    assert grid("--suite", "nlg", "--task", "cb") == (["nlg"], ["cb"])


def test_a_dry_run_shows_the_plan_and_writes_nothing(bench: Bench) -> None:
    methods = ("--method", "pt", "--method", "dtvg")
    words = ("run", "--task", "cb", *methods, "--seeds", "1,2", "--shots", "16")
    answer = bench(*words, "--dry-run")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert "source prompts: 12 to train, 0 exist" in lines
    assert "target prompts: 2 to train, 0 exist" in lines
    assert "cells: 4 to run, 0 done" in lines
    assert "  to train  source prompt  mnli pt full data seed 1" in lines
    needs = "(needs 6 x pt full data seed 2, 1 x pt 16 shots seed 2)"
    assert f"  to run    cb dtvg 16 shots seed 2 {needs}" in lines

    values = json.loads(bench(*words, "--dry-run", "--json").out)
    assert len(values["cells"]) == 4
    assert len(values["trainings"]) == 16
    assert {cell["state"] for cell in values["cells"]} == {"to run"}
    assert list(Path.cwd().iterdir()) == []


def test_from_samples_to_tables(bench: Bench) -> None:
    """Default model and data, one cell; then the table in all formats, and a damaged record."""
    answer = bench("run", *CELL)
    assert answer.code == 0, answer.err
    assert "1 cells finished, 0 found done, 0 failed; records in out/records" in answer.err
    assert "| pt " in answer.out
    assert "preset smoke with training.steps=2" in answer.out

    assert bench("table", "out").out == answer.out
    assert "\\begin{table" in bench("table", "out", "--format", "latex").out
    lines = csv.DictReader(bench("table", "out", "--format", "csv").out.splitlines())
    means = {line["method"]: line["mean"] for line in lines}
    tables = json.loads(bench("table", "out", "--format", "json").out)["tables"]
    (record,) = Path("out/records").glob("*.json")
    accuracy = json.loads(record.read_text())["scores"]["test"]["accuracy"]
    assert float(means["pt"]) == accuracy
    assert tables[0]["rows"][0]["cells"][0]["mean"] == accuracy

    damaged = Path("out/records/cb-pt-3-2-0123456789ab.json")
    damaged.write_text(record.read_text()[:500])
    shown = bench("table", "out")
    assert shown.code == 0
    assert shown.out == answer.out
    (warning,) = shown.err.splitlines()
    assert warning.startswith(f"warning: record {damaged} is damaged")
    assert damaged.exists()

    again = bench("run", *CELL)
    assert "0 cells finished, 1 found done, 0 failed" in again.err
    assert again.out == answer.out


@pytest.mark.parametrize("folder", ["nowhere", "file", "empty"])
def test_tables_of_nothing(folder: str, bench: Bench) -> None:
    Path("file").write_text("")
    Path("empty").mkdir()
    assert folder in complaint(bench("table", folder))
