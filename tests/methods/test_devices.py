"""Prompt computations on a GPU that is not here: no tensor may be left on the CPU.

Fake tensors of PyTorch have a device and a shape, but no values, and refuse a product of tensors on
two devices. Gradients and choices by value need a real device: tests/benchmarks/gpu.py.
"""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode  # There is no public name.

from baselines.attempt import AttemptPrompt
from baselines.mpt import compose
from baselines.pt import PromptTuning, PTSettings
from dtvg import DTVGPrompt

GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def fake() -> Iterator[None]:
    with FakeTensorMode(), torch.no_grad():
        yield


def moved(module: nn.Module) -> nn.Module:
    """A module whose parameters and buffers alone are on the GPU, as after ``to``."""
    for name, parameter in list(module.named_parameters()):
        parent, _, key = name.rpartition(".")
        on_gpu = nn.Parameter(torch.empty_like(parameter, device=GPU))
        setattr(module.get_submodule(parent), key, on_gpu)
    for name, buffer in list(module.named_buffers()):
        setattr(module, name, torch.empty_like(buffer, device=GPU))
    return module


COMPUTE: dict[str, Callable[[], Tensor]] = {
    "pt": lambda: moved(PromptTuning(torch.ones(4, 6), PTSettings()))(),
    "attempt": lambda: moved(AttemptPrompt(torch.ones(4, 6), torch.ones(3, 4, 6)))(
        torch.ones(2, 5, 6, device=GPU)
    ),
    "mpt": lambda: compose(*(torch.ones(s, device=GPU) for s in ((4, 6), (3, 4, 1), (3, 1, 6)))),
    "dtvg": lambda: moved(DTVGPrompt(torch.ones(4, 6), torch.ones(4, 6), torch.ones(3, 4, 6)))._mix(
        torch.ones(3, device=GPU)
    ),
}


@pytest.mark.parametrize("name", COMPUTE)
def test_prompts_are_computed_on_the_gpu(name: str) -> None:
    assert COMPUTE[name]().device == GPU
