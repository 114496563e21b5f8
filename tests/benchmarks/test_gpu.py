"""The script for GPUs runs, at a size for a CPU."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("gpu.py")


def test_the_script_stores_a_line_for_each_precision_and_number_of_cells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(SCRIPT))["main"](["--small", "--out", str(tmp_path)])

    with (tmp_path / "small.csv").open(encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert [(line["precision"], line["cells"], line["shared"]) for line in lines] == [
        ("bf16", "1", "1"),
        ("bf16", "2", "2"),
        ("float32", "1", "1"),
        ("float32", "2", "2"),
    ]
    assert all(float(line["examples_per_second"]) > 0 for line in lines)
    assert [line["speedup"] for line in lines if line["cells"] == "1"] == ["1.0", "1.0"]
    assert len((tmp_path / "small.md").read_text(encoding="utf-8").splitlines()) == 2 + 2 + 4
    assert len(capsys.readouterr().out.splitlines()) == 5
