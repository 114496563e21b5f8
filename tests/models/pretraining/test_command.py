"""What the command leaves."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from bench.models.catalog import BUNDLED
from bench.models.loading import load
from bench.models.pretraining.__main__ import main
from bench.models.pretraining.recipe import RECIPES


@pytest.fixture(scope="module", params=sorted(RECIPES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one small step of the command leaves, in a folder named as the model."""
    path = tmp_path_factory.mktemp("pretrained") / str(request.param)
    words = ["--model", path.name, "--out", str(path), "--steps", "1", "--rows", "1"]
    small = tuple(replace(stage, batch_size=4, chunk=2) for stage in RECIPES[path.name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, path.name, small)
        result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "step 1," in result.output
    assert "mnli: " in result.output
    return path


def test_the_command_leaves_a_model_that_loads(folder: Path) -> None:
    loaded, bundled = load(str(folder)), load(folder.name)
    assert loaded.architecture == bundled.architecture
    assert loaded.parameter_count() == bundled.parameter_count()
    with safetensors.safe_open(folder / "model.safetensors", "pt") as weights:
        tensors = [weights.get_tensor(name) for name in weights.keys()]  # noqa: SIM118
    assert any(torch.equal(loaded.embedding.weight, tensor) for tensor in tensors)


def test_weights_and_tokenizer_are_small_enough_to_ship(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 12_000_000


def test_other_weights_give_another_digest(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    bundled = replace(BUNDLED[folder.name], words=None)
    model = replace(bundled, folder=str(tmp_path / "copy"))
    before = model.digest()
    assert before == replace(model, folder=str(folder)).digest()
    path = tmp_path / "copy" / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    next(iter(tensors.values())).view(-1)[5] += 1
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    assert model.digest() != before
