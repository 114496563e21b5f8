"""Grids: which runs there are, in what order, under which ids, and what is left of them."""

import functools
import itertools
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import grid as grids
from bench import provenance
from bench.config import RunConfig, dump_config
from bench.errors import PromptError
from bench.grid import Grid, Run, make_grid
from bench.record import read_record
from bench.registry import method_entry
from bench.store import ResultStore
from tests.core.small_grids import METHODS, SOURCES, configure, flip

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def empty(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "empty")


def by_name(grid: Grid) -> dict[tuple[str, str, int], Run]:
    return {(run.task, run.method.label, run.seed): run for run in grid.runs.values()}


def test_each_prompt_is_one_run_after_those_it_needs(empty: ResultStore) -> None:
    grid = make_grid(configure(seeds=[42, 43], tasks=["cb", "rte"]), empty)
    # Per seed: two sources, MPT's stage, and five methods on two tasks.
    assert len(grid.runs) == 2 * (2 + 1 + 10)
    assert len(grid.reported) == grid.to_run == 20
    assert grid.todo == tuple(grid.runs.values())
    done: set[str] = set()
    for key, run in grid.runs.items():
        assert key == run.prompt_id
        assert {need.prompt_id for need in run.start} <= done
        assert run.protocol.needs == [need.prompt_id for need in run.start]
        done.add(key)
    found = by_name(grid)
    sources = tuple(found[task, "pt", 42] for task in SOURCES)
    for method in ("spot", "attempt", "dtvg"):
        assert found["cb", method, 42].start.sources == sources
    assert found["cb", "dtvg", 42].start.target is found["cb", "pt", 42]
    assert found["cb", "mpt", 42].start.sources == ()
    assert found["cb", "mpt", 42].start.source_stage is found["sources", "mpt", 42]
    assert found["sources", "mpt", 42].start.sources == sources
    assert [block.task for block in found["cb", "mpt", 42].sources()] == list(SOURCES)
    assert all(run.shots is None for run in sources)


def test_an_untrained_method_is_one_run_per_task(finished: ResultStore, empty: ResultStore) -> None:
    prompt = next(finished.prompts.glob("cb-pt-*.json"))
    fixed = f"fixed:prompt={prompt.stem[-12:]}"
    store = ResultStore(empty.folder, finished.prompts)
    options = {"seeds": [42, 43], "shots": [4, "full"], "methods": ["no_prompt", fixed]}
    grid = make_grid(configure(tasks=["cb", "rte"], **options), store)
    found = [(run.task, run.method.name) for run in grid.runs.values()]
    assert sorted(found) == sorted(itertools.product(("cb", "rte"), ("no_prompt", "fixed")))
    assert {(run.shots, run.seed) for run in grid.runs.values()} == {(None, 0)}
    run = by_name(grid)["rte", fixed, 0]
    longer = make_grid(configure("prompt_length=9", tasks=["rte"], **options), store)
    lengths = {each.method.name: each.prompt_length for each in longer.runs.values()}
    assert lengths == {"no_prompt": 0, "fixed": 4}
    stored = run.start.stored
    assert stored.prompt_id == read_record(prompt).id


def given(finished: ResultStore) -> str:
    return read_record(next(finished.prompts.glob("sst2-pt-*.json"))).id


