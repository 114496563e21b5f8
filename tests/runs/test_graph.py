"""The graph of units, done one after the other in this process as an executor would elsewhere."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.runs import graph
from bench.runs.cells import Training
from bench.runs.claims import StepNotes
from bench.runs.graph import UnitReport, do_unit, make_graph, make_order
from bench.runs.grid import lay_out
from bench.runs.results import ResultFolder
from bench.runs.workshop import Workshop
from bench.training.loop import DivergedError


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a process of its own may change is put back here."""
    monkeypatch.setattr(sys, "argv", ["bench", "run"])
    monkeypatch.chdir(Path.cwd())
    graph._made_ready.cache_clear()
    yield
    graph._made_ready.cache_clear()


def do_all(grid: Any, debug: bool = False) -> list[UnitReport]:
    """Every unit in turn; what passes to it and from it goes through JSON."""
    order = make_order(grid, (), "normal", debug)
    reports: list[UnitReport] = []
    for unit in make_graph(grid):
        before = [reports[need] for need in unit.needs]
        words, before = json.loads(json.dumps([unit.words, before]))
        reports.append(do_unit(order, words, *before))
    return reports


def test_every_unit_comes_once_and_after_what_it_needs(configure: Any, tmp_path: Path) -> None:
    grid = lay_out(configure(), ResultFolder(tmp_path), "never")
    units = make_graph(grid)
    assert len(units) == grid.work.units
    assert {unit.words["cell"] for unit in units} == {
        None,
        *(cell.digest for cell in grid.plan.cells),
    }
    giving = {u.words["training"]: i for i, u in reversed([*enumerate(units)])}
    for index, unit in enumerate(units):
        training = grid.plan.trainings[unit.words["training"]]
        needed = {giving[required.digest] for required in training.requires}
        if unit.words["cell"] and giving[training.digest] != index:
            needed.add(giving[training.digest])
        assert set(unit.needs) == needed
        assert all(need < index for need in unit.needs)


def test_a_prompt_in_the_store_is_needed_from_nobody(
    configure: Any, folder: Path, finished: Any
) -> None:
    for path in (folder / "records").glob("*"):
        path.unlink()
    units = make_graph(lay_out(configure(), ResultFolder(folder), "never"))
    assert [unit.needs for unit in units] == [()] * len(finished.records)


def test_what_a_stored_prompt_rests_on_comes_first(
    configure: Any, folder: Path, finished: Any
) -> None:
    """The shared prompt is there, but a source prompt behind it is not."""
    config = configure(methods=["mpt"], tasks=["cb"], seeds=[42])
    place = ResultFolder(folder)
    (cell,) = lay_out(config, place, "never").plan.cells
    (shared,) = cell.training.requires
    assert isinstance(shared, Training)
    (place.records / cell.file_name).unlink()
    place.prompts.remove(shared.requires[0].digest)
    prompt, last = make_graph(lay_out(config, place, "never"))
    assert prompt.words["training"] == shared.requires[0].digest
    assert (last.words["cell"], last.needs) == (cell.digest, (0,))


def test_the_graph_gives_what_one_process_gives(
    configure: Any, finished: Any, comparable: Any, tmp_path: Path
) -> None:
    config = configure(tasks=["cb"], seeds=[42])
    place = ResultFolder(tmp_path / "out")
    place.folder.mkdir()
    grid = lay_out(config, place, "never")
    reports = do_all(grid)
    assert [len(report["lines"]) for report in reports] == [1] * len(reports)
    assert not any(r["stopped"] or r["error"] or r["faults"] for r in reports)
    assert len(grid.plan.cells) == 5
    for cell in grid.plan.cells:
        record = place.find(cell)
        assert record is not None
        expected = finished.records["cb", record.cell.method.label, 42]
        assert comparable(record) == comparable(expected)
    assert list(place.checkpoints.iterdir()) == []
    # Once more, as for units whose reports were lost: nothing is done again.
    before = {path: path.read_bytes() for path in place.records.iterdir()}
    assert all(report["lines"] == [] for report in do_all(grid))
    assert {path: path.read_bytes() for path in place.records.iterdir()} == before


def test_cells_are_repeated_once(configure: Any, folder: Path, finished: Any) -> None:
    grid = lay_out(
        configure(tasks=["cb"], methods=["dtvg", "pt"], seeds=[42]), ResultFolder(folder), "always"
    )
    place, cells = grid.folder, grid.plan.cells

    def stamps() -> dict[str, str | None]:
        prompts = {c.training.digest: place.prompts.stamp(c.training.digest) for c in cells}
        return {**prompts, **{cell.digest: place.stamp(cell) for cell in cells}}

    before = stamps()
    # DTVG starts from the prompt of the cell of PT, which is therefore trained first.
    assert [len(report["lines"]) for report in do_all(grid)] == [1, 1, 1]
    between = stamps()
    assert not before.items() & between.items()
    do_all(grid)  # As for units whose reports were lost.
    assert stamps() == between


