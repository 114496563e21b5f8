"""Environment of a result (commit, versions, hardware), and the version of the harness."""

from __future__ import annotations

import platform
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timezone
from functools import cache, partial
from importlib import metadata
from pathlib import Path

import bench
from bench.record import HardwareBlock, ProvenanceBlock

RESULTS_VERSION = 2  # Version of the harness, raised by hand when scores change; in every run id.
PACKAGES = (
    *("dtvg-bench", "torch", "transformers", "datasets", "evaluate", "tokenizers", "safetensors"),
    *("numpy", "scikit-learn", "scipy", "sacrebleu", "rouge-score", "nltk"),
)


@cache
def provenance() -> ProvenanceBlock:
    """Commit, versions, hardware and command line of this process."""
    import torch

    commit, dirty = _git()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    versions, cpu = {}, platform.processor()
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        if match := re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE):
            cpu = match[1]
    return ProvenanceBlock(
        git_commit=commit,
        git_dirty=dirty,
        versions=versions,
        python=platform.python_version(),
        platform=platform.platform(),
        hardware=HardwareBlock(cpu=cpu, threads=torch.get_num_threads(), gpu=gpu),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    )


def differences(before: ProvenanceBlock, now: ProvenanceBlock) -> list[str]:
    """Differences between two environments, one phrase each."""
    names = {"git_commit", "python", "platform"}
    old, new = (
        {**block.model_dump(include=names), **block.hardware.model_dump(), **block.versions}
        for block in (before, now)
    )
    return [
        f"{name} {old.get(name) or 'none'} there, {new.get(name) or 'none'} here"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]


def now() -> str:
    """Current UTC time in ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def peak_memory() -> int:
    """Peak memory in bytes: of the GPU since the last reset if it was used, else of the process."""
    import resource

    import torch

    if torch.cuda.is_available() and (peak := torch.cuda.max_memory_allocated()):
        return peak
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory() -> None:
    """Reset the peak memory of the GPU; no effect without a GPU."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _git() -> tuple[str | None, bool | None]:
    """Commit of the checkout, and whether its packages were modified; None outside a checkout."""
    root = Path(bench.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None, None
    git = partial(subprocess.check_output, text=True, cwd=root, stderr=subprocess.DEVNULL)
    try:
        commit = git(["git", "rev-parse", "HEAD"]).strip()
        return commit, bool(
            git(["git", "status", "--porcelain", "--", "bench", "baselines", "dtvg"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None
