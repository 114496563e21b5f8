"""Prompt computations on a GPU that is not here: no tensor may be left on the CPU.

Fake tensors of PyTorch have a device and a shape, but no values, and refuse a product of tensors on
two devices. Gradients and choices by value need a real device: tests/benchmarks/gpu.py.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode  # There is no public name.

from baselines.attempt import AttemptPrompt
from baselines.mpt import compose
from baselines.pt import PromptTuning, PTSettings
from dtvg import DTVGPrompt

B, L, R, D, S = 2, 5, 4, 6, 3


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    with FakeTensorMode(), torch.no_grad():
        yield torch.device("cuda", 0)


def moved(module: nn.Module, device: torch.device) -> nn.Module:
    """A module whose parameters and buffers alone are on another device, as after ``to``."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(torch.empty_like(parameter, device=device)))
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, torch.empty_like(buffer, device=device))
    return module


def dtvg() -> DTVGPrompt:
    matrix, sources = torch.ones(R, D), torch.ones(S, R, D)
    return DTVGPrompt(matrix, matrix, sources)


def test_pt_and_attempt_compute_on_the_gpu(gpu: torch.device) -> None:
    matrix, sources = torch.ones(R, D), torch.ones(S, R, D)
    inputs = torch.ones(B, L, D, device=gpu)
    for module in (PromptTuning(matrix, PTSettings()), AttemptPrompt(matrix, sources)):
        assert moved(module, gpu)(inputs).device == gpu


def test_dtvg_merges_a_given_group_on_the_gpu(gpu: torch.device) -> None:
    members = torch.ones(S, device=gpu)
    assert moved(dtvg(), gpu)._mix(members).device == gpu


def test_mpt_composes_on_the_gpu(gpu: torch.device) -> None:
    shared, columns, rows = (torch.ones(s, device=gpu) for s in ((R, D), (S, R, 1), (S, 1, D)))
    assert compose(shared, columns, rows).device == gpu


@pytest.mark.parametrize("name", ["initial", "source_vectors", "target_scale"])
def test_a_tensor_left_on_the_cpu_is_found(gpu: torch.device, name: str) -> None:
    module = moved(dtvg(), gpu)
    left = torch.ones(getattr(module, name).shape)
    setattr(module, name, nn.Parameter(left) if name == "target_scale" else left)
    with pytest.raises(RuntimeError, match="cpu"):
        module._mix(torch.ones(S, device=gpu))
