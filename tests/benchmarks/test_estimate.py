"""How near the estimate of a grid comes to its time."""

from functools import partial
from pathlib import Path
from typing import Any

from bench.estimate import estimate
from bench.runner import run_grid
from bench.store import ResultStore
from tests.estimate.test_estimate import lay_out


def test_estimated_hours(tmp_path: Path, in_turn: Any, figure: Any) -> None:
    store = ResultStore(tmp_path)
    hours = estimate(lay_out(store), store, 1, print)["hours"]
    grid = partial(run_grid, lay_out(store), store, verbosity="quiet")
    ((wall, _),) = in_turn(grid, rounds=1)
    figure("estimated / measured time", hours * 3600 / wall[0], least=0.5, most=2)
