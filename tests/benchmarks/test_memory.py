"""Resident memory of a training step of t5-base's shape, which a process of its own tells."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
STEP = """
import resource, gpu
gpu.time_steps(gpu.make_model(gpu.T5_BASE, "float32", "cpu"), "pt", gpu.T5_BASE, steps=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory in other units")
def test_step_of_t5_base(benchmark: Any, figure: Any) -> None:
    """16 rows of 256 tokens behind a prompt of 100."""
    path = os.pathsep.join((str(HERE.parents[1]), str(HERE)))
    done = benchmark.pedantic(
        subprocess.run,
        ([sys.executable, "-c", STEP],),
        {"stdout": subprocess.PIPE, "check": True, "env": os.environ | {"PYTHONPATH": path}},
        rounds=1,
    )
    figure("GiB", int(done.stdout) / 2**30, most=9)
