"""One run as text."""

from bench.predictions import make_predictions
from bench.record import TryBlock
from bench.reports.show import show_errors, show_record
from tests.reports.conftest import BASE, MakeResults


def test_a_finished_record() -> None:
    text = show_record(BASE)
    assert BASE.id in text
    assert "mrpc pt 16 shots seed 42: finished" in text
    assert "bundled model or data: not a benchmark result" in text
    (line,) = (line for line in text.splitlines() if line.startswith("accuracy *"))
    assert line.split()[2] == f"{BASE.scores.test['accuracy']:.1f}"
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_failed_record_shows_its_error(make_results: MakeResults) -> None:
    (record,) = make_results({"status": "failed"}).records
    assert "Error: memory" in show_record(record)


def test_curves_and_changes_of_the_group() -> None:
    groups = {0: ["mnli"], 5: ["mnli"], 9: []}
    history = [{"step": step, "group": group} for step, group in groups.items()]
    told = {"best": {"step": 5, "cosine": 0.123456}, "changes": {"group": 1}, "history": history}
    text = show_record(BASE.model_copy(update={"diagnostics": told}))
    assert "1.5 to 1.25 (from 1.25 to 1.5)" in text
    assert "from step 0: mnli" in text
    assert "from step 5" not in text
    assert "from step 9: none" in text
    assert "0.1235" in text


def test_tries() -> None:
    scores = {0.1: None, 0.3: 61.25, 0.5: 40.0}
    tries = [
        TryBlock(settings={"learning_rate": rate}, score=own, prompt="ab" * 32, chosen=own == 61.25)
        for rate, own in scores.items()
    ]
    lines = show_record(BASE.model_copy(update={"tries": tries})).splitlines()
    found = [line.split(maxsplit=1) for line in lines if "try " in line]
    assert found == [
        ["try", '{"learning_rate": 0.1}: failed'],
        ["chosen", 'try    {"learning_rate": 0.3}: 61.2 on validation'],
        ["try", '{"learning_rate": 0.5}: 40.0 on validation'],
    ]


def test_errors_with_and_without_inputs() -> None:
    answers = ["1", "0", "red\x1b[31m"]
    found = make_predictions(["accuracy"], [3, 4, 7], answers, [["1"], ["1"], ["0"]], [None] * 3)
    text = show_errors(found, ["first", "second", "third"])
    assert text.startswith("2 of 3 test examples wrong\n")
    assert "first" not in text
    assert text.index("second") < text.index("third")
    assert "\x1b" not in text
    assert 'prediction    "0"' in text
    assert "second" not in show_errors(found, None)