def test_prompts_may_be_given(finished: ResultStore, empty: ResultStore) -> None:
    store, prompt = ResultStore(empty.folder, finished.prompts), given(finished)
    file = next(finished.prompts.glob("sst2-pt-*.safetensors"))
    ids = []
    for text in (prompt, prompt[:6], str(file)):
        config = configure(methods=["spot", "mpt"], source_prompts={"sst2": text})
        grid = make_grid(config, store)
        # One source is trained; SPoT chooses by PT on the target, MPT has its stage.
        assert len(grid.runs) == 5
        found = by_name(grid)["cb", "spot", 42]
        ids.append((found.start.sources[0].prompt_id, found.protocol.preset, found.prompt_id))
        assert [block.given for block in found.sources()] == [True, False]
        assert found.protocol.preset.endswith(f"source_prompts.sst2={ids[-1][0][:12]}")
    assert ids[0] == ids[1]
    assert ids[0][0] == prompt
    assert len(set(ids)) == 2  # The file says nothing of how it was trained.


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("source_prompts.qnli=SST2", "qnli: prompt .* is of task sst2: name it for"),
        ("source_prompts.sst2=SST2 model=tiny-llama", "belongs to another model"),
        ("source_prompts.sst2=abcdef", "no prompt 'abcdef' in"),
        ("source_prompts.sst2=SST2 prompt_length=5", "has 4 tokens, the run 5"),
        ("methods=[fixed:prompt=abcdef]", "no prompt 'abcdef' in"),
        ("methods=[dtvg] source_prompts.sst2=FILE", "an unknown initial prompt, but dtvg needs"),
    ],
)
def test_given_prompts_must_fit(items: str, message: str, finished: Any, empty: Any) -> None:
    store = ResultStore(empty.folder, finished.prompts)
    file = next(finished.prompts.glob("sst2-pt-*.safetensors"))
    items = items.replace("SST2", f"'{given(finished)}'").replace("FILE", str(file))
    config = configure(*items.split())
    with pytest.raises(PromptError, match=message):
        make_grid(config, store)


def ids(config: RunConfig, store: ResultStore) -> dict[tuple[str, str], tuple[str, str]]:
    runs = make_grid(config, store).runs.values()
    return {(run.task, run.method.name): (run.prompt_id, run.id) for run in runs}


@functools.cache
def plain_ids() -> dict[tuple[str, str], tuple[str, str]]:
    return ids(configure(), ResultStore(Path("none")))


CB = {("cb", method) for method in METHODS}
ON_TARGET = ("spot", "dtvg")
EVERYWHERE = ("data_seed=1", "prompt_length=5", "input_length=64", "validation_rows=13")
EVERYWHERE += ("precision=bf16", "seeds=[43]", "model=tiny-llama")
ALL = CB | {(task, "pt") for task in SOURCES} | {("sources", "mpt")}


@pytest.mark.parametrize(
    ("items", "changed"),
    [
        (["training.steps=9"], CB),
        (["training.beams=2"], ALL),
        (["source_training.steps=7"], ALL - {("cb", "pt")}),
        *(([item], ALL) for item in EVERYWHERE),
        (["train_rows=13"], ALL - {("cb", "pt")}),
        (["shots=[5]"], CB),
        (["sources=[qnli,sst2]"], ALL - {("cb", "pt"), ("sst2", "pt"), ("qnli", "pt")}),
        (["method_options.pt.settings.learning_rate=0.2"], {("cb", m) for m in ("pt", *ON_TARGET)}),
        (["source_settings.learning_rate=0.2"], ALL - {("cb", "pt")}),
        (["method_options.spot.settings.learning_rate=0.2"], {("cb", "spot")}),
        (["method_options.mpt.source_training.steps=9"], {("cb", "mpt"), ("sources", "mpt")}),
        (["method_options.pt.few_shot_training.steps=9"], {("cb", m) for m in ("pt", *ON_TARGET)}),
        (["test_rows=9"], set()),
        (["device=cpu", "tasks=[cb]", "seeds=[42]"], set()),
    ],
)
def test_ids_follow_results(items: list[str], changed: Any, empty: ResultStore) -> None:
    before, after = plain_ids(), ids(configure(*items), empty)
    assert before.keys() == after.keys() == ALL
    assert {key for key in ALL if before[key][0] != after[key][0]} == changed
    # A record is named by its preset, too.
    named = items[0].startswith(("method", "test_rows"))
    assert before["cb", "pt"][1] != after["cb", "pt"][1] or not named


