"""A result folder in one file, and back: same cells, differences told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.config import load_config, plain_config, restore_config
from bench.runs.bundle import read_bundle
from bench.runs.environment import differences
from bench.runs.versions import installed_versions

Bench = Callable[..., Any]
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "extending"
METHOD = ("--plugin", EXAMPLES / "residual_prompt.py", "--method", "residual:bottleneck=2")


@pytest.fixture
def frozen(bench: Bench, cell: tuple[object, ...]) -> dict[str, Any]:
    """The bundle of one run, whose results are in ``out``."""
    answer = bench(*cell, "--task", "mrpc", *METHOD)
    assert answer.code == 0, answer.err
    answer = bench("freeze", "out", "--output", "bundle.yaml")
    assert answer.code == 0, answer.err
    content: dict[str, Any] = yaml.safe_load(Path("bundle.yaml").read_text())
    return content


def records(folder: str) -> dict[str, Any]:
    found = [
        json.loads(path.read_text()) for path in sorted(Path(folder, "records").glob("*.json"))
    ]
    return {record["digest"]: record["scores"] for record in found}


def test_bundle_holds_what_is_behind_the_records_and_repeats_them(
    frozen: dict[str, Any], bench: Bench, data: Path
) -> None:
    (run,) = frozen["runs"]
    (record,) = (json.loads(path.read_text()) for path in Path("out/records").glob("*.json"))
    cell = record["cell"]
    assert run["cells"] == [record["digest"]]
    assert run["environment"]["model"] == {"tiny": cell["model"]["digest"]}
    assert run["environment"]["data"] == {"mrpc": cell["data"]["fingerprint"]}
    assert run["environment"]["code"] == {
        "harness": cell["code"]["harness"],
        "residual": cell["code"]["method"],
    }
    assert record["provenance"]["versions"].items() <= run["environment"]["versions"].items()
    assert run["configuration"]["preset"] == cell["preset"]
    assert frozen["commands"] == [record["provenance"]["command"]]
    assert frozen["commands"][0].startswith("bench run ")
    assert frozen["records"] == {"finished": 1, "failed": 0}
    plugin = {"kind": "method", "name": "residual", "origin": "file residual_prompt.py"}
    assert run["plugins"] == [plugin]

    again = ("run", "--from", "bundle.yaml", "--out", "again")
    refused = bench(*again)
    assert refused.code == 2
    assert "uses method 'residual' of file residual_prompt.py" in refused.err
    repeated = bench(*again, *METHOD[:2])
    assert repeated.code == 0, repeated.err
    assert "differs from bundle.yaml: nothing" in repeated.err
    assert records("again") == records("out")

    # The data may lie elsewhere, as long as it is the same.
    shutil.copytree(data, "moved")
    words = ("--data", "moved", "--dry-run", "--json")
    moved = bench(*again, *METHOD[:2], *words)
    assert json.loads(moved.out)["cells"][0]["state"] == "done"


def test_differences_are_told_one_line_each(frozen: dict[str, Any], bench: Bench) -> None:
    (run,) = frozen["runs"]
    environment = run["environment"]
    environment["versions"] |= {"torch": "1.0", "abandoned-package": "3.1"}
    environment["machine"]["gpu"] = "Some GPU"
    environment["code"]["harness"] = "a" * 64
    environment["data"]["mrpc"] = "b" * 64
    environment["model"]["tiny"] = "c" * 64
    run["cells"] = ["e" * 64]
    Path("changed.json").write_text(json.dumps(frozen))
    answer = bench("run", "--from", "changed.json", *METHOD[:2], "--dry-run")
    assert answer.code == 0
    lines = [line.removeprefix("differs from changed.json: ") for line in answer.err.splitlines()]
    patterns = [
        "torch 1.0 there, ",
        "abandoned-package 3.1 there, not installed here",
        "gpu Some GPU there, ",
        "model tiny cccccccccccc there, ",
        "data of mrpc bbbbbbbbbbbb there, ",
        "code of harness aaaaaaaaaaaa there, ",
        "1 of 1 cells differ in what decides their result",
    ]
    assert len(lines) == len(patterns)
    for pattern, line in zip(sorted(patterns), sorted(lines), strict=True):
        assert line.startswith(pattern)


def test_same_run_twice_is_one_note(
    frozen: dict[str, Any], bench: Bench, cell: tuple[object, ...]
) -> None:
    bench(*cell, "--task", "mrpc", *METHOD, "--overwrite", "always")
    assert len(list(Path("out/configs").iterdir())) == 1
    bench(*cell, "--task", "mrpc", "--method", "pt")
    bench("freeze", "out", "--output", "both.json")
    both = read_bundle(Path("both.json"))
    assert sorted(run.configuration["methods"][0] for run in both.runs) == [
        "pt",
        "residual:bottleneck=2",
    ]
    # All cells of both runs are there already; nothing is trained.
    answer = bench("run", "--from", "both.json", *METHOD[:2])
    assert "0 cells finished, 2 found done, 0 failed" in answer.err
    assert len(json.loads(bench("table", "out", "--format", "json").out)) == 1


def test_what_cannot_be_frozen_or_read_is_one_line(
    frozen: dict[str, Any], bench: Bench, tmp_path: Path
) -> None:
    assert "holds no records" in bench("freeze", "nothing").err
    shutil.copytree("out", "bare")
    shutil.rmtree("bare/configs")
    assert "has no note of the runs behind the records" in bench("freeze", "bare").err
    for name, text, reason in (
        ("damaged.yaml", "a: [", "no valid YAML"),
        ("other.yaml", "bundle: 2", "give a file that bench freeze wrote"),
        ("list.yaml", "[1]", "give a file that bench freeze wrote"),
    ):
        Path(name).write_text(text)
        answer = bench("run", "--from", name)
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert reason in answer.err
    assert "cannot read none.yaml" in bench("run", "--from", "none.yaml").err


@pytest.mark.parametrize(
    "words",
    [
        ("--task", "mrpc"),
        ("--preset", "smoke"),
        ("--set", "training.steps=3"),
        ("--config", "x.yaml"),
        ("--seeds", "1"),
        ("--source-prompt", "mnli=abcd"),
    ],
    ids=lambda words: words[0],
)
def test_a_bundle_says_what_to_run_alone(bench: Bench, words: tuple[str, ...]) -> None:
    answer = bench("run", "--from", "bundle.yaml", *words)
    assert answer.code == 2
    assert answer.err == (
        f"error: {words[0]} has no place beside --from, which says what to run: "
        "leave one of them out\n"
    )


def test_configurations_come_back_as_they_were() -> None:
    items = ["training.steps=7", "method_options.dtvg.training.batch_size=3", "shots=[4, full]"]
    config = load_config("paper", items=items)
    values = plain_config(config)
    assert json.loads(json.dumps(values)) == values
    assert restore_config(values, {}) == config
    assert restore_config(values, {"data": "bundled"}).data == "bundled"


def test_versions_are_those_of_the_packages_imported() -> None:
    import numpy
    import torch

    versions = installed_versions()
    assert versions["torch"] == torch.__version__
    assert versions["numpy"] == numpy.__version__
    assert "typing-extensions" in versions
    assert "ruff" not in versions  # Not needed to run.


def test_what_only_one_side_knows_differs_for_versions_alone() -> None:
    there = {"versions": {"a": "1", "b": "2"}, "data": {"mrpc": "x", "rte": "y"}}
    here = {"versions": {"a": "1", "c": "3"}, "data": {"mrpc": "z", "cb": "w"}}
    assert differences(there, here) == [
        "b 2 there, not installed here",
        "data of mrpc x there, z here",
    ]
