"""``bench table --layout`` and ``bench compare``."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli import cli
from bench.reports.paper import LAYOUTS

RECORDS = Path(__file__).parents[1] / "reports" / "paper" / "golden"


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.mark.parametrize("suffix", ["md", "tex", "csv", "json"])
def test_prints_the_golden_tables(suffix: str) -> None:
    form = {"md": "markdown", "tex": "latex"}.get(suffix, suffix)
    words = (RECORDS, "--format", form)
    table = run("table", *words, "--layout", "glue-superglue", "--spread", "ci", "--published")
    assert table.stdout == (RECORDS / f"table.{suffix}").read_text()
    assert run("compare", *words).stdout == (RECORDS / f"compare.{suffix}").read_text()


def test_options() -> None:
    table = run("table", RECORDS, "--layout", "glue-superglue", "--against", "dtvg")
    assert "below dtvg" in table.stdout
    assert " ± 7.1" in table.stdout
    plain = run("table", RECORDS, "--layout", "glue-superglue", "--no-marks")
    assert "below" not in plain.stdout
    assert "published" not in plain.stdout.partition("\n\n")[2]
    against = run("compare", RECORDS, "--against", "dtvg", "--format", "csv")
    assert {line["against"] for line in csv.DictReader(io.StringIO(against.stdout))} == {"dtvg"}


@pytest.mark.parametrize("option", [["--published"], ["--spread", "ci"], ["--no-marks"]])
def test_options_of_layouts_need_one(option: list[str]) -> None:
    result = run("table", RECORDS, *option)
    assert result.exit_code == 2
    assert f"{option[0].replace('no-', '')} needs --layout" in result.stderr


def test_every_layout_is_named_in_the_help() -> None:
    help_text = "".join(run("table", "--help").stdout.split())  # Lines break at hyphens.
    assert all(name in help_text for name in LAYOUTS)


def test_warnings_go_to_standard_error(tmp_path: Path) -> None:
    for path in (RECORDS / "records").glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    result = run("compare", tmp_path)
    assert result.exit_code == 0
    assert "is missing: put it back" in result.stderr
    assert "warning" not in result.stdout
