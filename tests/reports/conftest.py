"""Result folders made to order."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench.predictions import Predictions, judge, predictions_block, write_predictions
from bench.records import read_record
from bench.reports import Results, load_results
from bench.tasks import TASKS, Task

GOLDEN = Path(__file__).parent / "golden"

MakeResults = Callable[..., Results]
StoreCell = Callable[[Path, dict[str, Any], Predictions], None]
CompileLatex = Callable[[str, Path], str]


@pytest.fixture(scope="session")
def golden() -> Path:
    """Records with known numbers, and the tables they give."""
    return GOLDEN


@pytest.fixture(scope="session")
def store_cell() -> StoreCell:
    """Write the content of a record, without its predictions, into a file and these beside it."""

    def store(path: Path, content: dict[str, Any], predictions: Predictions) -> None:
        path.write_text(json.dumps(content))
        content["predictions"] = asdict(predictions_block(read_record(path), predictions))
        path.write_text(json.dumps(content))
        write_predictions(predictions, path.with_name(content["predictions"]["file"]))

    return store


@pytest.fixture(scope="session")
def compile_latex() -> CompileLatex:
    """Run pdfLaTeX on a text in a folder and return its log; any error fails the test."""
    program = shutil.which("pdflatex")

    def compile_text(text: str, folder: Path) -> str:
        if program is None:
            pytest.skip("needs pdflatex (Debian: texlive-latex-base, texlive-latex-recommended)")
        (folder / "table.tex").write_text(text, encoding="utf-8")
        command = [program, "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        log = (folder / "table.log").read_text(encoding="latin-1")
        assert done.returncode == 0, log[-2000:]
        assert "Missing character" not in log
        return log

    return compile_text


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


PARAMETERS = {"pt": 1280, "spot": 1280, "attempt": 14208, "mpt": 1344, "dtvg": 1420}
SOURCES = ("mnli", "qnli", "qqp", "sst2", "squad", "record")
ANSWERS = ("a red fox", "two of them", "in the year 1066", "the harbour")


@pytest.fixture(scope="session")
def grid_folder(tmp_path_factory: pytest.TempPathFactory, store_cell: StoreCell) -> Path:
    """A results folder of the smoke grid's size: 26 tasks, 5 methods, 2 shots, 3 seeds.

    Read it, but change nothing in it. Its numbers are drawn at random from fixed seeds.
    """
    folder = tmp_path_factory.mktemp("grid") / "records"
    folder.mkdir()
    for method, task, shots, seed in itertools.product(PARAMETERS, TASKS, (16, None), (42, 43, 44)):
        content, predictions = made_up_cell(method, task, shots, seed)
        store_cell(folder / f"{content['digest'][:12]}.json", content, predictions)
    return folder.parent


def made_up_cell(
    method: str, task: Task, shots: int | None, seed: int
) -> tuple[dict[str, Any], Predictions]:
    """The content of a finished record with made-up curve and diagnostics, and its predictions."""
    rng = random.Random(f"{method} {task.name} {shots} {seed}")
    content = copy.deepcopy(BASE)
    cell = content["cell"]
    cell["method"] = {"name": method, "settings": {}, "label": method}
    cell |= {"task": task.name, "shots": shots, "seed": seed}
    cell["data"]["fingerprint"] = hashlib.sha256(task.name.encode()).hexdigest()
    content["digest"] = hashlib.sha256(json.dumps(cell).encode()).hexdigest()
    answers = task.labels or ANSWERS
    rows = random.Random(task.name).choice((28, 120, 200))
    right = [rng.choice(answers) for _ in range(rows)]
    given = [text if rng.random() < 0.6 else rng.choice(answers) for text in right]
    scorer = "accuracy" if task.labels else "squad"
    predictions = judge([scorer], range(rows), given, [[text] for text in right], [None] * rows)
    metric = "accuracy" if task.labels else "f1"
    scores = {metric: 100 * (1 - len(predictions.wrong) / rows)}
    few_shot = None if shots is None else list(range(shots))
    content["rows"] |= {"test": rows, "few_shot": few_shot}
    content["scores"] |= {"table_metric": metric, "validation": scores, "test": scores}
    content["majority"] = None
    curve = [
        {
            "step": step,
            "loss": 3 * 0.99**step + rng.random() / 5,
            "validation": {metric: max(0.0, scores[metric] * (1 - 0.98**step) - 3 * rng.random())},
            "valid_label_share": 1.0 if task.labels else None,
        }
        for step in range(20, 401, 20)
    ]
    content["training"] |= {"trainable_parameters": PARAMETERS[method], "steps": 400}
    content["training"] |= {"best_step": 400, "curve": curve}
    content["diagnostics"] = diagnostics(method, rng)
    origin = {"prompt": content["digest"], "given": False}
    content["sources"] = [{"task": source, **origin} for source in SOURCES]
    return content, predictions


def diagnostics(method: str, rng: random.Random) -> dict[str, Any]:
    """What DTVG tells of cosines and groups; nothing for others."""
    if method != "dtvg":
        return {}
    history = [
        {
            "step": step,
            "group": [source for source in SOURCES if rng.random() < 0.5],
            "cosines": {
                "prompts": {source: rng.uniform(0.7, 1) for source in SOURCES},
                "task_vectors": {source: rng.uniform(-1, 1) for source in SOURCES},
            },
        }
        for step in range(0, 401, 20)
    ]
    return {"best": history[-1], "changes": {}, "history": history}
