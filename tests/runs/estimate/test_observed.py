"""Costs from records: made-up timings in a real result folder give known seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.config import RunConfig
from bench.data import open_source
from bench.errors import RecordError
from bench.models.loading import load
from bench.runs.estimate.estimate import Estimator
from bench.runs.estimate.loads import EvaluationLoad, TrainingLoad
from bench.runs.estimate.observed import observed_costs
from bench.runs.estimate.preparing import load_encoder, make_estimator
from bench.runs.estimate.timings import hardware_of, hardware_text, this_hardware
from bench.runs.estimate.workload import SampledExamples, Workload
from bench.runs.grid import Grid, lay_out
from bench.runs.results import ResultFolder

Configure = Callable[..., RunConfig]
START = "2026-01-01T00:00:00+00:00"
AROUND_TRAINING, AROUND_CELL = 2.0, 1.0


def step_seconds(load: TrainingLoad) -> float:
    return 0.1 + 0.001 * load.positions


def answer_seconds(load: EvaluationLoad) -> float:
    return 0.5 * load.batches + 0.002 * load.positions


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(path.read_text())
    values.pop("seal", None)  # As in files of older versions.
    change(values)
    path.write_text(json.dumps(values, indent=1))


def later(seconds: float) -> str:
    return (datetime.fromisoformat(START) + timedelta(seconds=seconds)).isoformat()


@pytest.fixture
def timed(folder: Path, finished: Any) -> Path:
    """The finished grid, as if its work had taken the seconds of the formulas above."""
    grid = finished.grid
    work, place = workload(grid), ResultFolder(folder)
    seconds = {}
    for training in grid.plan.trainings.values():
        load, once = work.training(training), answer_seconds(work.validation(training))
        seconds[training.digest] = load.steps * step_seconds(load) + load.evaluations * once
    for digest, trained in seconds.items():

        def change_card(values: dict[str, Any], trained: float = trained) -> None:
            values["timing"] |= {"started": START, "finished": later(trained + AROUND_TRAINING)}
            values["timing"]["training_seconds"] = trained

        rewrite(place.prompts.folder / f"{digest}.json", change_card)
    for cell in grid.plan.cells:
        trained, test = seconds[cell.training.digest], answer_seconds(work.test(cell.training))
        end = later(trained + test + AROUND_TRAINING + AROUND_CELL)

        def change_record(
            values: dict[str, Any], trained: float = trained, test: float = test, end: str = end
        ) -> None:
            values["timing"] |= {"training_seconds": trained, "evaluation_seconds": test}
            values["timing"] |= {"started": START, "finished": end}

        rewrite(place.records / cell.file_name, change_record)
    return folder


def workload(grid: Grid) -> Workload:
    encoder = load(grid.config.model).encoder
    setting = grid.plan.cells[0].training.setting
    return Workload(SampledExamples(open_source(grid.config.data), encoder, setting))


def test_known_seconds(timed: Path, configure: Configure, tmp_path: Path) -> None:
    """A new seed in an empty folder, from the timings of two others."""
    grid = lay_out(configure(seeds=[7]), ResultFolder(tmp_path / "empty"), "never")
    made = make_estimator(grid, 1, lambda line: None, records=timed)
    work = workload(grid)
    expected = 0.0
    for training in grid.plan.trainings.values():
        load, once = work.training(training), answer_seconds(work.validation(training))
        expected += AROUND_TRAINING + load.steps * step_seconds(load) + load.evaluations * once
    for cell in grid.plan.cells:
        expected += AROUND_CELL + answer_seconds(work.test(cell.training))
    total = made.total(grid.work.cells)
    assert total.all().seconds == pytest.approx(expected, rel=1e-3)
    assert total.seconds == pytest.approx(expected + made.costs.start, rel=1e-3)
    trainings = len(grid.plan.trainings)
    assert f"timings of {2 * trainings} trainings and 20 cells in {timed}" in made.costs.origin
    assert not (tmp_path / "empty").exists()


def test_disk_is_that_of_the_files(finished: Any, configure: Configure, tmp_path: Path) -> None:
    """The same grid again takes what the finished one took."""
    grid = lay_out(configure(), ResultFolder(tmp_path / "empty"), "never")
    made = make_estimator(grid, 1, lambda line: None, records=finished.folder.folder)
    disk = made.total(grid.work.cells).disk
    files = [p.stat().st_size for p in finished.folder.prompts.folder.iterdir() if p.is_file()]
    assert disk.prompts == pytest.approx(sum(files), rel=0.02)
    records = [path.stat().st_size for path in finished.folder.records.iterdir()]
    assert disk.records == pytest.approx(sum(records), rel=0.02)


def test_records_alone_do(timed: Path, configure: Configure, tmp_path: Path) -> None:
    """Without its prompt store, as results are published."""
    place = ResultFolder(timed, tmp_path / "no prompts")
    grid = lay_out(configure(seeds=[7], methods=["pt"]), ResultFolder(tmp_path / "none"), "never")
    work = workload(grid)
    costs = observed_costs(place, grid.plan, work, None)
    assert costs is not None
    made = Estimator(grid, work, costs).total(grid.work.cells)
    expected = 0.0
    for cell in grid.plan.cells:
        load = work.training(cell.training)
        expected += load.steps * step_seconds(load)
        expected += load.evaluations * answer_seconds(work.validation(cell.training))
        expected += AROUND_TRAINING + AROUND_CELL + answer_seconds(work.test(cell.training))
    assert made.seconds == pytest.approx(expected, rel=1e-3)


def rewrite_seed(seed: int, place: ResultFolder, grid: Grid, card: Any, record: Any) -> None:
    """Change blocks of all cards and records of a seed."""

    trainings = [each for each in grid.plan.trainings.values() if each.seed == seed]
    cells = [cell for cell in grid.plan.cells if cell.training.seed == seed]
    changes = {place.prompts.folder / f"{each.digest}.json": card for each in trainings}
    changes |= {place.records / cell.file_name: record for cell in cells}
    for path, blocks in changes.items():

        def change(values: dict[str, Any], blocks: dict[str, dict[str, Any]] = blocks) -> None:
            for name, new in blocks.items():
                values[name] |= new

        rewrite(path, change)


def assert_known_seconds(timed: Path, configure: Configure, none: Path) -> None:
    """A new seed takes the seconds of the formulas."""
    grid = lay_out(configure(seeds=[7], methods=["pt"]), ResultFolder(none), "never")
    costs = observed_costs(ResultFolder(timed), grid.plan, workload(grid), None)
    assert costs is not None
    assert costs.per_training == pytest.approx(AROUND_TRAINING, abs=0.01)
    assert costs.per_cell == pytest.approx(AROUND_CELL, abs=0.01)
    work = workload(grid)
    made = Estimator(grid, work, costs)
    seconds = {unit.name: unit.seconds for unit in made.units(grid.work.cells)}
    for training in grid.plan.trainings.values():
        load, once = work.training(training), answer_seconds(work.validation(training))
        expected = AROUND_TRAINING + load.steps * step_seconds(load) + load.evaluations * once
        assert seconds[training.digest] == pytest.approx(expected, rel=0.01)


def test_timings_of_shared_passes_are_left_out(
    timed: Path, finished: Any, configure: Configure, tmp_path: Path
) -> None:
    """Their seconds are shares of passes; a run that has its passes to itself takes longer."""
    share, place = {"training_seconds": 0.01}, ResultFolder(timed)
    card = {"timing": share, "result": {"trainings_per_pass": 4}}
    record = {"timing": share, "training": {"trainings_per_pass": 4}}
    rewrite_seed(43, place, finished.grid, card, record)
    assert_known_seconds(timed, configure, tmp_path / "none")
    rewrite_seed(42, place, finished.grid, card, record)
    grid = lay_out(configure(seeds=[7]), ResultFolder(tmp_path / "none"), "never")
    assert observed_costs(place, grid.plan, workload(grid), None) is None


def test_a_training_that_was_continued_makes_no_other_cheaper(
    timed: Path, finished: Any, configure: Configure, tmp_path: Path
) -> None:
    """Its seconds are those of all processes, its start is that of the last one."""
    ended = {"timing": {"finished": START}}
    rewrite_seed(43, ResultFolder(timed), finished.grid, ended, ended)
    assert_known_seconds(timed, configure, tmp_path / "none")


def test_timings_of_this_machine_alone_are_taken_unasked(
    folder: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = lay_out(configure(seeds=[42, 7]), ResultFolder(folder), "never")
    here = this_hardware()
    work = workload(grid)
    assert observed_costs(grid.folder, grid.plan, work, here) is not None
    elsewhere = hardware_of({"cpu": "abacus", "threads": 1, "gpu": None})
    assert observed_costs(grid.folder, grid.plan, work, elsewhere) is None
    told: list[str] = []
    made = make_estimator(grid, 1, told.append)
    assert made.costs.origin.startswith("timings of ")
    assert not [line for line in told if "calibrating" in line]


def test_timings_that_lack_a_method_lead_to_a_calibration(
    folder: Path, configure: Configure
) -> None:
    config = configure(seeds=[42], methods=["pt", "dtvg:grouping=all"])
    grid = lay_out(config, ResultFolder(folder), "never")
    told: list[str] = []
    made = make_estimator(grid, 1, told.append)
    assert made.costs.origin.endswith(f"({hardware_text(this_hardware())})")
    assert [line for line in told if line.startswith("calibrating [1/")]
    asked = make_estimator(grid, 1, told.append, records=folder)
    (_, note) = asked.costs.notes
    assert note.startswith("no timings of dtvg:grouping=all there")


@pytest.mark.parametrize("change", ["model", "data"])
def test_timings_of_another_model_or_of_other_rows_do_not_help(
    change: str, folder: Path, configure: Configure, tmp_path: Path
) -> None:
    key = {"model": ("cell", "model", "digest"), "data": ("cell", "data", "fingerprint")}[change]
    for path in (folder / "records").glob("*.json"):

        def other(values: dict[str, Any]) -> None:
            values[key[0]][key[1]][key[2]] = "ab" * 32

        rewrite(path, other)
    grid = lay_out(configure(seeds=[7]), ResultFolder(tmp_path / "none"), "never")
    with pytest.raises(RecordError, match="holds no timings of model") as raised:
        make_estimator(grid, 1, lambda line: None, records=folder)
    assert "\n" not in str(raised.value)


def test_a_pause_is_no_work(timed: Path, configure: Configure, tmp_path: Path) -> None:
    """A prompt that was trained a day before its cell, as every shared one may be."""
    for path in (timed / "records").glob("*-dtvg-*.json"):

        def wait(values: dict[str, Any]) -> None:
            values["timing"]["finished"] = later(86400)

        rewrite_unsealed(path, wait)
    grid = lay_out(configure(seeds=[7]), ResultFolder(tmp_path / "none"), "never")
    costs = observed_costs(ResultFolder(timed), grid.plan, workload(grid), None)
    assert costs is not None
    assert costs.per_cell == pytest.approx(AROUND_CELL, abs=1e-3)


def rewrite_unsealed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values, indent=1))


def test_the_share_of_steps_that_patience_left(
    finished: Any, folder: Path, configure: Configure
) -> None:
    """Two trainings ended after one and after three of four steps."""
    config = configure("training.patience=3", "training.evaluate_every=1", methods=["pt"])
    grid = lay_out(config, ResultFolder(folder), "never")
    done = [c.training for c in lay_out(configure(methods=["pt"]), grid.folder, "never").plan.cells]
    for path in (folder / "records").glob("*.json"):
        if "-pt-" not in path.name:
            path.unlink()
    for training, steps in zip(done, (1, 3, 1, 3), strict=True):

        def hasty(values: dict[str, Any], steps: int = steps) -> None:
            values["training"]["hyperparameters"]["patience"] = 3
            values["result"]["steps"] = steps

        rewrite(folder / "prompts" / f"{training.digest}.json", hasty)
    costs = observed_costs(grid.folder, grid.plan, workload(grid), None)
    assert costs is not None
    assert costs.share == pytest.approx(0.5)


def test_an_encoder_without_weights_reads_as_the_model_does(finished: Any, tmp_path: Path) -> None:
    model = Path(finished.grid.config.model)
    for path in model.iterdir():
        if not path.name.endswith(".safetensors"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert load_encoder(str(tmp_path), None).fingerprint == load(str(model)).encoder.fingerprint
