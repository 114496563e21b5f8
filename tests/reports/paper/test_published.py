"""The published numbers: whole, traceable, and part of the package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import distributions
from pathlib import Path

import pytest

from bench.errors import RecordError
from bench.reports.paper import LAYOUTS
from bench.reports.paper.published import AVERAGE, PublishedScore, published_scores
from bench.tasks import get_task

ROOT = Path(__file__).resolve().parents[3]
REPRODUCES = "the row's mean reproduces the published average"

Row = tuple[str, str, str]


def rows() -> dict[Row, dict[str, PublishedScore]]:
    """Scores by task, by paper, method and suite."""
    found: dict[Row, dict[str, PublishedScore]] = defaultdict(dict)
    for score in published_scores():
        found[score.paper, score.method, score.suite][score.task] = score
    return found


def claims(scores: dict[str, PublishedScore]) -> bool:
    return any(REPRODUCES in score.provenance for score in scores.values())


def test_rows_that_claim_it_reproduce_their_published_average() -> None:
    checked = [scores for scores in rows().values() if claims(scores)]
    for scores in checked:
        values = [score.value for task, score in scores.items() if task != AVERAGE]
        # Both sides are rounded to one digit.
        assert sum(values) / len(values) == pytest.approx(scores[AVERAGE].value, abs=0.0501)
    assert len(checked) == 7 * 4


def test_only_complete_rows_claim_it() -> None:
    suites = {g.title.lower(): set(g.tasks) for layout in LAYOUTS.values() for g in layout.groups}
    for (_, _, suite), scores in rows().items():
        assert claims(scores) == (set(scores) == suites[suite] | {AVERAGE})
        if not claims(scores):
            assert all("secondary summaries" in score.provenance for score in scores.values())


def test_every_value_is_a_percentage_in_the_metric_that_tables_show() -> None:
    for score in published_scores():
        assert 0 < score.value < 100
        metric = "mean" if score.task == AVERAGE else get_task(score.task).table_metric
        assert score.metric == metric
        assert score.provenance


def test_no_number_stands_twice() -> None:
    assert sum(len(scores) for scores in rows().values()) == len(published_scores())


@pytest.mark.parametrize("text", ["", "paper,table\nA,1\n", "value\nnan\n"])
def test_a_damaged_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "published.csv").write_text(text)
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    published_scores.cache_clear()
    try:
        with pytest.raises(RecordError, match=r"published\.csv.*: install the package again"):
            published_scores()
    finally:
        published_scores.cache_clear()


def test_the_built_package_holds_the_file_itself(tmp_path: Path) -> None:
    # Asked for and not imported, as that fails once something has imported Python 3.11's distutils.
    found = [package.version for package in distributions(name="setuptools")]
    if not found or int(found[0].split(".")[0]) < 77:
        pytest.skip("needs setuptools 77 or later")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in ("bench/reports", "results/published"):
        shutil.copytree(ROOT / folder, source / folder, symlinks=True)
    shutil.copy(ROOT / "bench" / "__init__.py", source / "bench")
    build = "from setuptools import setup; setup()"
    command = [
        sys.executable,
        "-c",
        build,
        "-q",
        "build_py",
        "--build-lib",
        str(tmp_path / "built"),
    ]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    built = tmp_path / "built" / "bench" / "reports" / "paper" / "published.csv"
    assert not built.is_symlink()
    assert built.read_bytes() == (ROOT / "results" / "published" / "published.csv").read_bytes()
