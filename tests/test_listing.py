"""What ``bench list`` shows, against the things themselves."""

from __future__ import annotations

import json

import pytest

from bench.listing import LISTINGS
from bench.models.catalog import BUNDLED
from bench.registry import METHODS
from bench.tasks import SUITES, list_tasks


def test_every_task_with_its_source_and_suites() -> None:
    rows = {row["task"]: row for row in LISTINGS["tasks"]()}
    assert list(rows) == [task.name for task in list_tasks()]
    assert len(rows) == 26
    assert rows["cb"] == {
        "task": "cb",
        "hub": "aps/super_glue cb",
        "revision": "3de24cf8022e94f4ee4b9d55a6f539891524d646",
        "metrics": ["accuracy", "f1_multiclass"],
        "split": "halve-validation",
        "input_length": 256,
        "rows": ["train 250", "validation 56", "test 250"],
        "suites": ["superglue", "paper"],
    }
    assert rows["sst2"]["suites"] == ["glue", "sources", "paper"]


def test_suites_methods_and_models() -> None:
    assert {row["suite"]: tuple(row["tasks"]) for row in LISTINGS["suites"]()} == dict(SUITES)
    assert [row["method"] for row in LISTINGS["methods"]()] == list(METHODS)
    kinds = {"tiny": "encoder-decoder", "tiny-llama": "decoder-only"}
    assert LISTINGS["models"]() == [
        {"model": name, "architecture": kind, "note": BUNDLED[name].note}
        for name, kind in kinds.items()
    ]


@pytest.mark.parametrize("kind", LISTINGS)
def test_listings_are_plain_values(kind: str) -> None:
    rows = LISTINGS[kind]()
    assert json.loads(json.dumps(rows)) == rows
