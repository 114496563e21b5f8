"""``bench status`` and ``bench verify`` on a finished, a running and a damaged grid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.cli import cli
from bench.runs.claims import Claims
from bench.runs.results import ResultFolder
from bench.runs.status import status


def bench(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_status_of_a_finished_grid(finished: Any) -> None:
    found = status(finished.folder)
    assert (found.done, found.failed, found.running, found.waiting) == (20, (), (), ())
    shown = bench("status", finished.folder.folder).stdout
    assert shown.splitlines() == [
        "done: 20 cells",
        "running: 0",
        "waiting: 0 cells",
        "failed: 0 cells",
    ]


def test_status_of_what_runs_waits_and_failed(folder: Path, finished: Any) -> None:
    place = ResultFolder(folder)
    keys = ("cb", "pt", 42), ("cb", "mpt", 43), ("sst2", "pt", 42)
    running, lost, failed = (finished.records[key] for key in keys)
    for record in (running, lost):
        (place.records / record.file_name).unlink()
    (place.records / "broken.json").write_text("{")
    path = place.records / failed.file_name
    content = json.loads(path.read_text())
    content |= {"status": "failed", "error": {"type": "E", "message": "too hot"}, "seal": None}
    content |= dict.fromkeys(("rows", "scores", "training", "predictions"))
    path.write_text(json.dumps(content))
    # The owner holds its cell and the training of it, and trains a source prompt besides.
    digest = running.training.prompt
    cells, prompts = Claims(place.claims.folder), Claims(place.prompts.claims.folder)
    cells.take(running.digest, "cb pt")
    prompts.take(digest, "cb pt")
    prompts.tell(digest, 3, 60)
    prompts.take("ab" * 32, "mnli pt")

    found = status(place)
    assert (found.done, found.waiting) == (17, (lost.digest,))
    assert [record.digest for record in found.failed] == [failed.digest]
    assert [(each.kind, each.note.what, each.note.step) for each in found.running] == [
        ("cell", "cb pt", 3),
        ("prompt", "mnli pt", None),
    ]
    shown = bench("status", folder)
    assert shown.exit_code == 0
    assert f"  {failed.file_name}: too hot" in shown.stdout
    assert ", step 3/60, last sign of life" in shown.stdout
    assert "broken.json" in shown.stderr
    values = json.loads(bench("status", folder, "--json").stdout)
    assert [each["what"] for each in values["running"]] == ["cb pt", "mnli pt"]
    assert values["failed"] == {failed.file_name: "too hot"}


def test_status_of_an_empty_folder(tmp_path: Path) -> None:
    assert bench("status", tmp_path / "nothing").stdout.startswith("done: 0 cells\nrunning: 0\n")


def test_a_whole_folder_has_no_faults(finished: Any) -> None:
    done = bench("verify", finished.folder.folder)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("20 records, ")
    assert done.stderr.endswith(", 0 checkpoints, 1 notes of runs read, 0 faults\n")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "pattern",
    [
        "records/cb-pt-4-42-*.json",
        "records/cb-pt-4-42-*.jsonl.gz",
        "prompts/{prompt}.json",
        "prompts/{prompt}.safetensors",
        "configs/*.yaml",
    ],
)
def test_every_flipped_bit_is_found(pattern: str, folder: Path, finished: Any) -> None:
    prompt = finished.records["cb", "pt", 42].training.prompt
    (path,) = folder.glob(pattern.format(prompt=prompt))
    flip(path)
    done = bench("verify", folder)
    assert done.exit_code == 1
    faults = done.stdout.splitlines()
    assert len(faults) == 1
    assert str(path) in faults[0]


def test_a_missing_dependency_is_found(folder: Path, finished: Any) -> None:
    record = finished.records["cb", "dtvg", 42]
    source = record.sources[0].prompt
    ResultFolder(folder).prompts.remove(source)
    faults = bench("verify", folder).stdout.splitlines()
    assert faults
    assert all(source in fault for fault in faults)
    assert any(record.file_name in fault for fault in faults)
    # In another store it is there.
    elsewhere = ResultFolder(finished.folder.folder).prompts.folder
    assert bench("verify", folder, "--prompts", elsewhere).exit_code == 0


def test_a_damaged_checkpoint_and_a_renamed_record_are_found(folder: Path, finished: Any) -> None:
    record = folder / "records" / finished.records["cb", "pt", 42].file_name
    record.rename(record.with_name(f"other-{record.name}"))
    checkpoint = folder / "checkpoints" / f"{'ab' * 32}.safetensors"
    checkpoint.write_bytes(b"no tensors")
    faults = bench("verify", folder).stdout.splitlines()
    assert len(faults) == 2
    assert faults[0].startswith(f"record {folder / 'records'}/other-")
    assert faults[1].startswith(f"checkpoint {checkpoint} is damaged: ")


def test_what_a_finished_cell_rests_on_is_made_again_without_its_record(
    folder: Path, finished: Any, configure: Any, run: Any, comparable: Any
) -> None:
    record = finished.records["cb", "spot", 42]
    source = folder / "prompts" / f"{record.sources[0].prompt}.json"
    flip(folder / "records" / record.predictions.file)
    flip(source)
    config = configure(tasks=["cb"], methods=["spot"], seeds=[42])
    assert run(config, folder).outcome.finished == []  # Nothing needs them.
    assert bench("verify", folder).exit_code == 1
    source.unlink()
    (folder / "records" / record.file_name).unlink()
    again = run(config, folder)
    assert comparable(again.records["cb", "spot", 42]) == comparable(record)
    assert bench("verify", folder).stdout == ""
