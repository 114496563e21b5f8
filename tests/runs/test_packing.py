"""``--pack``: prompts trained together, the same results as one after the other."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.cli import cli
from bench.config import dump_config
from bench.errors import ConfigError, StopRequested
from bench.runs import workers
from bench.runs.grid import Grid, execute, lay_out
from bench.runs.local import Outcome
from bench.runs.results import ResultFolder
from bench.runs.workers import Crew
from bench.training.listeners import EvaluationEvent, Listener, TrainingInfo
from bench.training.loop import TrainingResult
from bench.training.stopping import Stop


class Ears(Listener):
    """Keeps what it hears: the training that began, the event, and the step."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, int]] = []

    def on_start(self, training: TrainingInfo, step: int, total: int) -> None:
        self.what = training.digest
        self.heard.append((self.what, "start", step))

    def on_step(self, step: int, total: int) -> None:
        self.heard.append((self.what, "step", step))

    def on_evaluation(self, event: EvaluationEvent) -> None:
        self.heard.append((self.what, "evaluation", event.step))

    def on_finish(self, result: TrainingResult | None) -> None:
        self.heard.append((self.what, "finish", 0 if result is None else result.steps))


def pack(grid: Grid, lanes: Sequence[Sequence[Listener]], stop: Stop | None = None) -> Outcome:
    first, *beside = lanes
    return execute(grid, listeners=first, stop=stop, beside=beside)


@pytest.fixture(scope="module")
def without_dropout(model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = Path(shutil.copytree(model, tmp_path_factory.mktemp("dry") / "model"))
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"dropout_rate": 0.0}))
    return str(folder)


@pytest.fixture(scope="module")
def alone(configure: Any, run: Any, without_dropout: str, tmp_path_factory: Any) -> Any:
    """All methods on two tasks, one training after the other."""
    config = configure(seeds=[42], model=without_dropout)
    return run(config, tmp_path_factory.mktemp("alone"))


def assert_equal_results(place: ResultFolder, alone: Any, comparable: Any) -> list[int | None]:
    """All cells of ``alone`` with its results; gives how many shared their passes."""
    sharing = []
    for cell in alone.grid.plan.cells:
        mine, other = place.find(cell), alone.folder.find(cell)
        assert mine is not None
        one, two = comparable(mine), comparable(other)
        sharing.append(one["training"].pop("trainings_per_pass"))
        assert two["training"].pop("trainings_per_pass") is None
        losses = [[point.pop("loss") for point in r["training"]["curve"]] for r in (one, two)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-4)
        # Numbers that a method tells of its state, to floating-point order.
        texts = [json.dumps(r.pop("diagnostics"), default=list) for r in (one, two)]
        assert len(texts[0]) == pytest.approx(len(texts[1]), rel=0.1)
        assert one == two
    return sharing


