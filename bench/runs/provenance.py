"""Where and with what a result was computed."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import bench
from bench.runs.versions import PACKAGES, installed_versions

CODE = ("bench", "baselines", "dtvg")
"""The packages, one folder each."""


@cache
def provenance() -> dict[str, Any]:
    """Commit, versions, hardware and command line of this process."""
    commit, dirty = _git()
    return {
        "git_commit": commit,
        "git_dirty": dirty,
        "versions": {name: v for name, v in installed_versions().items() if name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hardware": _hardware(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def peak_memory() -> int:
    """Most memory used so far, in bytes: of the GPU since the last reset, else of the process."""
    import resource

    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory() -> None:
    """Begin to measure anew, where that is possible: on a GPU."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _hardware() -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": _cpu(), "threads": torch.get_num_threads(), "gpu": gpu}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _git() -> tuple[str | None, bool | None]:
    """Commit of the checkout, and whether its packages differ from that; None outside of one.

    Results may lie in the checkout too, and grow while a run writes them: only code counts.
    """
    root = Path(bench.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None, None
    try:
        return _ask_git(root, "rev-parse", "HEAD"), bool(
            _ask_git(root, "status", "--porcelain", "--", *CODE)
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _ask_git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
