"""How files grow with evaluations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.runs.estimate.sizes import CARD_LISTS, FileSize, Sizes, file_size, mean_size

KIND, OTHER = ("pt {}", False), ("mpt {}", False)


def card(evaluations: int) -> dict[str, Any]:
    points = [{"step": 10 + n, "validation": {"accuracy": 50.5}} for n in range(evaluations)]
    history = [{"step": 10 + n, "group": ["mnli"]} for n in range(evaluations)]
    return {"digest": "ab", "result": {"curve": points, "history": history}}


def test_a_file_is_as_large_as_one_written_with_more_evaluations(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text(json.dumps(card(3), indent=1))
    size = file_size(path, CARD_LISTS)
    assert size.at(3) == path.stat().st_size
    assert size.at(60) == len(json.dumps(card(60), indent=1))


def test_a_file_without_lists(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text('{"training": null}')
    assert file_size(path, CARD_LISTS) == FileSize(18, 0)


def test_sizes_by_hand() -> None:
    sizes = Sizes({KIND: 100.0}, {KIND: FileSize(10, 1)}, {KIND: FileSize(20, 2)}, answer=0.5)
    for kind in (KIND, OTHER):  # What was not seen is as the largest.
        assert sizes.prompt(kind, 4) == 100 + 10 + 4
        assert sizes.checkpoint(kind) == 400
        assert sizes.record(kind, 4, rows=10) == 20 + 8 + 5
    assert Sizes({}, {}, {}, 0.0).prompt(KIND, 4) == 0


def test_mean_of_files() -> None:
    assert mean_size([FileSize(10, 1), FileSize(20, 3)]) == FileSize(15, 2)