RAISED = {"results": ALL, "pt": ALL, "mpt": {("cb", "mpt"), ("sources", "mpt")}}
RAISED |= {"task cb": CB, "task sst2": ALL - {("cb", "pt"), ("qnli", "pt")}}


@pytest.mark.parametrize(("what", "changed"), [*RAISED.items(), ("dtvg", {("cb", "dtvg")})])
def test_raised_versions(what: str, changed: Any, empty: ResultStore, monkeypatch: Any) -> None:
    before = plain_ids()
    if what == "results":
        monkeypatch.setattr(provenance, "RESULTS_VERSION", provenance.RESULTS_VERSION + 1)
    elif what.startswith("task "):
        get, raised = grids.get_task, what.removeprefix("task ")
        versions = {name: get(name).version + (name == raised) for name in ("cb", *SOURCES)}
        more = lambda name: replace(get(name), version=versions[name])  # noqa: E731
        monkeypatch.setattr(grids, "get_task", more)
    else:
        monkeypatch.setattr(method_entry(what).load(), "version", 99)
    after = ids(configure(), empty)
    assert {key for key in ALL if before[key] != after[key]} == changed
    assert {key for key in ALL if before[key][0] != after[key][0]} == changed


PRINT_IDS = """
import sys
from pathlib import Path
import bench
from bench.config import load_config
from bench.grid import make_grid
from bench.store import ResultStore
assert Path(bench.__file__).is_relative_to(sys.argv[1]), bench.__file__
print(*make_grid(load_config(file=Path(sys.argv[2])), ResultStore(Path("none"))).runs)
"""


def test_ids_do_not_follow_process_or_comments(empty: ResultStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for package in ("bench", "baselines", "dtvg"):
        shutil.copytree(ROOT / package, source / package)
    for path in source.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace('"""', '"""Changed. ', 1) + "\n# One more line.\n", "utf-8")
    environment = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": str(source)}
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(configure()))
    words = [sys.executable, "-c", PRINT_IDS, str(source), str(file)]
    printed = subprocess.check_output(words, cwd=tmp_path, env=environment, text=True)
    assert printed.split() == list(make_grid(configure(), empty).runs)


MPT = ["sst2-pt", "sources-mpt", "cb-mpt"]


@pytest.mark.parametrize(
    ("prompts", "records", "left"),
    [
        ([], [], set()),
        (["cb-pt"], [], set()),  # All records are there.
        ([], ["cb-spot"], {("cb", "spot")}),  # Its prompt is only scored.
        (["cb-pt"], ["cb-pt"], {("cb", "pt")}),
        (["cb-pt"], ["cb-spot"], {("cb", "spot")}),
        (["cb-pt", "cb-dtvg"], ["cb-dtvg"], {("cb", "pt"), ("cb", "dtvg")}),
        (["sst2-pt", "cb-spot"], ["cb-spot"], {("sst2", "pt"), ("cb", "spot")}),
        # An attention module is put together from the source prompts.
        (["sst2-pt"], ["cb-attempt"], {("sst2", "pt"), ("cb", "attempt")}),
        (["sst2-pt", "cb-mpt"], ["cb-mpt"], {("cb", "mpt")}),  # The shared prompt is there.
        (MPT, ["cb-mpt"], {("sst2", "pt"), ("sources", "mpt"), ("cb", "mpt")}),
    ],
)
def test_missing_prompts(prompts: Any, records: Any, left: Any, copy: Any) -> None:
    for damage, name in zip(itertools.cycle([False, True]), prompts, strict=False):
        for path in copy.prompts.glob(f"{name}-*.safetensors" if damage else f"{name}-*"):
            flip(path) if damage else path.unlink()
    for name in records:
        for path in copy.records.glob(f"{name}-*.json"):
            path.unlink()
    grid = make_grid(configure(), copy)
    assert {(run.task, run.method.name) for run in grid.todo} == left
    assert grid.to_run == len(records)
