"""The graph of cells and prompts: what is trained, how often, and under which name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from bench.config import load_config
from bench.config_values import read_preset
from bench.data import DataSource
from bench.errors import UnknownNameError
from bench.models.info import ModelInfo
from bench.runs.cells import SOURCE_STAGE, Training
from bench.runs.overview import overview, render_overview
from bench.runs.plan import Plan, make_plan
from bench.tasks import SUITES, Task

MODEL = ModelInfo("toy", "0" * 64, "encoder-decoder", bundled=False, note="")


class Named(DataSource):
    """A source with nothing but fingerprints: planning reads no rows."""

    kind = "local"

    def __init__(self, name: str = "here", version: str = "1") -> None:
        self.label, self.version = name, version

    @property
    def name(self) -> str:
        return self.label

    def fingerprint(self, task: Task) -> str:
        return f"{task.name} {self.version}"

    def splits(self, task: Task) -> tuple[str, ...]:
        raise NotImplementedError

    def _read(self, task: Task, split: str) -> Any:
        raise NotImplementedError


def plan(
    items: Sequence[str] = (),
    model: ModelInfo = MODEL,
    source: DataSource | None = None,
    preset: str = "smoke",
    **options: Any,
) -> Plan:
    values = {"tasks": ["cb", "rte"], "suites": [], "shots": [4, 16], "seeds": [42, 43]}
    config = load_config(preset, options=values | options, items=items)
    return make_plan(config, model, source or Named())


def roles(found: Plan) -> dict[str, int]:
    return dict(Counter(found.roles[digest] for digest in found.trainings))


def test_prompts_are_shared_by_methods_tasks_and_shots() -> None:
    found = plan()
    cells = 5 * 2 * 2 * 2  # methods, tasks, shots, seeds
    assert len(found.cells) == cells
    # PT's own cells are the target prompts that SPoT and DTVG start from.
    assert roles(found) == {
        "source prompt": 6 * 2,
        "shared prompt": 2,
        "target prompt": 2 * 2 * 2,
        "cell": 4 * 2 * 2 * 2,
    }


def test_prompts_that_no_cell_asks_for_are_planned_too() -> None:
    found = plan(methods=["dtvg"], shots=[4])
    assert roles(found) == {"source prompt": 12, "target prompt": 4, "cell": 4}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("pt", {"cell": 4}),
        ("spot:source=mnli", {"cell": 4, "source prompt": 12}),
        ("attempt", {"cell": 4, "source prompt": 12}),
        ("mpt", {"cell": 4, "source prompt": 12, "shared prompt": 2}),
        ("dtvg:grouping=target-only", {"cell": 4, "target prompt": 4}),
    ],
)
def test_nothing_is_planned_that_a_method_does_not_need(
    method: str, expected: dict[str, int]
) -> None:
    assert roles(plan(methods=[method], shots=[4])) == expected


def test_a_source_that_a_method_names_must_be_one_of_the_run() -> None:
    with pytest.raises(UnknownNameError, match=r"source task of spot:source=qnly.*qnli"):
        plan(methods=["spot:source=qnly"])
    assert plan(methods=["spot:source=qnli"]).cells


def test_variants_of_a_method_are_cells_of_their_own() -> None:
    found = plan(methods=["dtvg", "dtvg:grouping=all", "dtvg:scales=off"], shots=[4])
    assert roles(found) == {"source prompt": 12, "target prompt": 4, "cell": 12}


def test_a_target_with_full_data_is_its_own_source_prompt() -> None:
    training = read_preset("smoke")["training"]
    same = [f"source_training.{key}={training[key]}" for key in ("steps", "evaluate_every")]
    found = plan(same, tasks=["sst2"], shots=["full"], methods=["pt", "spot"], seeds=[42])
    assert roles(found) == {"source prompt": 6, "cell": 1}
    # Trained for longer as a source, it is another prompt.
    found = plan(tasks=["sst2"], shots=["full"], methods=["pt", "spot"], seeds=[42])
    assert roles(found) == {"source prompt": 6, "target prompt": 1, "cell": 1}


def test_what_is_named_twice_runs_once() -> None:
    twice = plan(methods=["pt", "pt", "pt:learning_rate=0.3"], seeds=[42, 42], tasks=["cb", "cb"])
    once = plan(methods=["pt"], seeds=[42], tasks=["cb"])
    assert [cell.digest for cell in twice.cells] == [cell.digest for cell in once.cells]
    assert [cell.training.method.label for cell in twice.cells] == ["pt", "pt"]


def test_requirements_come_before_what_needs_them() -> None:
    found = plan()
    order = {digest: number for number, digest in enumerate(found.trainings)}
    for digest, training in found.trainings.items():
        assert digest == training.digest
        assert all(order[required.digest] < order[digest] for required in training.requires)


def test_requirements_are_of_the_same_seed_and_in_order() -> None:
    found = plan(methods=["spot", "mpt", "dtvg"])
    for cell in found.cells:
        required = cell.training.requires
        assert {training.seed for training in required} == {cell.training.seed}
        tasks = tuple(training.task for training in required)
        if cell.training.method.name == "mpt":
            assert tasks == (SOURCE_STAGE,)
            assert tuple(t.task for t in required[0].requires) == SUITES["sources"]
        else:
            assert tasks == (*SUITES["sources"], cell.training.task)
            assert required[-1].shots == cell.training.shots
            assert {training.shots for training in required[:-1]} == {None}


def test_each_stage_has_its_own_training_settings() -> None:
    found = plan(preset="paper", tasks=["cb"], suites=[], seeds=[42], shots=["full"])
    steps = {
        (found.roles[digest], training.method.name): training.hyperparameters
        for digest, training in found.trainings.items()
    }
    assert steps["source prompt", "pt"].steps == 300_000
    assert steps["shared prompt", "mpt"].steps == 300_000
    assert steps["target prompt", "pt"].steps == 30_000
    assert steps["cell", "attempt"].epochs == 20
    assert steps["cell", "dtvg"].batch_size == 16


def only(found: Plan, method: str = "dtvg", task: str = "cb") -> Training:
    """The training of the one cell of a method on a task with 4 shots and seed 42."""
    (training,) = (
        cell.training
        for cell in found.cells
        if (cell.training.method.name, cell.training.task) == (method, task)
        and (cell.training.shots, cell.training.seed) == (4, 42)
    )
    return training


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("pt", {"items": ["training.steps=61"]}),
        ("pt", {"items": ["training.evaluation_batch_size=7"]}),
        ("pt", {"items": ["data_seed=1"]}),
        ("pt", {"items": ["prompt_length=7"]}),
        ("pt", {"items": ["precision=bf16"]}),
        ("pt", {"items": ["training.batching=bucketed"]}),
        ("pt", {"items": ["input_length=64"]}),
        ("pt", {"items": ["input_length=null"]}),
        ("pt", {"items": ["validation_rows=7"]}),
        ("pt", {"items": ["method_options.pt.settings.learning_rate=0.1"]}),
        ("pt", {"items": ["method_options.pt.training.batch_size=7"]}),
        ("pt", {"model": replace(MODEL, digest="1" * 64)}),
        ("pt", {"source": Named(version="2")}),
        ("dtvg", {"items": ["method_options.dtvg.settings.grouping=all"]}),
        # What a prompt starts from decides its bits as well.
        ("dtvg", {"items": ["source_training.steps=121"]}),
        ("dtvg", {"items": ["method_options.pt.settings.learning_rate=0.1"]}),
        ("dtvg", {"items": ["method_options.pt.training.batch_size=7"]}),
        ("dtvg", {"items": ["sources=[mnli,qnli,qqp,sst2,squad]"]}),
        ("dtvg", {"items": ["sources=[qnli,mnli,qqp,sst2,squad,record]"]}),
        ("mpt", {"items": ["method_options.mpt.source_training.steps=7"]}),
        ("mpt", {"items": ["method_options.mpt.settings.distillation=0.5"]}),
    ],
)
def test_whatever_decides_a_prompt_changes_its_name(method: str, change: dict[str, Any]) -> None:
    assert only(plan(**change), method).digest != only(plan(), method).digest


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("dtvg", {"tasks": ["rte", "stsb", "cb"]}),
        ("dtvg", {"methods": ["dtvg", "mpt", "pt"]}),
        ("dtvg", {"shots": ["full", 4]}),
        ("dtvg", {"seeds": [7, 42]}),
        ("dtvg", {"items": ["device=cpu"]}),
        ("dtvg", {"items": ["method_options.mpt.settings.rank=2"]}),
        ("dtvg", {"items": ["method_options.dtvg.settings.grouping=full"]}),
        ("dtvg", {"model": replace(MODEL, name="elsewhere", note="a note")}),
        ("dtvg", {"source": Named("elsewhere")}),
        ("pt", {"items": ["source_training.steps=121"]}),
        ("pt", {"items": ["method_options.dtvg.training.steps=7"]}),
        ("pt", {"items": ["sources=[cb]"]}),
    ],
)
def test_what_does_not_decide_a_prompt_leaves_its_name(method: str, change: dict[str, Any]) -> None:
    assert only(plan(**change), method).digest == only(plan(), method).digest


def test_cells_that_differ_have_names_that_differ() -> None:
    found = plan(methods=["pt", "dtvg", "dtvg:scales=off"], shots=[4, 16, "full"])
    assert len({cell.digest for cell in found.cells}) == 3 * 2 * 3 * 2
    assert len({cell.training.digest for cell in found.cells}) == 3 * 2 * 3 * 2


def test_a_changed_preset_shares_prompts_but_no_records() -> None:
    (one,), (other,) = (
        [cell for cell in plan(items, tasks=["cb"], shots=[4], seeds=[42]).cells
         if cell.training.method.name == "pt"]
        for items in ((), ("source_training.steps=7",))
    )  # fmt: skip
    assert one.training.digest == other.training.digest
    assert one.digest != other.digest


@pytest.mark.parametrize("part", ["harness", "method"])
def test_changed_code_changes_the_name(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = only(plan()).digest
    monkeypatch.setattr(f"bench.runs.cells.{part}_digest", lambda *module: "f" * 64)
    assert only(plan()).digest != before


def test_changed_code_of_a_required_method_changes_the_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bench.runs.code import method_digest

    before, attempt = only(plan()), only(plan(), "attempt")
    monkeypatch.setattr(
        "bench.runs.cells.method_digest",
        lambda module: "f" * 64 if module == "baselines.pt" else method_digest(module),
    )
    assert only(plan()).digest != before.digest
    assert only(plan()).code["method"] != before.code["method"]
    monkeypatch.setattr(
        "bench.runs.cells.method_digest",
        lambda module: "f" * 64 if module == "baselines.mpt" else method_digest(module),
    )
    assert only(plan(), "attempt").digest == attempt.digest


def test_a_second_suite_needs_no_further_source_prompts(configure: Any, finished: Any) -> None:
    from bench.runs.grid import lay_out

    for change in ({"tasks": ["rte", "wic"]}, {"shots": [8, "full"]}):
        grid = lay_out(configure(**change), finished.folder, "never")
        assert len(grid.work.cells) == len(grid.plan.cells) > 0
        assert grid.work.prompts == []  # The target prompts are PT's cells.
        grid = lay_out(configure(methods=["mpt", "dtvg"], **change), finished.folder, "never")
        assert {grid.plan.roles[training.digest] for training in grid.work.prompts} == {
            "target prompt"
        }
        summary = overview(grid)["summary"]
        assert summary["source prompts"] == "0 to train, 12 exist"
        assert summary["shared prompts"] == "0 to train, 2 exist"


def test_the_overview_tells_what_is_done(configure: Any, finished: Any) -> None:
    from bench.runs.grid import lay_out

    grid = lay_out(configure(tasks=["cb", "rte"], seeds=[42]), finished.folder, "never")
    values = overview(grid)
    states = {cell["cell"]: cell["state"] for cell in values["cells"]}
    assert states["cb dtvg 4 shots seed 42"] == "done"
    assert states["rte dtvg 4 shots seed 42"] == "to run"
    assert values["summary"]["cells"] == "5 to run, 5 done"
    text = render_overview(values)
    assert "  done      cb dtvg 4 shots seed 42 (needs 6 x pt full data seed 42" in text
    assert "  exists    shared prompt  sources mpt full data seed 42" in text


@pytest.mark.parametrize("methods", [["pt", "dtvg"], ["dtvg", "pt"], ["dtvg"]])
@pytest.mark.parametrize("overwrite", ["never", "always"])
def test_every_unit_of_work_is_counted(
    methods: list[str], overwrite: Any, configure: Any, finished: Any
) -> None:
    """The progress display counts to exactly this number."""
    from bench.runs.grid import lay_out

    grid = lay_out(configure(tasks=["rte"], methods=methods), finished.folder, overwrite)
    # Where PT runs first, its cell gives the prompt that DTVG needs.
    prompts = 0 if methods[0] == "pt" else 2
    assert grid.work.units == 2 * len(methods) + prompts
