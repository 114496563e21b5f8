from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.errors import RecordError
from bench.reports import load_results


def test_records_lie_in_the_folder_or_below_it(golden: Path) -> None:
    below, within = load_results(golden), load_results(golden / "records")
    assert below.records == within.records
    assert len(below.records) == 15


def test_a_copied_record_counts_once(golden: Path, tmp_path: Path) -> None:
    source = golden / "records" / "mrpc-pt-16-42-116a5c186f16.json"
    shutil.copy(source, tmp_path / "a.json")
    shutil.copy(source, tmp_path / "b.json")
    results = load_results(tmp_path)
    assert len(results.records) == 1
    (warning,) = results.warnings
    assert "holds cell 116a5c186f16 (mrpc, pt) more than once" in warning


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no results folder"):
        load_results(tmp_path / "nothing")
