"""What a task scores without a tuned prompt."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

from bench.cli import cli
from bench.data import open_source
from bench.data.sources import bundled_rows
from bench.models.base import FrozenLM
from bench.models.loading import load
from bench.runs.examples import Examples
from bench.runs.floors import floor
from bench.tasks import get_task


@pytest.fixture(scope="module")
def model() -> FrozenLM:
    return load("tiny", "cpu", None)


@pytest.fixture(scope="module")
def examples(model: FrozenLM) -> Examples:
    return Examples(open_source("bundled"), model.encoder, data_seed=42)


def test_the_constant_answer_is_the_majority_class(model: FrozenLM, examples: Examples) -> None:
    found = floor(model, examples, "wic", 100)
    labels = [str(row["label"]) for row in examples.rows("wic").train]
    most = max(sorted(set(labels)), key=labels.count)
    tested = [str(row["label"]) for row in examples.rows("wic").test]
    assert found.answer == most
    assert found.constant == pytest.approx(100 * tested.count(most) / len(tested))
    assert found.rows == len(tested)


def test_a_constant_does_not_correlate(model: FrozenLM, examples: Examples) -> None:
    assert floor(model, examples, "stsb", 200).constant == 0.0


def test_the_constant_answer_to_questions_is_the_most_frequent(
    model: FrozenLM, examples: Examples
) -> None:
    answers = [row["answers"][0] for row in examples.rows("nq").train]  # type: ignore[index]
    found = floor(model, examples, "nq", 100)
    assert answers.count(found.answer) == max(map(answers.count, answers))


def test_the_model_alone_answers_as_transformers_has_it(
    model: FrozenLM, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With labels set to what plain ``generate`` says of the published text, it is always right."""
    import bench.runs.floors as floors
    from bench.models.catalog import BUNDLED

    module, tokenizer = BUNDLED["tiny"].load()
    task = get_task("wic")
    texts = [task.to_text(row, False)[0].source for row in examples.rows("wic").test]
    told = []
    for text in texts[:20]:
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            told.append(module.eval().generate(ids, max_new_tokens=task.target_length))
    expected = [tokenizer.decode(ids[0], skip_special_tokens=True).strip() for ids in told]
    seen: list[str] = []
    evaluate = floors.evaluate
    monkeypatch.setattr(
        floors,
        "evaluate",
        lambda *args: (done := evaluate(*args), seen.extend(done.predictions))[0],
    )
    floor(model, examples, "wic", 50)
    assert [answer.strip() for answer in seen[:20]] == expected


def test_the_command_prints_a_line_per_task() -> None:
    done = CliRunner().invoke(cli, ["floors", "--task", "cb", "--task", "wic", "--format", "json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [item["task"] for item in found["floors"]] == ["cb", "wic"]
    assert found["data"] == "bundled"
    assert found["bundled"] == ["model", "data"]
    rows = len(bundled_rows("cb", "validation")) // 2
    assert found["floors"][0]["rows"] == rows
    shown = CliRunner().invoke(cli, ["floors", "--task", "cb"]).stdout
    assert "| cb " in shown
    assert "Model: tiny" in shown
    assert "bundled model and data: no result" in shown


def test_a_wrong_name_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.models.loading.load", lambda *args: pytest.fail("model loaded"))
    done = CliRunner().invoke(cli, ["floors", "--task", "cb", "--task", "nosuch"])
    assert "unknown task 'nosuch'" in str(done.exception)


def test_no_task_is_an_error_of_one_line() -> None:
    done = CliRunner().invoke(cli, ["floors"])
    assert done.exit_code != 0
    assert "give --suite or --task" in str(done.exception)


def test_a_device_that_is_not_there_is_an_error_of_one_line() -> None:
    done = CliRunner().invoke(cli, ["floors", "--task", "cb", "--device", "cuda:99"])
    assert str(done.exception).startswith("device: 'cuda:99' cannot be used here")
