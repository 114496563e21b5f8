"""Can this machine run the benchmark: what is installed, what is reachable, and does it train."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.errors import BenchError, OutputError, one_line
from bench.files import atomic_write
from bench.runs.versions import DISTRIBUTION, PACKAGES, installed_versions

State = Literal["ok", "note", "fault"]
"""Whether all is well, a reader may want to know, or runs will fail."""

CPU_TIME = Path("/sys/fs/cgroup/cpu.max")
"""What a container has of the processors' time (Linux, control groups of version 2)."""

_GIGABYTE = 1e9
_LEAST_FREE = 2e9
_HUB_TIMEOUT = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    text: str


def examine(out: Path) -> Iterator[Finding]:
    """Look at everything, one finding after the other; the self-test comes last.

    Args:
        out: the result folder that a run would write to.
    """
    for check in (_versions, _devices, _threads, _hub):
        yield check()
    for name, folder in _folders(out).items():
        yield _folder(name, folder)
    yield _temporary_files()
    yield _training()


def _versions() -> Finding:
    installed = installed_versions()
    # This project itself may run from a checkout.
    missing = [name for name in PACKAGES if name not in installed and name != DISTRIBUTION]
    text = ", ".join(f"{name} {installed[name]}" for name in PACKAGES if name in installed)
    text = f"Python {platform.python_version()}, {text}"
    if missing:
        return Finding("versions", "fault", f"{text}; not installed: {', '.join(missing)}")
    return Finding("versions", "ok", text)


def _devices() -> Finding:
    import torch

    found = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if found:
        return Finding("devices", "ok", ", ".join(f"cuda:{i} {n}" for i, n in enumerate(found)))
    if torch.backends.mps.is_available():
        return Finding("devices", "ok", "mps")
    return Finding("devices", "note", "no GPU: everything runs on the CPU")


def usable_cores() -> int:
    """Cores that this process may use, or has the time of: containers are limited in either."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:  # Such as "150000 100000", in microseconds; "max 100000" where there is no limit.
        quota, period = map(int, CPU_TIME.read_text().split())
    except (OSError, ValueError):
        return cores
    return min(cores, max(1, -(-quota // period)))


def _threads() -> Finding:
    import torch

    threads, cores = torch.get_num_threads(), usable_cores()
    setting = os.environ.get("OMP_NUM_THREADS")
    text = f"{threads} threads on {cores} cores, OMP_NUM_THREADS {setting or 'not set'}"
    if threads > cores:
        return Finding("threads", "note", f"{text}: more threads than cores slow each other down")
    return Finding("threads", "ok", text)


def _hub() -> Finding:
    from huggingface_hub import constants

    from bench.data.hub import offline

    if offline():
        return Finding("hub", "note", "HF_HUB_OFFLINE is set: only what is in the cache")
    try:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        with urllib.request.urlopen(request, timeout=_HUB_TIMEOUT):
            pass
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            return Finding("hub", "note", f"{constants.ENDPOINT} answers {error.code}: cache only")
    except (OSError, ValueError) as error:
        text = f"{constants.ENDPOINT} is out of reach ({one_line(error)}): cache only"
        return Finding("hub", "note", text)
    return Finding("hub", "ok", f"{constants.ENDPOINT} answers")


def _folders(out: Path) -> dict[str, Path]:
    import datasets
    from huggingface_hub import constants

    return {
        "result folder": out,
        "data cache": Path(datasets.config.HF_DATASETS_CACHE),
        "model cache": Path(constants.HF_HUB_CACHE),
    }


def _temporary_files() -> Finding:
    name = "temporary files"
    try:
        folder = Path(tempfile.gettempdir())
    except OSError as error:  # All that it tried are full or read-only.
        return Finding(name, "fault", f"{one_line(error)}; set TMPDIR to a folder with space")
    return _folder(name, folder)


def _folder(name: str, folder: Path) -> Finding:
    """Whether a folder, or what it would be made in, can be written and has space."""
    place = folder.absolute()
    while not place.is_dir() and place != place.parent:
        place = place.parent
    probe = place / f".bench-doctor-{os.getpid()}"
    try:
        atomic_write(probe, b"")
        probe.unlink()
        free = shutil.disk_usage(place).free
    except (OSError, OutputError) as error:
        return Finding(name, "fault", f"{folder} cannot be written ({one_line(error)})")
    text = f"{folder} can be written, {free / _GIGABYTE:.1f} GB free"
    return Finding(name, "ok" if free >= _LEAST_FREE else "note", text)


def _training() -> Finding:
    """Train and score a prompt on the bundled model and samples, and read everything again."""
    began = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            faults = _train_in(Path(folder))
    except BenchError as error:
        faults = [str(error)]
    except Exception as error:  # Whatever is broken here, this is the place to tell.
        faults = [one_line(error)]
    seconds = time.perf_counter() - began
    if faults:
        return Finding("self-test", "fault", "; ".join(faults))
    return Finding("self-test", "ok", f"trained, scored and read again in {seconds:.1f} s")


def _train_in(folder: Path) -> list[str]:
    from bench.config import load_config
    from bench.runs.grid import execute, lay_out
    from bench.runs.results import ResultFolder
    from bench.runs.verify import verify

    options = {"suites": [], "tasks": ["cb"], "methods": ["pt"], "shots": [16], "seeds": [42]}
    short = ("training.steps=8", "training.evaluate_every=4", "validation_rows=16")
    place = ResultFolder(folder)
    config = load_config("smoke", None, options, short)
    execute(lay_out(config, place, "never"), verbosity="quiet")
    (cell,) = lay_out(config, place, "never").plan.cells
    record = place.find(cell)
    if record is None or record.error is not None:
        reason = record.error.message if record is not None and record.error else "no record"
        return [f"the training failed: {reason}"]
    return verify(place)[1]


__all__ = ["Finding", "State", "examine", "usable_cores"]
