"""Result folders made to order."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.predictions import make_predictions, write_predictions
from bench.record import read_record
from bench.reports.frame import Results, load_results
from bench.reports.tables import render_tables
from tests.conftest import sealed

GOLDEN = Path(__file__).parent / "golden"
BASE = read_record(GOLDEN / "records" / "mrpc-pt-16-42-116a5c186f16.json")
SHORT = {
    "score": "scores.test.accuracy",
    "rows": "rows.test",
    "majority": "majority.test.accuracy",
    "parameters": "training.trainable_parameters",
    "results": "run.versions.results",
}
MakeResults = Callable[..., Results]


def fields(results: Results, layout: str | None = None, **options: Any) -> list[dict[str, Any]]:
    text = render_tables(results, "json", layout, **options)
    assert results.bootstrap.warnings == []
    return [
        {"table": number, **field}
        for number, table in enumerate(json.loads(text)["tables"], 1)
        for field in table["fields"]
    ]


def field(found: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (one,) = (f for f in found if all(f[name] == value for name, value in wanted.items()))
    return one


def by_task(
    rows: Sequence[str], values: Mapping[str, Sequence[float]], name: str = "score"
) -> list[dict[str, Any]]:
    """Runs of each task, one per row, with their scores or other values."""
    return [
        {"task": task, "row": row, name: value}
        for task, own in values.items()
        for row, value in zip(rows, own, strict=True)
    ]


@pytest.fixture
def make_results(tmp_path: Path) -> MakeResults:
    """Store variations of one record and load them.

    ``{"seed": 1, "score": 60.0, "model.name": "small"}`` changes parts of the run, and names in
    ``SHORT``; ``{".rows.notes": []}`` any part of a record; ``row`` method and label. ``right``
    stores predictions: so many of the test rows, which are 40 unless told, are answered right.
    """

    def make(*variations: dict[str, Any]) -> Results:
        folder = tmp_path / "records"
        folder.mkdir(exist_ok=True)
        for number, variation in enumerate(variations):
            values, file = json.loads(BASE.to_bytes()), folder / f"{number:05d}.json"
            if "right" in variation:
                right, rows = variation["right"], variation.get("rows", 40)
                variation = {"rows": rows, "score": 100 * right / rows} | variation
                answers = ["1"] * right + ["0"] * (rows - right)
                answered = make_predictions(
                    ["accuracy"], range(rows), answers, [["1"]] * rows, [None] * rows
                )
                values["predictions"] = write_predictions(answered, file).model_dump()
            if "row" in variation:
                row = variation["row"]
                variation = variation | {"method": row.split(":")[0], "label": row}
            if "status" in variation:
                error = {"type": "Error", "message": "memory"}
                values |= dict.fromkeys(("rows", "scores", "majority", "training"))
                values |= {"status": variation["status"], "error": error}
            for name in (own for own in variation if own not in ("right", "row", "status")):
                text = name[1:] if name[0] == "." else SHORT.get(name, f"run.{name}")
                *path, last = text.split(".")
                place: Any = values
                for step in path:
                    place = place and place[step]
                if place is not None:
                    place[last] = variation[name]
            values["id"] = hashlib.sha256(json.dumps([number, values["run"]]).encode()).hexdigest()
            file.write_bytes(sealed(values))
        results = load_results(tmp_path)
        assert results.warnings == []
        return results

    return make
