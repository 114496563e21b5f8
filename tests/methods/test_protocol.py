"""Optimisers as built, and lengths of training, against the table in docs/reproduce.md."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.config import load_config
from bench.method import SourceStage, StartPrompts
from bench.registry import METHODS
from bench.training.loop import adamw

PAGE = Path(__file__).parents[2] / "docs" / "reproduce.md"
HEAD = "|preset|trained|rates|eps|weight decay|warm-up|steps|evaluations|"
MODELS = {
    "paper": ("paper", "google-t5/t5-base"),
    "llama": ("paper", "tiny-llama"),
    "smoke": ("smoke", "tiny"),
}
EXAMPLES = {"cb": 250, "e2e": 42_061}

Row = dict[str, str]


def rows() -> list[Row]:
    lines = PAGE.read_text(encoding="utf-8").partition(HEAD)[2].splitlines()[2:]
    names = HEAD.strip("|").split("|")
    cells = [line.strip("|").split("|") for line in lines[: lines.index("")]]
    return [dict(zip(names, cell, strict=True)) for cell in cells]


def number(text: str) -> float:
    return float(text.replace(",", ""))


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['preset']}-{row['trained']}")
def test_table(row: Row, make: Callable[..., StartPrompts]) -> None:
    preset, model = MODELS[row["preset"]]
    config = load_config(preset, options={"model": model})
    name, _, place = row["trained"].replace("`", "").partition(" ")
    task = "e2e" if "e2e" in place else "cb"
    config, examples = config.for_task(task), EXAMPLES[task]
    spec, training, parts = config.method_spec(name), config.target_training(name), make()
    module: Any
    if place == "sources":
        stage = name == "mpt"
        spec = spec if stage else config.source_spec()
        training = config.stage_training(name) if stage else config.source_training
        counts = {prompt.task: 9 for prompt in parts.sources}
        start = spec.load().source_stage if stage else spec.load().build
        module = start(spec.settings, parts, *[counts] * stage)
        assert isinstance(module, SourceStage) == stage
    else:
        module = spec.load().build(spec.settings, parts)
    groups = adamw(module.parameter_groups()).param_groups
    assert {id(p) for g in groups for p in g["params"]} == {
        id(p) for p in module.parameters() if p.requires_grad
    }
    rates = [*map(number, row["rates"].split(", "))]
    assert [*dict.fromkeys(group["lr"] for group in groups)] == rates
    for key, column in (("eps", "eps"), ("weight_decay", "weight decay")):
        assert {group[key] for group in groups} == {number(row[column])}
    total = training.total_steps(examples)
    points = range(total, 0, -training.evaluation_interval(examples))
    found = (training.warmup(examples), total, len(points))
    assert found == tuple(number(row[key]) for key in ("warm-up", "steps", "evaluations"))


def test_table_has_every_preset_and_method() -> None:
    found = {(row["preset"], row["trained"].split("`")[1]) for row in rows()}
    trained = {name for name, entry in METHODS.items() if entry.load().trained}
    assert found == {(preset, name) for preset in MODELS for name in trained}
    (attempt,) = (r for r in rows() if (r["preset"], r["trained"]) == ("paper", "`attempt`"))
    assert attempt["evaluations"] == "20"  # On cb; before, its one checkpoint was the last.
