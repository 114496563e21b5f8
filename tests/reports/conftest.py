"""Result folders made to order."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.predictions import judge, write_predictions
from bench.record import read_record
from bench.reports.frame import Results, load_results
from bench.reports.tables import render_tables

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
    text, warnings = render_tables(results, "json", layout, **options)
    assert warnings == []
    return [
        {"table": number, **field}
        for number, table in enumerate(json.loads(text)["tables"], 1)
        for field in table["fields"]
    ]


def field(found: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (one,) = (f for f in found if all(f[name] == value for name, value in wanted.items()))
    return one


@pytest.fixture
def make_results(tmp_path: Path) -> MakeResults:
    """Store variations of one record and load them.

    ``{"seed": 1, "score": 60.0, "model.name": "small"}`` changes parts of the run, and names in
    ``SHORT``; ``{".rows.notes": []}`` any part of a record; ``row`` method and label. ``right``
    stores predictions: whether each of the test rows is answered right.
    """

    def make(*variations: dict[str, Any], load: bool = True) -> Results:
        folder = tmp_path / "records"
        folder.mkdir(exist_ok=True)
        for number, variation in enumerate(variations):
            values = json.loads(BASE.to_bytes())
            right: Sequence[bool] = variation.get("right", ())
            if row := variation.get("row"):
                variation = variation | {"method": row.split(":")[0], "label": row}
            if right:
                score = 100 * sum(right) / len(right)
                variation = {"rows": len(right), "score": score} | variation
            for name, value in variation.items():
                text = name[1:] if name[0] == "." else SHORT.get(name, f"run.{name}")
                *path, last = text.split(".")
                place: Any = values
                if name == "status":
                    values |= dict.fromkeys(("rows", "scores", "majority", "training"))
                    values |= {"status": value, "error": {"type": "Error", "message": "memory"}}
                elif name not in ("right", "row"):
                    for step in path:
                        place = place and place[step]
                    if place is not None:
                        place[last] = value
            values["seal"] = "0" * 64
            values["id"] = hashlib.sha256(json.dumps([number, values["run"]]).encode()).hexdigest()
            file = folder / f"{number:05d}.json"
            if right:
                answers = [str(int(each)) for each in right]
                texts = [["1"]] * len(right)
                own: list[None] = [None] * len(right)
                answered = judge(["accuracy"], range(len(right)), answers, texts, own)
                values["predictions"] = write_predictions(answered, file).model_dump()
            file.write_text(json.dumps(values))
        results = load_results(tmp_path)
        assert results.warnings == []
        return results

    return make
