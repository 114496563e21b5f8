"""What a run would do, before it does it: for ``bench run --dry-run``."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bench.runs.cells import Role, Training
from bench.runs.grid import Grid

ROLES: tuple[Role, ...] = ("source prompt", "shared prompt", "target prompt", "cell")


def overview(grid: Grid) -> dict[str, Any]:
    """All cells and prompts of a grid with their state, JSON-ready."""
    waiting = {cell.digest for cell in grid.work.cells}
    cells = [
        {
            "cell": cell.training.describe(),
            "digest": cell.digest,
            "state": "to run" if cell.digest in waiting else "done",
            "prompt": cell.training.digest,
            "needs": [required.describe() for required in cell.training.requires],
        }
        for cell in grid.plan.cells
    ]
    return {
        "preset": grid.config.preset,
        "model": grid.config.model,
        "data": grid.config.data,
        "given": [
            {"role": "source prompt", "prompt": prompt.describe(), "digest": prompt.digest}
            for prompt in grid.plan.given
        ],
        "trainings": [_training(grid, training) for training in grid.plan.trainings.values()],
        "cells": cells,
        "summary": _summary(grid),
    }


def render_overview(values: dict[str, Any]) -> str:
    """The overview as text, one line per prompt and cell."""
    lines = [f"preset {values['preset']}, model {values['model']}, data {values['data']}", ""]
    lines.append("Prompts that others start from:")
    for prompt in values["given"]:
        lines.append(f"  {'exists':<9} {prompt['role']:<14} {prompt['prompt']}")
    for training in values["trainings"]:
        if training["role"] != "cell":
            state = "exists" if training["exists"] else "to train"
            lines.append(f"  {state:<9} {training['role']:<14} {training['training']}")
    lines += ["", "Cells:"]
    for cell in values["cells"]:
        needs = Counter(need.split(" ", 1)[1] for need in cell["needs"])
        text = ", ".join(f"{count} x {what}" for what, count in needs.items())
        lines.append(f"  {cell['state']:<9} {cell['cell']}" + (f" (needs {text})" if text else ""))
    lines += ["", *(f"{name}: {text}" for name, text in values["summary"].items())]
    return "\n".join(lines)


def _training(grid: Grid, training: Training) -> dict[str, Any]:
    return {
        "role": grid.plan.roles[training.digest],
        "training": training.describe(),
        "digest": training.digest,
        "exists": grid.folder.prompts.has(training.digest),
        "hyperparameters": training.card()["hyperparameters"],
    }


def _summary(grid: Grid) -> dict[str, str]:
    store = grid.folder.prompts
    exists: Counter[Role] = Counter()
    missing: Counter[Role] = Counter()
    for digest in grid.plan.trainings:
        role = grid.plan.roles[digest]
        (exists if store.has(digest) else missing)[role] += 1
    lines = {
        f"{role}s" if role != "cell" else "other trainings": (
            f"{missing[role]} to train, {exists[role]} exist"
        )
        for role in ROLES
    }
    if grid.plan.given:
        lines["given source prompts"] = f"{len(grid.plan.given)} exist"
    done = len(grid.plan.cells) - len(grid.work.cells)
    lines["cells"] = f"{len(grid.work.cells)} to run, {done} done"
    return lines
