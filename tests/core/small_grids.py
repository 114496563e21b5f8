"""Grids of short runs on the bundled tiny model, and what of their results can be compared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import worker
from bench.config import RunConfig, load_config
from bench.grid import Grid, make_grid
from bench.record import Record, read_records
from bench.runner import run_grid
from bench.store import ResultStore

METHODS = ("pt", "spot", "attempt", "mpt", "dtvg")
SOURCES = ("sst2", "qnli")
SIZES = ("steps=4", "evaluate_every=2", "warmup_steps=1", "batch_size=4")
SHORT = [f"{stage}.{size}" for stage in ("training", "source_training") for size in SIZES]


def flip(path: Path) -> None:
    """Change one bit."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def configure(*items: str, **options: Any) -> RunConfig:
    """A configuration of short runs; keywords are options, the items go to ``--set``."""
    values: dict[str, Any] = {"suites": [], "tasks": ["cb"], "methods": list(METHODS)}
    values |= {"shots": [4], "seeds": [42], "sources": list(SOURCES)} | options
    sizes = ["prompt_length=4", "input_length=24", "validation_rows=12", "test_rows=20"]
    return load_config(options=values, items=[*SHORT, *sizes, *items])


def do(config: RunConfig, store: ResultStore, overwrite: Any = "never", **options: Any) -> Grid:
    """Lay out a grid and do its runs, quietly unless said otherwise."""
    grid = make_grid(config, store, overwrite)
    run_grid(grid, store, **({"verbosity": "quiet"} | options))
    return grid


def failing(error: Exception, *summaries: str) -> Callable[..., Any]:
    """A ``train`` that fails for the runs of these summaries."""
    train = worker.train

    def fail(*arguments: Any, **named: Any) -> Any:
        if named["info"].summary in summaries:
            raise error
        return train(*arguments, **named)

    return fail


def by_label(store: ResultStore) -> dict[str, Record]:
    """The records of a store by their row of tables."""
    return {record.run.label: record for record in read_records(store.records)[0]}


def comparable(record: Record) -> dict[str, Any]:
    """All of a record but what may differ between equal runs."""
    values = record.model_dump(mode="json", exclude={"timing", "seal"})
    for key in ("command", "git_commit", "git_dirty"):
        del values["provenance"][key]
    return values


def results(folder: Path) -> dict[str, Any]:
    """Records by file name without what may differ, and the bytes of prompts and answers."""
    records, warnings = read_records(folder / "records")
    assert warnings == []
    found: dict[str, Any] = {record.file_name: comparable(record) for record in records}
    files = [*folder.glob("prompts/*.safetensors"), *folder.glob("records/*.jsonl.gz")]
    return found | {path.name: path.read_bytes() for path in files}


def assert_clean(store: ResultStore) -> None:
    """Nothing is left of the runs but their results."""
    assert list(store.checkpoints.glob("[!.]*")) == []
    assert list(store.folder.rglob("*.tmp")) == []
