"""``--executor ray`` as far as it goes without a cluster; for the rest see tests/endurance."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.config import dump_config
from bench.runs.cluster import Share, run_on_ray
from bench.runs.grid import lay_out
from bench.runs.results import ResultFolder
from bench.training.stopping import Stop


@pytest.fixture
def words(configure: Any, tmp_path: Path) -> list[str]:
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(configure(tasks=["cb"], methods=["pt"], seeds=[42])))
    return ["run", "--config", str(file), "--out", str(tmp_path / "out")]


@pytest.fixture
def failing(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """What a run with more options says, which must be one line, with exit code 2."""

    def run(*more: str) -> str:
        monkeypatch.setattr(sys, "argv", ["bench", *words, *more])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return str(line)

    return run


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port: int = place.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--executor", "ray", "--workers", "2"], "--workers belongs to --executor local"),
        (["--address", "here:1"], "--address belongs to --executor ray: leave it out with "),
        (["--gpus-per-cell", "0.5"], "--gpus-per-cell belongs to --executor ray"),
        (["--cpus-per-cell", "2"], "--cpus-per-cell belongs to --executor ray"),
        (["--executor", "ray", "--gpus-per-cell", "2"], "2.0 is not in the range 0<=x<=1"),
        (["--executor", "slurm"], "'slurm' is not one of 'local', 'ray'"),
    ],
)
def test_options_of_the_other_executor(more: list[str], said: str, failing: Any) -> None:
    assert said in failing(*more)


def test_ray_is_not_installed(failing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    said = failing("--executor", "ray")
    assert said.startswith("error: --executor ray: Ray is not installed; pip install ")
    assert said.endswith("'.[ray]'")


@pytest.mark.parametrize(
    "address", ["head", "head:", ":6379", "head:x", "head:65536", "ray://head:10001"]
)
def test_what_is_no_address(address: str, failing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", object())
    said = failing("--executor", "ray", "--address", address)
    assert said.startswith(f"error: --address {address}: expected HOST:PORT of the cluster's head")


@pytest.mark.parametrize("by", ["option", "environment"])
def test_nothing_answers(
    by: str, closed_port: int, failing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", object())
    address = f"127.0.0.1:{closed_port}"
    if by == "environment":
        monkeypatch.setenv("RAY_ADDRESS", address)
        said = failing("--executor", "ray")
    else:
        said = failing("--executor", "ray", "--address", address)
    assert said.startswith(f"error: no Ray cluster answers at {address} (")


def test_no_cluster_is_here(failing: Any) -> None:
    pytest.importorskip("ray", reason="needs Ray, the extra [ray]")
    said = failing("--executor", "ray", "--address", "auto")
    assert said.startswith("error: the cluster at auto cannot be used from here (ConnectionError: ")


def test_a_finished_grid_needs_no_cluster(
    configure: Any, folder: Path, finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    grid = lay_out(configure(), ResultFolder(folder), "never")
    outcome = run_on_ray(grid, Share(), Stop())
    assert outcome.finished == outcome.failed == []