def test_packed_cells_have_the_results_of_cells_alone(
    alone: Any, comparable: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ResultFolder(tmp_path / "out")
    lanes = [Ears() for _ in range(3)]
    config = alone.grid.config
    outcome = pack(lay_out(config, place, "never"), [[each] for each in lanes])
    assert (len(outcome.finished), outcome.failed) == (10, [])
    assert set(assert_equal_results(place, alone, comparable)) == {2, 3}

    # Every listener has heard of one training after the other, from its start to its end.
    heard = [what for each in lanes for what, event, _ in each.heard if event == "start"]
    assert sorted(heard) == sorted(alone.grid.plan.trainings)
    for each in lanes:
        assert len(each.heard) % 8 == 0
        for start in range(0, len(each.heard), 8):
            whole = each.heard[start : start + 8]
            assert len({what for what, _, _ in whole}) == 1
            assert [(event, step) for _, event, step in whole] == [
                ("start", 0),
                *(("step", 1), ("step", 2), ("evaluation", 2)),
                *(("step", 3), ("step", 4), ("evaluation", 4)),
                ("finish", 4),
            ]
    # A source stage has a loss of its own, and its passes to itself.
    cards, _ = place.prompts.cards()
    stages = [card for card in cards if card.training["task"] == "sources"]
    assert [card.result["trainings_per_pass"] for card in stages] == [None]
    assert max(card.result["trainings_per_pass"] or 0 for card in cards) == 3
    for left in (place.claims.folder, place.prompts.claims.folder, place.checkpoints):
        assert list(left.iterdir()) == []

    # What is done is not done again, whatever the pack.
    monkeypatch.setattr("bench.runs.grid.load", lambda *_, **__: pytest.fail("nothing to load"))
    assert pack(lay_out(config, place, "never"), [[]] * 5) == Outcome()


def test_only_what_is_left_is_packed(
    configure: Any, alone: Any, comparable: Any, tmp_path: Path
) -> None:
    """Of five cells two are there, one is another process's, and two are trained together."""
    place = ResultFolder(Path(shutil.copytree(alone.folder.folder, tmp_path / "copy")))
    config = configure(seeds=[42], model=alone.grid.config.model, tasks=["cb"])
    cells = lay_out(config, place, "never").plan.cells
    for cell in cells[1:4]:
        (place.records / cell.file_name).unlink()
        place.prompts.remove(cell.training.digest)
    record = alone.folder.records / cells[1].file_name
    other = ResultFolder(place.folder)
    assert other.claims.take(cells[1].digest, "elsewhere")
    assert other.prompts.claims.take(cells[1].training.digest, "elsewhere")

    class Elsewhere(Ears):
        def on_finish(self, result: TrainingResult | None) -> None:
            super().on_finish(result)
            (place.records / cells[1].file_name).write_bytes(record.read_bytes())

    lanes = [Elsewhere() for _ in range(3)]
    outcome = pack(lay_out(config, place, "never"), [[each] for each in lanes])
    assert [cell.digest for cell in outcome.finished] == [cell.digest for cell in cells[2:4]]
    trained = {what for each in lanes for what, _, _ in each.heard}
    assert trained == {cell.training.digest for cell in cells[2:4]}


def test_a_mate_that_fails_is_recorded_alone(
    configure: Any, alone: Any, comparable: Any, tmp_path: Path
) -> None:
    config = configure(
        seeds=[42],
        model=alone.grid.config.model,
        tasks=["cb"],
        methods=["pt", "pt:weight_decay=1.0e+30", "dtvg"],
    )
    place = ResultFolder(tmp_path)
    ears = [Ears() for _ in range(9)]
    outcome = pack(lay_out(config, place, "never"), [[each] for each in ears])
    (failed,) = outcome.failed
    record = place.find(failed)
    assert record is not None
    assert record.error is not None
    assert record.error.type == "DivergedError"
    assert record.cell.method.label == "pt:weight_decay=1e+30"
    tries = [what for each in ears for what, event, _ in each.heard if event == "start"]
    assert tries.count(failed.training.digest) == 1
    for cell in outcome.finished:
        mine = place.find(cell)
        assert mine is not None
        expected = alone.records["cb", mine.cell.method.label, 42]
        assert mine.scores == expected.scores
    assert len(outcome.finished) == 2


def test_a_stopped_pack_goes_on_from_its_checkpoints(
    alone: Any, comparable: Any, tmp_path: Path
) -> None:
    place, stop, config = ResultFolder(tmp_path / "out"), Stop(), alone.grid.config

    class Asks(Listener):
        def on_step(self, step: int, total: int) -> None:
            if step == 3:
                stop.request(signal.SIGINT)

    with pytest.raises(StopRequested):
        pack(lay_out(config, place, "never"), [[], [Asks()], []], stop)
    for claims in (place.claims.folder, place.prompts.claims.folder):
        assert not claims.exists() or list(claims.iterdir()) == []
    saved = [place.checkpoint(path.stem).load() for path in place.checkpoints.glob("*.safe*")]
    assert [each.progress.step for each in saved if each is not None] != []
    assert sorted(each.progress.step for each in saved if each is not None) == [2, 3, 3]

    ears = [Ears() for _ in range(3)]
    pack(lay_out(config, place, "never"), [[each] for each in ears])
    starts = [step for each in ears for _, event, step in each.heard if event == "start"]
    assert sorted(starts)[-3:] == [2, 3, 3]
    assert_equal_results(place, alone, comparable)


def test_workers_pack_too(
    configure: Any, alone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker does, done here."""

    class OneMember(Crew):
        def work(self, stop: Stop) -> None:
            _, messages = multiprocessing.Pipe(duplex=False)
            workers.work(self._order, 0, os.getppid(), messages)

    monkeypatch.setattr(workers, "Crew", OneMember)
    config = configure(seeds=[42], model=alone.grid.config.model, methods=["pt", "spot"])
    place = ResultFolder(tmp_path)
    outcome = workers.run_workers(lay_out(config, place, "never"), 2, Stop(), pack=2)
    assert len(outcome.finished) == 4
    cards, _ = place.prompts.cards()
    assert 2 in {card.result["trainings_per_pass"] for card in cards}
    for cell in outcome.finished:
        mine, other = place.find(cell), alone.folder.find(cell)
        assert mine is not None
        assert mine.scores == other.scores


def bench(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_the_command_packs_and_the_record_says_so(
    configure: Any, alone: Any, tmp_path: Path
) -> None:
    config = configure(seeds=[42], model=alone.grid.config.model, methods=["pt"])
    file, out = tmp_path / "config.yaml", tmp_path / "out"
    file.write_text(dump_config(config))
    answer = bench("run", "--config", file, "--out", out, "--pack", 3)
    assert answer.exit_code == 0, answer.stderr
    records = [json.loads(path.read_text()) for path in (out / "records").glob("*.json")]
    assert [record["training"]["trainings_per_pass"] for record in records] == [2, 2]
    # Into how many passes the work was put is no part of what is worked on.
    digests = {cell.digest for cell in alone.grid.plan.cells}
    assert {record["digest"] for record in records} <= digests
    again = bench("run", "--config", file, "--out", out)
    assert "0 cells finished, 2 found done" in again.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--pack", "0"), "0 is not in the range x>=1"),
        (("--pack", "many"), "'many' is not a valid integer range"),
    ],
)
def test_packs_that_cannot_be(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    answer = bench("run", "--task", "cb", "--out", tmp_path / "out", *words)
    assert answer.exit_code == 2
    assert answer.stderr.splitlines()[-1].endswith(f"{said}.")
    assert not (tmp_path / "out").exists()


def test_ray_does_not_pack(tmp_path: Path) -> None:
    answer = bench("run", "--task", "cb", "--out", tmp_path, "--pack", "2", "--executor", "ray")
    assert isinstance(answer.exception, ConfigError)  # Which ends the command with code 2.
    assert str(answer.exception).startswith("--pack belongs to --executor local: leave it out")
