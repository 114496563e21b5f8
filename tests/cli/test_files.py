"""``bench list``, ``data``, ``export``, ``import`` and ``doctor``."""

import json
import shlex
import shutil
import urllib.error
import urllib.request
from dataclasses import fields
from pathlib import Path
from unittest.mock import Mock

import datasets
import huggingface_hub
import pandas as pd
import pytest
import safetensors.torch
import torch

from bench.config import load_config
from bench.registry import METHODS
from bench.tasks import SUITES, TASKS, get_task
from tests.cli.conftest import ONE, Bench

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "extending" / "sentiment.yaml"


LISTS = {"tasks": [task.name for task in TASKS], "suites": list(SUITES), "methods": list(METHODS)}
LISTS |= {"models": ["tiny", "tiny-llama", "smollm2"]}


@pytest.mark.parametrize(("kind", "names"), LISTS.items())
def test_lists(kind: str, names: list[str], bench: Bench) -> None:
    rows = json.loads(bench("list", kind, "--json").out)
    assert [next(iter(row.values())) for row in rows] == names
    text = bench("list", kind).out.splitlines()
    shown = [line.split()[0] for line in text[2:] if not line.startswith(" ")]
    assert shown == names


def test_the_list_of_tasks_tells_all_about_them(bench: Bench) -> None:
    rows = json.loads(bench("list", "tasks", "--json").out)
    cb = next(row for row in rows if row["task"] == "cb")
    known = {"hub": "aps/super_glue cb", "suites": ["superglue", "paper"]}
    assert cb == cb | known | {"rows": ["train 250", "validation 56", "test 250"]}
    nlg = json.loads(bench("list", "tasks", "--suite", "nlg,glue", "--json").out)
    assert {row["task"] for row in nlg} == {*SUITES["nlg"], *SUITES["glue"]}
    lines = bench("list", "tasks").out.splitlines()
    assert max(map(len, lines)) <= 100
    mnli = next(line.split() for line in lines if line.startswith("mnli"))
    assert mnli[-4:-1] == ["accuracy", "392702", str(9815 + 9832)]
    assert cb["revision"] in bench("list", "tasks", "--verbose").out


def test_the_list_of_settings(bench: Bench) -> None:
    rows = json.loads(bench("list", "methods", "--settings", "--json").out)
    found = {(row["method"], row["setting"]): row for row in rows}
    for name, entry in METHODS.items():
        own = {field.name: field.default for field in fields(entry.load().Settings)}
        assert {key: found[name, key]["default"] for key in own} == own
    llama = load_config("paper", None, {"model": "tiny-llama"}).method_spec("pt").values()
    rate = found["pt", "learning_rate"]
    assert rate["presets"]["paper with a Llama"] == llama["learning_rate"] != rate["default"]
    text = bench("list", "methods", "--settings").out
    assert f"paper with a Llama: {llama['learning_rate']}" in text


def test_the_list_of_prompts(out: Path, bench: Bench) -> None:
    (row,) = json.loads(bench("list", "prompts", "--json").out)
    facts = {"task": "mrpc", "label": "pt", "prompt_length": 4, "shots": 4, "seed": 1}
    assert row == {**facts, "id": row["id"], "model": "tiny", "form": "prompt"}
    (path,) = out.glob("prompts/*.json")
    assert row["id"] in path.name
    assert row["id"] in bench("list", "prompts", out).out
    assert bench("list", "prompts", out / "prompts").out == bench("list", "prompts", out).out
    path.write_text("{")
    assert bench("list", "prompts").err.startswith("warning: record ")
    assert bench("list", "prompts", "none").error().startswith("no folder none")
    assert bench("list", "suites", "--verbose").error().startswith("--verbose is for tasks")


def test_data_check(bench: Bench) -> None:
    """In a folder with rte alone."""
    rows = [{"sentence1": "a", "sentence2": "b", "label": i % 2} for i in range(6)]
    for split in ("train", "validation"):
        datasets.Dataset.from_list(rows).to_parquet(f"data/rte/{split}.parquet")
    answer = bench("data", "check", "--data", "data", "--task", "rte")
    lines = ["ok       rte            train 6, validation 6", "1 of 1 task as declared, 0 not"]
    assert (answer.code, answer.out.splitlines()) == (0, lines)
    words = ("data", "check", "--data", "data", "--suite", "glue", "--task", "rte")
    answer, values = bench(*words), bench(*words, "--json")
    assert answer.code == values.code == 1
    assert "differs  cola\n  ! data" in answer.out
    assert answer.out.endswith("1 of 8 tasks as declared, 7 not\n")
    reports = {report["task"]: report for report in json.loads(values.out)}
    assert [name for name, report in reports.items() if report["ok"]] == ["rte"]
    assert reports["rte"]["rows"] == {"train": 6, "validation": 6}
    assert reports["rte"]["expected"]["train"] == 2490


