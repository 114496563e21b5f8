"""Result folders made to order."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.reports import Results, load_results

GOLDEN = Path(__file__).parent / "golden"

MakeResults = Callable[..., Results]


@pytest.fixture(scope="session")
def golden() -> Path:
    """Records with known numbers, and the tables they give."""
    return GOLDEN


@pytest.fixture
def make_results(tmp_path: Path) -> MakeResults:
    """Store variations of one record, each a dict of path to value, and load them.

    ``{"cell.seed": 1, "score": 60.0}``: seed 1 with a test accuracy of 60.
    """

    def make(*variations: dict[str, Any]) -> Results:
        folder = tmp_path / "records"
        folder.mkdir(exist_ok=True)
        for file in folder.iterdir():
            file.unlink()
        for number, variation in enumerate(variations):
            content = copy.deepcopy(BASE)
            for path, value in variation.items():
                _set(content, PLACES.get(path, path), value)
            if content["status"] == "failed":
                content["error"] = {"type": "RuntimeError", "message": "out of memory"}
                content |= dict.fromkeys(("rows", "scores", "majority", "training"))
            # The place in the list counts, so that equal variations are different cells.
            text = json.dumps([number, content["cell"]])
            content["digest"] = hashlib.sha256(text.encode()).hexdigest()
            (folder / f"{number:04d}.json").write_text(json.dumps(content))
        results = load_results(tmp_path)
        assert not results.warnings
        return results

    return make


BASE: dict[str, Any] = json.loads(
    (GOLDEN / "records" / "mrpc-pt-16-42-116a5c186f16.json").read_text()
)

PLACES = {"score": "scores.test.accuracy", "label": "cell.method.label"}


def _set(content: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place = content
    for parent in parents:
        place = place[parent]
    place[last] = value