def test_a_prompt_that_fails_is_tried_once(
    configure: Any, folder: Path, finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Source prompt, shared prompt, cell: the reason comes all the way, the others go on."""
    config = configure(methods=["mpt", "pt"], tasks=["cb"], seeds=[42])
    place = ResultFolder(folder)
    grid = lay_out(config, place, "never")
    mpt = next(cell for cell in grid.plan.cells if cell.training.method.name == "mpt")
    (shared,) = mpt.training.requires
    assert isinstance(shared, Training)
    source = shared.requires[0]
    for training in (mpt.training, shared, source):
        place.prompts.remove(training.digest)
    for cell in grid.plan.cells:
        (place.records / cell.file_name).unlink()
    train, tried = Workshop.train, []

    def fail(self: Workshop, training: Training) -> Any:
        if training.digest == source.digest:
            tried.append(training)
            raise DivergedError("the loss is no number")
        return train(self, training)

    monkeypatch.setattr(Workshop, "train", fail)
    reports = do_all(lay_out(config, place, "never"))
    reasons = [f"prompt {source.describe()} failed: the loss is no number"]
    reasons.append(f"prompt {shared.describe()} failed: {reasons[0]}")
    said = [line for report in reports for line in report["lines"]]
    failures = {what: outcome for what, outcome, failed in said if failed}
    assert failures == {
        f"prompt {source.describe()}": "failed: the loss is no number",
        f"prompt {shared.describe()}": f"failed: {reasons[0]}",
        mpt.training.describe(): f"failed: {reasons[1]}",
    }
    assert len(tried) == 1
    record = place.find(mpt)
    assert record is not None
    assert record.error is not None
    assert record.error.message == reasons[1]
    assert [outcome[:5] for what, outcome, failed in said if not failed] == ["test "]


def test_what_ends_the_run_is_told_and_nothing_more_begins(configure: Any, tmp_path: Path) -> None:
    grid = lay_out(configure(tasks=["cb"], seeds=[42]), ResultFolder(tmp_path), "never")
    (tmp_path / "checkpoints").write_text("in the way")
    units = make_graph(grid)
    order = make_order(grid, (), "normal", False)
    report = do_unit(order, units[0].words)
    assert report["error"] is not None
    assert "cannot write" in report["error"]
    (tmp_path / "checkpoints").unlink()
    later = do_unit(order, units[0].words, report)
    assert (later["stopped"], later["lines"]) == (True, [])
    assert not (tmp_path / "prompts").is_dir() or not list((tmp_path / "prompts").glob("*.json"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_unit(
    number: signal.Signals, configure: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure("training.steps=5000", tasks=["cb"], methods=["pt"], seeds=[42])
    grid = lay_out(config, ResultFolder(tmp_path), "never")
    order = make_order(grid, (), "normal", False)
    (unit,) = make_graph(grid)
    on_step = StepNotes.on_step

    def interrupt(self: StepNotes, step: int, total: int) -> None:
        on_step(self, step, total)
        if step == 7:
            signal.raise_signal(number)

    monkeypatch.setattr(StepNotes, "on_step", interrupt)
    if number == signal.SIGTERM:  # Somebody else is to continue.
        with pytest.raises(SystemExit) as end:
            do_unit(order, unit.words)
        assert end.value.code == 143
    else:
        assert do_unit(order, unit.words)["stopped"]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    assert list((tmp_path / "claims").iterdir()) == []
    assert list((tmp_path / "prompts" / "claims").iterdir()) == []


def test_a_node_that_plans_something_else(
    configure: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(tasks=["cb"], methods=["pt"], seeds=[42])
    grid = lay_out(config, ResultFolder(tmp_path), "never")
    (unit,) = make_graph(grid)
    order = make_order(grid, (), "normal", False)
    monkeypatch.setattr("bench.runs.cells.harness_digest", lambda: "of another version")
    error = do_unit(order, unit.words)["error"]
    assert error is not None
    assert "every node has the same version" in error


@pytest.mark.parametrize("missing", ["place", "out"])
def test_a_node_without_the_folders(missing: str, configure: Any, tmp_path: Path) -> None:
    config = configure(tasks=["cb"], methods=["pt"], seeds=[42])
    grid = lay_out(config, ResultFolder(tmp_path), "never")
    (unit,) = make_graph(grid)
    values = json.loads(make_order(grid, (), "normal", False))
    values[missing] = str(tmp_path / "nowhere")
    error = do_unit(json.dumps(values), unit.words)["error"]
    assert error is not None
    assert f"there is no folder {tmp_path / 'nowhere'}: " in error
    assert "\n" not in error
