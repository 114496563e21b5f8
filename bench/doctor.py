"""Whether this machine can run the benchmark: what is installed and reachable, and a short run."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from bench.errors import BenchError, OutputError, one_line
from bench.files import atomic_write


class Finding(NamedTuple):
    """One check; a fault makes runs fail."""

    name: str
    state: Literal["ok", "note", "fault"]
    text: str


def examine(out: Path) -> Iterator[Finding]:
    """Check everything, a result folder to write to included; the self-test comes last."""
    import datasets
    import torch
    from huggingface_hub import constants

    from bench.executors import usable_cores
    from bench.provenance import PACKAGES, provenance

    versions = {"Python": provenance().python, **provenance().versions}
    missing = [name for name in PACKAGES[1:] if name not in versions]  # The first is this project.
    texts = [f"{k} {v}" for k, v in versions.items()] + [f"{k} is not installed" for k in missing]
    yield Finding("versions", "fault" if missing else "ok", ", ".join(texts))
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    text = ", ".join(gpus) or "no GPU: everything runs on the CPU"
    yield Finding("devices", "ok" if gpus else "note", text)
    threads, cores = torch.get_num_threads(), usable_cores()
    hint = "; set OMP_NUM_THREADS, as they slow each other down" if threads > cores else ""
    yield Finding("threads", "note" if hint else "ok", f"{threads} threads on {cores} cores{hint}")
    offline = datasets.config.HF_HUB_OFFLINE
    reason = "HF_HUB_OFFLINE is set" if offline else _hub_fault(constants.ENDPOINT)
    text = f"{reason}: only what is in the cache" if reason else f"{constants.ENDPOINT} answers"
    yield Finding("hub", "note" if reason else "ok", text)
    yield from (_folder("result folder", out), _folder("model cache", Path(constants.HF_HUB_CACHE)))
    yield _folder("data cache", Path(datasets.config.HF_DATASETS_CACHE))
    yield _self_test()


def _hub_fault(address: str) -> str | None:
    try:
        request = urllib.request.Request(address, method="HEAD")
        with urllib.request.urlopen(request, timeout=5.0):
            return None
    except (OSError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code < 500:
            return None
        return f"{address} is out of reach ({one_line(error)})"


def _folder(name: str, folder: Path) -> Finding:
    """Whether a folder, or the nearest one above it that exists, can be written and has space."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    probe = place / f".bench-doctor-{os.getpid()}"
    try:
        atomic_write(probe, b"")
        probe.unlink()
        free = shutil.disk_usage(place).free / 1e9
    except (OSError, OutputError) as error:
        return Finding(name, "fault", f"{folder} cannot be written ({one_line(error)})")
    text = f"{folder} can be written, {free:.1f} GB free"
    return Finding(name, "ok" if free >= 2 else "note", text)


def _self_test() -> Finding:
    """Train and score a prompt on the bundled model and samples, and check the files."""
    from bench.commands.results import check
    from bench.config import load_config
    from bench.grid import make_grid
    from bench.record import read_records
    from bench.runner import run_grid
    from bench.store import ResultStore

    began = time.perf_counter()
    options = {"suites": [], "tasks": ["cb"], "methods": ["pt"], "shots": [16], "seeds": [42]}
    short = ("training.steps=8", "training.evaluate_every=4", "validation_rows=16")
    try:
        with tempfile.TemporaryDirectory() as folder:
            store = ResultStore(Path(folder))
            grid = make_grid(load_config("smoke", None, options, short), store)
            run_grid(grid, store, verbosity="quiet")
            records, _ = read_records(store.records)
            faults = [record.error.message for record in records if record.error] + [*check(store)]
    except Exception as error:  # Any exception is a finding here.
        faults = [str(error) if isinstance(error, BenchError) else one_line(error)]
    text = f"trained, scored and checked in {time.perf_counter() - began:.1f} s"
    return Finding("self-test", "fault" if faults else "ok", "; ".join(faults) or text)
