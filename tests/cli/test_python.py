"""The Python interface: the same results and tables as the command line's."""

import runpy
import shutil
from importlib import metadata
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch

import bench as api
from bench.errors import ConfigError, RecordError
from tests.cli.conftest import Bench

SHORT = {"training.steps": 2, "training.warmup_steps": 0, "training.evaluate_every": 2}
SHORT |= {"validation_rows": 8, "test_rows": 20, "input_length": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("python") / "out"


def test_run_gives_the_results_that_the_folder_holds(folder: Path) -> None:
    frame = api.run(["rte", "cb"], ["pt"], shots=[4], seeds=[1], out=folder, settings=SHORT)
    assert set(frame["task"]) == {"rte", "cb"}
    assert frame.equals(api.load_results(folder))
    part = api.run(["cb"], ["pt"], shots=[4], seeds=[1], out=folder, settings=SHORT)
    assert part.equals(frame[frame["task"] == "cb"])
    prompt = api.load_prompt(folder, "cb-pt-4-1")
    assert prompt.shape == (20, 128)
    assert prompt.dtype == torch.float32


def test_table_is_that_of_the_command_line(folder: Path, bench: Bench) -> None:
    frame = api.load_results(folder)
    assert api.table(frame) == bench("table", folder).out
    assert "rte" not in api.table(frame[frame["task"] == "cb"]).lower()
    for other in (pd.DataFrame({"id": []}), frame.drop(columns="id")):
        with pytest.raises(RecordError, match=r"bench\.load_results"):
            api.table(other)


def test_lists_and_values_of_other_libraries(tmp_path: Path) -> None:
    values = SHORT | {"training.steps": np.int64(2), "data": Path("bundled")}
    frame = api.run(["cb"], ["pt"], shots=[4], seeds=np.array([1]), out=tmp_path, settings=values)
    assert frame["seed"].tolist() == [1, 1]
    for name, value in {"tasks": "cb", "seeds": 1}.items():
        with pytest.raises(ConfigError, match=f"{name}: expected a list"):
            api.run(**{name: value}, out=tmp_path)
    with pytest.raises(ConfigError, match="workers: expected a whole number of at least 1"):
        api.run(["cb"], out=tmp_path, workers=0)


def test_a_folder_without_records(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=f"no readable record in {tmp_path}"):
        api.table(api.load_results(tmp_path))


def test_damaged_records_are_told(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "out")
    (path, *_) = (tmp_path / "out" / "records").glob("cb-*.json")
    path.write_text(path.read_text()[:500])
    with pytest.warns(UserWarning, match=path.name):
        frame = api.load_results(tmp_path / "out")
    assert set(frame["task"]) == {"rte"}


def test_import_of_a_checkout_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", Mock(side_effect=metadata.PackageNotFoundError))
    assert runpy.run_path(str(api.__file__))["__version__"] == "0"
