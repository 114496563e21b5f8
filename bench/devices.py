"""Which devices this machine has."""

from __future__ import annotations

from bench.errors import ConfigError


def usable_device(name: str) -> str:
    """A device as torch names it; for ``auto`` a GPU, or the CPU where there is none.

    Raises:
        ConfigError: this machine has no such device, or it holds no numbers.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device: {name!r} cannot be used here "
            f"({str(error).splitlines()[0].partition('.')[0]}); choose auto, cpu or cuda"
        ) from error
    return name
