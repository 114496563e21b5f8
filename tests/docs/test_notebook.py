"""The notebook of the documentation runs, on a very small grid."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"
SETTINGS = {"training.steps": 2, "training.warmup_steps": 0, "training.evaluate_every": 2}
SETTINGS |= {"validation_rows": 8, "test_rows": 20, "input_length": 32}


def test_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [c for c in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if "outputs" in c]
    assert [cell["outputs"] for cell in cells] == [[]] * len(cells)
    code = [(cell["metadata"].get("tags", []), "".join(cell["source"])) for cell in cells]
    (tags, install), *others = code
    assert tags == ["install"]
    assert "%pip install" in install
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names: dict[str, Any] = {}
    for tags, source in others:
        exec(source, names)
        if tags == ["parameters"]:
            small = {"METHODS": ["pt"], "SHOTS": 4, "SEEDS": [1], "SETTINGS": SETTINGS}
            assert small.keys() < names.keys()
            names |= small
    assert {*names["results"]["task"]} == {"rte", "mrpc"}
    assert names["prompt"].shape == (20, 128)
    heights = [bar.get_height() for bar in names["axes"].patches]
    assert heights == names["shown"]["score"].tolist()
