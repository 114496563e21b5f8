"""Stored prompts in place of trained source prompts: in the plan, in the run, in the record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from bench.config import RunConfig, load_config
from bench.errors import ConfigError, InitialPromptMismatchError, PromptError
from bench.interchange.importing import import_prompt, read_prompt
from bench.models.base import FrozenLM
from bench.models.loading import describe
from bench.records import read_records
from bench.runs.bundle import freeze, repetitions
from bench.runs.grid import execute, lay_out
from bench.runs.overview import overview, render_overview
from bench.runs.results import ResultFolder

LENGTH, WIDTH = 6, 32

Configure = Callable[..., RunConfig]
Import = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> ResultFolder:
    return ResultFolder(tmp_path / "out")


@pytest.fixture
def add(folder: ResultFolder, frozen: FrozenLM, model: Path, tmp_path: Path) -> Import:
    """Imports a random prompt, by default for qnli and of unknown start; gives its digest."""

    def add(task: str = "qnli", seed: int | None = None, length: int = LENGTH) -> str:
        torch.manual_seed(3)
        path = tmp_path / "foreign.safetensors"
        safetensors.torch.save_file({"prompt_embeddings": torch.randn(length, WIDTH)}, path)
        initial = None if seed is None else frozen.initial_prompt(length, seed)
        prompt = read_prompt(path, frozen)
        return import_prompt(
            folder.prompts, prompt, task, describe(str(model)), initial
        ).card.digest

    return add


def test_given_prompt_is_used_and_recorded(
    add: Import, configure: Configure, folder: ResultFolder
) -> None:
    digest = add()
    methods = ["spot:source=qnli", "attempt", "mpt"]
    config = configure(methods=methods, source_prompts={"qnli": digest[:8]})
    grid = lay_out(config, folder, "never")

    outcome = execute(grid)

    assert not outcome.failed
    trained = {training.task for training in grid.plan.trainings.values()}
    assert trained == {"rte", "sst2", "sources"}
    records = {r.cell.method.name: r for r in read_records(folder.records)[0]}
    sst2 = next(t.digest for t in grid.plan.trainings.values() if t.task == "sst2")
    for name in ("spot", "attempt"):
        assert records[name].cell.requires == (sst2, digest)
    stage = next(t for t in grid.plan.trainings.values() if t.task == "sources")
    assert [required.digest for required in stage.requires] == [sst2, digest]
    for record in records.values():
        assert record.rows is not None
        assert f"source prompt of qnli was given: {digest[:12]}" in record.rows.notes
        assert record.cell.preset.endswith(f"source_prompts.qnli={digest[:12]}")
    # SPoT starts from the very matrix: after steps at rate 0.3 it is still the nearest source.
    assert records["spot"].training is not None
    spot = folder.prompts.load(records["spot"].training.prompt).matrix
    given, other = (folder.prompts.load(d).matrix for d in (digest, sst2))
    assert (spot - given).norm() < (spot - other).norm()
    assert not lay_out(config, folder, "never").work.cells


def test_however_the_prompt_is_named_the_cell_is_the_same(
    add: Import, configure: Configure, folder: ResultFolder
) -> None:
    digest = add()
    plans = [
        lay_out(configure(methods=["attempt"], source_prompts=given), folder, "never").plan
        for given in ({"qnli": digest}, {"qnli": digest[:4]}, {})
    ]
    full, short, without = ([cell.digest for cell in plan.cells] for plan in plans)

    assert full == short
    assert full != without


def test_bundle_names_the_prompt_in_full_wherever_it_is_repeated(
    add: Import, configure: Configure, folder: ResultFolder, tmp_path: Path
) -> None:
    digest = add()
    config = configure(methods=["spot:source=qnli"], source_prompts={"qnli": digest[:4]})
    grid = lay_out(config, folder, "never")
    assert not execute(grid).failed

    bundle = freeze(folder.folder).bundle
    (repetition,) = repetitions(bundle, {})

    assert repetition.config.source_prompts == {"qnli": digest}
    beside = folder.prompts.folder / f"{digest[:4]}{'0' * 60}.json"
    beside.write_text("{}")  # The beginning that was typed has come to mean two prompts.
    again = lay_out(repetition.config, folder, "never")
    assert [cell.digest for cell in again.plan.cells] == [cell.digest for cell in grid.plan.cells]
    assert not again.work.cells
    with pytest.raises(PromptError, match=f"'{digest}' in .*elsewhere.*: .* by --prompts$"):
        lay_out(repetition.config, ResultFolder(tmp_path / "elsewhere"), "never")


def test_dry_run_shows_it_as_existing(
    add: Import, configure: Configure, folder: ResultFolder, command: Any
) -> None:
    digest = add()
    grid = lay_out(configure(methods=["attempt"], source_prompts={"qnli": digest}), folder, "never")

    values = overview(grid)
    text = render_overview(values)

    assert values["given"] == [
        {"role": "source prompt", "prompt": f"qnli given {digest[:12]}", "digest": digest}
    ]
    assert f"exists    source prompt  qnli given {digest[:12]}" in text
    assert "to train  source prompt  sst2 pt full data seed 42" in text
    assert "qnli pt" not in text
    options = ("--task", "rte", "--shots", 8, "--seeds", 42, "--model", grid.config.model)
    sizes = ("--set", f"prompt_length={LENGTH}", "--set", "sources=[sst2,qnli]")
    code, out, _ = command(
        "run", *options, *sizes, "--source-prompt", f"qnli={digest[:6]}", "--method", "attempt",
        "--dry-run", "--json", "--out", folder.folder,
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["given"] == values["given"]
    assert not folder.records.exists()


def test_without_methods_that_use_it_it_is_not_shown(
    add: Import, configure: Configure, folder: ResultFolder
) -> None:
    config = configure(methods=["pt"], source_prompts={"qnli": add()})

    assert overview(lay_out(config, folder, "never"))["given"] == []


def test_dtvg_refuses_an_unknown_start_before_any_training(
    add: Import, configure: Configure, folder: ResultFolder, command: Any
) -> None:
    digest = add()
    given = {"source_prompts": {"qnli": digest}}
    with pytest.raises(InitialPromptMismatchError, match=r"unknown initial prompt, but dtvg needs"):
        lay_out(configure(methods=["spot", "dtvg"], **given), folder, "never")
    lay_out(configure(methods=["dtvg:grouping=target-only"], **given), folder, "never")

    model = configure().model
    code, _, error = command(
        "run", "--task", "rte", "--model", model, "--method", "dtvg", "--out", folder.folder,
        "--set", f"prompt_length={LENGTH}", "--source-prompt", f"qnli={digest}",
    )  # fmt: skip

    assert code == 2
    assert error.startswith(f"error: source_prompts.qnli: prompt {digest[:12]} was trained from")
    assert error.count("\n") == 1
    assert not folder.records.exists()


def test_dtvg_takes_a_prompt_of_its_own_start_and_no_other(
    add: Import, configure: Configure, folder: ResultFolder
) -> None:
    config = configure(methods=["dtvg"], source_prompts={"qnli": add(seed=42)})
    assert not execute(lay_out(config, folder, "never")).failed
    stored = set(folder.prompts.folder.iterdir())

    other = configure(methods=["dtvg"], source_prompts={"qnli": add(seed=42)}, seeds=[42, 43])
    with pytest.raises(
        InitialPromptMismatchError, match=r"another initial .* than that of seed 43"
    ):
        execute(lay_out(other, folder, "never"))
    assert set(folder.prompts.folder.iterdir()) == stored  # Nothing was trained.


def test_trained_prompt_may_be_given_too(
    results: ResultFolder, configure: Configure, folder: ResultFolder
) -> None:
    trained = next(c for c in results.prompts.cards()[0] if c.training["task"] == "sst2")
    config = configure(methods=["dtvg"], source_prompts={"sst2": trained.digest})

    given = lay_out(config, ResultFolder(folder.folder, results.prompts.folder), "never").plan.given

    assert [(prompt.digest, prompt.initial_digest) for prompt in given] == [
        (trained.digest, trained.initial_digest)
    ]


@pytest.mark.parametrize(
    ("imported", "changes", "fault"),
    [
        ({"task": "sst2"}, {}, r"source_prompts.qnli: prompt \w{12} is of task sst2"),
        ({"length": 9}, {}, r"has 9 tokens, the run 6: set prompt_length=9"),
        ({}, {"model": "tiny"}, r"belongs to another model than tiny"),
        ({}, {"source_prompts": {"qnli": "0000"}}, r"no prompt begins with '0000'"),
    ],
)
def test_prompt_that_does_not_fit_the_run_is_refused(
    imported: dict[str, Any],
    changes: dict[str, Any],
    fault: str,
    add: Import,
    configure: Configure,
    folder: ResultFolder,
) -> None:
    options = {"methods": ["attempt"], "source_prompts": {"qnli": add(**imported)}} | changes

    with pytest.raises(PromptError, match=fault):
        lay_out(configure(**options), folder, "never")


def test_damaged_prompt_is_refused_before_any_training(
    add: Import, configure: Configure, folder: ResultFolder
) -> None:
    digest = add()
    path = folder.prompts.folder / f"{digest}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")

    with pytest.raises(PromptError, match=r"damaged .* train or import it anew"):
        lay_out(configure(methods=["attempt"], source_prompts={"qnli": digest}), folder, "never")


def test_prompt_that_depends_on_the_input_is_no_source(
    results: ResultFolder, configure: Configure
) -> None:
    attempt = next(c for c in results.prompts.cards()[0] if c.form == "module")
    config = configure(methods=["attempt"], source_prompts={"qnli": attempt.digest})

    with pytest.raises(PromptError, match="is a module, no matrix"):
        lay_out(config, results, "never")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"rte": "abcd"}, "source_prompts: rte is none of the sources"),
        ({"qnli": "../abcd"}, "source_prompts.qnli: string should match pattern"),
        ({"qnli": "abc"}, "source_prompts.qnli: string should match pattern"),
        ({"qnli": 12345678}, "source_prompts.qnli: input should be a valid string"),
    ],
)
def test_faults_in_the_configuration(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        load_config(options={"sources": ["sst2", "qnli"], "source_prompts": given})


def test_option_without_digest_is_refused(command: Any) -> None:
    code, _, error = command("run", "--task", "rte", "--source-prompt", "qnli", "--dry-run")

    assert (code, error) == (2, "error: --source-prompt qnli: expected TASK=DIGEST\n")
