"""``bench run`` and ``bench plan``."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml

from bench import provenance
from bench.config import load_config
from bench.grid import make_grid
from bench.store import ResultStore
from tests.cli.conftest import ONE, Bench
from tests.conftest import sealed

LINES = "1 run finished, 0 found finished, 0 failed; records in out/records"
WORDS = "run --task cb --method pt,dtvg --seeds 1,2 --shots 16 --dry-run"


def test_a_run_ends_with_its_table_and_continues(bench: Bench) -> None:
    quiet = bench(*ONE, "--quiet")
    assert (quiet.code, quiet.err) == (0, "")
    (record,) = Path("out/records").glob("*.json")
    accuracy = json.loads(record.read_text())["scores"]["test"]["accuracy"]
    row = next(line for line in quiet.out.splitlines() if line.startswith("| PT "))
    assert f"{accuracy:.1f}" in row
    verbose = bench(*ONE, "--verbose", "--overwrite", "always")
    assert LINES in verbose.err
    steps = [line for line in verbose.err.splitlines() if ": step " in line]
    assert [line.partition(": step ")[2][:3] for line in steps] == ["1/2", "2/2"]
    assert "\x1b" not in quiet.out + verbose.err
    again = bench(*ONE)
    assert "0 runs finished, 1 found finished, 0 failed" in again.err
    assert quiet.out == verbose.out == again.out == bench("table", "out").out


def test_failed_runs_are_exit_code_1(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("bench.worker.train", Mock(side_effect=RuntimeError("too\nhot")))
        failed = bench(*ONE)
    assert failed.code == 1
    assert "0 runs finished, 0 found finished, 1 failed" in failed.err
    status = bench("status", "out")
    assert status.code == 0
    (name,) = (path.name for path in Path("out/records").glob("*.json"))
    assert f"failed: 1\n  {name}: too hot\n" in status.out
    assert json.loads(bench("status", "out", "--json").out)["failed"] == [f"{name}: too hot"]
    overview = json.loads(bench(*ONE, "--dry-run", "--json").out)
    assert (overview["to_run"], overview["failed"], overview["finished"]) == (0, 1, 0)
    assert bench(*ONE).code == 1
    assert LINES in bench(*ONE, "--overwrite", "failed").err


def test_a_dry_run_writes_nothing(bench: Bench) -> None:
    words = WORDS.split()
    lines = bench(*words).out.splitlines()
    assert "  to train   mnli pt full data seed 1" in lines
    assert "  to run     cb dtvg 16 shots seed 2 (needs 7 prompts)" in lines
    assert lines[-4:] == ["to run: 4", "finished: 0", "failed: 0", "prompts to train: 12"]
    values = json.loads(bench(*words, "--json").out)
    options = {"suites": [], "tasks": ["cb"], "methods": ["pt", "dtvg"], "seeds": [1, 2]}
    grid = make_grid(load_config(options=options), ResultStore(Path("out")))
    assert {line["id"] for line in values["runs"]} == grid.ids
    assert {line["state"] for line in values["runs"]} == {"to run"}
    assert {line["id"] for line in values["prompts"]} == grid.runs.keys() - grid.reported.keys()
    assert not any(Path().iterdir())


def test_a_dry_run_of_a_finished_folder(finished: Path, bench: Bench) -> None:
    words = (*ONE, "--seeds", "2", "--out", finished, "--dry-run", "--json")
    values = json.loads(bench(*words).out)
    assert (values["to_run"], values["finished"]) == (1, 1)
    assert [line["state"] for line in values["runs"]] == ["finished", "to run"]
    # DTVG needs the prompt of the finished run, which is not in this store.
    others = ("--method", "dtvg", "--prompts", "none")
    values = json.loads(bench(*words, *others).out)
    assert [line["state"] for line in values["runs"]] == ["finished", *["to run"] * 3]
    assert values["prompts_to_train"] == len(values["prompts"])
    assert {line["state"] for line in values["prompts"]} == {"to train"}


def test_the_printed_configuration_is_the_one_that_runs(bench: Bench) -> None:
    text = "--task cb --method dtvg:scales=off --shots 3,full --set prompt_length=3"
    words = [*text.split(), "--precision", "bf16", "--device", "cpu"]
    first = bench("run", *words, "--print-config").out
    values = yaml.safe_load(first)
    assert values["shots"] == [3, "full"]
    assert (values["precision"], values["device"], values["prompt_length"]) == ("bf16", "cpu", 3)
    Path("printed.yaml").write_text(first)
    assert bench("run", "--config", "printed.yaml", "--print-config").out == first
    runs = [bench("run", *w, "--dry-run").out for w in (words, ["--config", "printed.yaml"])]
    assert runs[0] == runs[1]


def test_a_limit_raises_no_other(bench: Bench) -> None:
    for limit, rows, expected in ((500, 5, [500, 100, 5]), (9, 50, [9, 9, 9])):
        words = ("run", "--limit", limit, "--set", f"test_rows={rows}", "--print-config", "--json")
        values = json.loads(bench(*words).out)
        assert [values[f"{n}_rows"] for n in ("train", "validation", "test")] == expected


def test_the_printed_configuration_has_the_settings_of_every_method(bench: Bench) -> None:
    words = ("run", "--preset", "paper", "--method", "mpt,dtvg:grouping=all,scales=off,pt")
    words += ("--set", "method_options.mpt.settings.rank=3", "--print-config")
    shown = json.loads(bench(*words, "--json").out)["settings"]
    assert list(shown) == ["mpt", "dtvg:grouping=all,scales=off", "pt"]
    assert (shown["mpt"]["rank"], shown["dtvg:grouping=all,scales=off"]["scales"]) == (3, "off")
    lines = bench(*words).out.splitlines()
    assert all(f"# {label}: {json.dumps(own)}" in lines for label, own in shown.items())


LISTS = (
    ("--task cb,rte --task mrpc", "tasks", ["cb", "rte", "mrpc"]),
    ("", "suites", ["glue"]),
    ("--task cb", "suites", []),  # Naming tasks or suites replaces those of the preset.
    ("--suite nlg --task cb", "tasks", ["cb"]),
    ("--suite glue,nlg --suite mrqa", "suites", ["glue", "nlg", "mrqa"]),
    ("--shots 4,full --shots 16", "shots", [4, "full", 16]),
    ("--seeds 42-44,50 --seeds 7-7", "seeds", [42, 43, 44, 50, 7]),
    (
        "--method pt,mpt:rank=2,factor_std=0.1,spot --method dtvg:solver=exact",
        "methods",
        ["pt", "mpt:rank=2,factor_std=0.1", "spot", "dtvg:solver=exact"],
    ),
)


@pytest.mark.parametrize(("words", "key", "values"), LISTS)
def test_lists_take_commas_and_repetition(words: str, key: str, values: Any, bench: Bench) -> None:
    answer = bench("run", *words.split(), "--print-config", "--json")
    assert json.loads(answer.out)[key] == values


def test_the_help_of_run_has_every_option_in_a_section(bench: Bench) -> None:
    lines = bench("run", "--help").out.splitlines()
    named = [line.split()[0].rstrip(",") for line in lines if line.startswith("  -")]
    assert sorted(named) == sorted(set(named))
    sections = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert sections[0] == "Grid:"
    assert len(sections) > 4
    assert "in total, not in-context examples" in " ".join(lines)


def test_a_kept_configuration_repeats_its_runs(
    out: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config,) = out.glob("configs/*.yaml")
    words = ("run", "--config", config, "--dry-run")
    same = bench(*words)
    assert same.err == ""
    assert "finished: 1" in same.out
    (record,) = out.glob("records/*.json")
    values = json.loads(record.read_text())
    values["provenance"]["versions"]["torch"] = "1.0"
    record.write_bytes(sealed(values))
    (line,) = bench(*words).err.splitlines()
    assert line.startswith(f"differs from {config}: torch 1.0 there, ")
    assert bench(*words, "--quiet").err == ""
    assert bench(*words, "--set", "prompt_length=5").err == line + "\n"
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "RESULTS_VERSION", provenance.RESULTS_VERSION + 1)
        changed = bench(*words)
    assert "its records belong to other runs: model, data or a version changed" in changed.err
    elsewhere = config.rename("elsewhere.yaml")
    assert bench("run", "--config", elsewhere, "--dry-run").err == ""


def test_a_plan(out: Path, bench: Bench) -> None:
    assert json.loads(bench("plan", *ONE[1:], "--json").out)["runs_done"] == 1
    assert "0 to run" in bench("plan", *ONE[1:]).out
