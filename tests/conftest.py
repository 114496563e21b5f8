"""Fixtures of all tests: quiet libraries, caches of their own, real data beside the checkout."""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]

# Read by libraries when they are imported, here and in the processes that tests start.
CACHE = Path(os.environ.get("BENCH_TEST_CACHE") or tempfile.mkdtemp(prefix="bench-tests-"))
os.environ["BENCH_TEST_CACHE"] = str(CACHE)
os.environ |= {"HF_HOME": str(CACHE), "HF_DATASETS_CACHE": str(CACHE / "datasets")}
os.environ |= {"HF_MODULES_CACHE": f"{CACHE}/modules", "MPLCONFIGDIR": f"{CACHE}/matplotlib"}
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the cache, once the main process of the tests ends."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(CACHE, ignore_errors=True)


def sealed(values: dict[str, Any]) -> bytes:
    """The JSON of a record that is made up, with the seal that fits."""
    data = json.dumps({**values, "seal": "0" * 64}).encode()
    return data.replace(b'"seal": "' + b"0" * 64, b'"seal": "' + sha256(data).hexdigest().encode())


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first test process makes and the others find; not to be changed."""
    folder, partial = CACHE / name / "out", CACHE / name / "partial"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name("lock")):
        if not folder.exists():
            make(partial)
            partial.rename(folder)
    return folder


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Keep bytes out of names: compressed ones may differ between test processes."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data slices and reference texts that lies beside the checkout."""
    folder = Path(os.environ.get("BENCH_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("needs ../shared (real data slices), which is not part of the project")
    return folder


@contextmanager
def hub_server(shared: Path, repositories: Path) -> Iterator[str]:
    """Address of a stand-in for the hub that serves the repositories in a folder."""
    tool = shared / "tools" / "fakehub.py"
    if not tool.is_file():
        pytest.skip("needs ../shared/tools/fakehub.py, which is not part of the project")
    command = [sys.executable, str(tool), str(repositories), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


@pytest.fixture(scope="session", autouse=True)
def fast_files() -> Iterator[None]:
    """No file has to reach the disk at once: nobody cuts the power of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def models_loaded_once() -> Iterator[None]:
    """The grids of a test process share its models, which are frozen."""
    from bench import worker

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "load", functools.cache(worker.load))
        yield


@pytest.fixture(autouse=True)
def no_plugin_files() -> Iterator[None]:
    """Plugin files that a test uses are gone after it."""
    yield
    if "bench.plugins" in sys.modules:
        sys.modules["bench.plugins"].use_files(())