def test_data_offline(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    answer = bench("data", "check", "--task", "cb")
    assert answer.code == 1
    assert answer.err == "HF_HUB_OFFLINE is set: checking only the cache of this machine\n"
    assert "cannot load aps/super_glue cb" in answer.out
    assert bench("data", "prefetch", "--task", "cb").error().startswith("prefetch loads from the")


def test_prefetch(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = datasets.Dataset.from_list([{"premise": "a", "hypothesis": "b", "label": 0}] * 56)
    (tmp_path / "cb").mkdir()
    for split in get_task("cb").rows:
        rows.to_parquet(tmp_path / "cb" / f"{split}-00000-of-00001.parquet")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **options: str(tmp_path))
    answer = bench("data", "prefetch", "--task", "cb")
    assert answer.code == 1
    assert "! the hub's cb train split has 56 rows, not the 250 expected" in answer.out
    assert "validation split" not in answer.out


def test_export_and_import_give_the_prompt_back(out: Path, bench: Bench) -> None:
    answer = bench("export", out, "mrpc-pt", "--to", "peft", "adapter")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "mrpc pt 4 shots seed 1: adapter and model card in adapter\n"
    words = ("import", "adapter", "--task", "mnli", "--model", "tiny", "--seed", "1")
    answer = bench(*words, "--out", "new")
    assert answer.code == 0, answer.err
    first, last = answer.out.splitlines()
    prompt = first.split()[1]
    assert first == f"imported {prompt} (mnli, 4 tokens)"
    assert bench(*shlex.split(last.removeprefix("use it: bench ")), "--dry-run").code == 0
    assert json.loads(bench(*words, "--out", "new", "--json").out)["id"] == prompt
    given = f"source_prompts.mnli={prompt}"
    words = ("run", "--method", "spot", "--set", "prompt_length=4", "--set", given, "--dry-run")
    runs = json.loads(bench(*words, "--out", "new", "--json").out)["runs"]
    assert all(f"mnli given {prompt}" in run["needs"] for run in runs)
    (row,) = json.loads(bench("list", "prompts", "new", "--json").out)
    assert (row["label"], row["task"]) == ("imported", "mnli")
    (own,), (other,) = (Path(place).glob("prompts/*.safetensors") for place in (out, "new"))
    tensors = [safetensors.torch.load_file(file)["prompt"] for file in (own, other)]
    assert torch.equal(*tensors)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Mock(side_effect=urllib.error.URLError("no network in tests"))
    monkeypatch.setattr(urllib.request, "urlopen", fault)


@pytest.mark.usefixtures("no_hub")
def test_the_doctor_trains(bench: Bench) -> None:
    answer = bench("doctor", "--json")
    assert answer.code == 0, answer.out
    found = {finding["name"]: finding for finding in json.loads(answer.out)}
    assert found["hub"]["state"] == "note"
    assert found["self-test"]["state"] == "ok"
    assert f"torch {torch.__version__.partition('+')[0]}" in found["versions"]["text"]
    assert "out can be written" in found["result folder"]["text"]
    assert not any(Path().iterdir())


@pytest.mark.usefixtures("no_hub")
def test_the_doctor_tells_faults(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Mock(side_effect=RuntimeError("illegal instruction"))
    monkeypatch.setattr("bench.runner.run_grid", broken)
    answer = bench("doctor", "--out", "/proc/self/out")
    assert answer.code == 1
    assert "fault self-test: RuntimeError: illegal instruction" in answer.out.splitlines()
    assert "fault result folder: /proc/self/out cannot be written" in answer.out


def test_a_task_in_yaml_is_run_and_logged(bench: Bench) -> None:
    lines = EXAMPLE.read_text().splitlines()
    assert len([line for line in lines if not line.startswith("#")]) <= 15
    folder = Path("own").absolute()
    folder.mkdir()
    shutil.copy(EXAMPLE, folder)
    rows = [{"text": f"it was {i}", "rating": ("negative", "positive")[i % 2]} for i in range(9)]
    pd.DataFrame(rows).to_csv(folder / "reviews-train.csv", index=False)
    (folder / "reviews-validation.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ["sentiment" if word == "mrpc" else word for word in ONE]
    words += ["--plugin", str(folder / EXAMPLE.name), "--log", "tensorboard"]
    assert bench(*words).code == 0
    (file,) = Path("out/records").glob("*.json")
    record = json.loads(file.read_text())
    data = record["run"]["data"]
    assert (data["kind"], data["name"], data["revision"]) == ("local", str(folder), None)
    assert (record["rows"]["train"], record["rows"]["test"]) == (4, 5)  # Validation is halved.
    logs = [path.read_bytes() for path in Path("out/logs").rglob("events*")]
    assert any(b"test/accuracy" in log and b"validation/mean" in log for log in logs)
    words.append("--dry-run")
    assert json.loads(bench(*words, "--json").out)["to_run"] == 0
    with (folder / "reviews-train.csv").open("a") as rest:
        rest.write("fine,positive\n")
    assert json.loads(bench(*words, "--json").out)["to_run"] == 1


def test_names_that_the_hub_refuses(out: Path, bench: Bench) -> None:
    bad = bench("export", out, "mrpc-pt", "--push-to-hub", "a/b/c").error()
    assert bad.startswith("hub repository a/b/c: HFValidationError: Repo id must be in the form")
    bad = bench("import", "hf://a--b", "--task", "mnli", "--model", "tiny").error()
    assert bad.startswith("hub repository a--b: HFValidationError: Cannot have -- or .. in repo_id")
