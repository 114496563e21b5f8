"""What ``bench plan`` answers, as plain values and as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.runs.cells import Cell
from bench.runs.estimate.budget import ORDER, blocks, in_order, pick
from bench.runs.estimate.estimate import Amount, Estimator, Total, trainings_to_do
from bench.runs.estimate.preparing import make_estimator
from bench.runs.estimate.schedule import makespan
from bench.runs.grid import Grid


def answer(
    grid: Grid,
    workers: int,
    say: Callable[[str], None],
    budget: float | None = None,
    anew: bool = False,
    records: Path | None = None,
) -> dict[str, Any]:
    """The estimate of a grid, JSON-ready.

    Args:
        grid: laid out.
        workers: that are to share the work.
        say: told about progress, line by line.
        budget: seconds; None: no part is to be picked.
        anew: as for :func:`~bench.runs.estimate.preparing.make_estimator`.
        records: likewise.

    Raises:
        BenchError: as there.
    """
    cells = in_order(grid.work.cells, grid.config)
    values: dict[str, Any] = {
        "preset": grid.config.preset,
        "model": grid.config.model,
        "data": grid.config.data,
        "cells": {"to_run": len(cells), "done": len(grid.plan.cells) - len(cells)},
        "prompts": {"to_train": len(trainings_to_do(grid)), "exist": _existing(grid)},
        "workers": workers,
    }
    if not cells:
        return values
    estimator = make_estimator(grid, workers, say, anew, records)
    read, costs = estimator.workload.rows_read(), estimator.costs
    values["rows_read"] = {"read": read.read, "all": read.all}
    values["costs"] = {"from": costs.origin, "notes": list(costs.notes)}
    values["estimate"] = _total(estimator.total(cells), costs.share)
    if budget is not None:
        values["budget_seconds"] = budget
        values["picked"] = _picked(grid, estimator, cells, budget)
    return values


def _existing(grid: Grid) -> int:
    store = grid.folder.prompts
    return sum(store.has(digest) for digest in grid.plan.trainings)


def _picked(
    grid: Grid, estimator: Estimator, cells: Sequence[Cell], budget: float
) -> dict[str, Any]:
    start, workers = estimator.costs.start, estimator.workers
    if start + makespan(estimator.units(cells), workers) <= budget:
        chosen = list(cells)
    else:
        chosen = pick(cells, estimator.units, workers, budget - start)
    inside = {cell.digest for cell in chosen}
    return {
        "order": ORDER,
        "estimate": _total(estimator.total(chosen), estimator.costs.share) if chosen else None,
        "in": [_cell(cell) for cell in chosen],
        "out": [_cell(cell) for cell in cells if cell.digest not in inside],
        "runs": [block.options() for block in blocks(chosen, grid.config)],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    training = cell.training
    return {
        "digest": cell.digest,
        "seed": training.seed,
        "shots": training.shots,
        "method": training.method.label,
        "task": training.task,
    }


def _total(total: Total, share: float | None) -> dict[str, Any]:
    return {
        "seconds": total.seconds,
        "expected_seconds": total.expected,
        "observed_share_of_steps": None if total.expected is None else share,
        "early_stopping": total.patience,
        **_amount(total.all()),
        "parts": {name: _amount(amount) for name, amount in total.rows.items()},
        "disk_bytes": {
            "prompts": round(total.disk.prompts),
            "records": round(total.disk.records),
            "checkpoints": round(total.disk.checkpoints),
        },
    }


def _amount(amount: Amount) -> dict[str, Any]:
    return {
        "cells": amount.cells,
        "trainings": amount.trainings,
        "steps": amount.steps,
        "training_tokens": round(amount.training_tokens),
        "evaluation_tokens": round(amount.evaluation_tokens),
        "worker_seconds": amount.seconds,
    }


def render(values: dict[str, Any]) -> str:
    """The answer as text."""
    cells, prompts = values["cells"], values["prompts"]
    lines = [
        f"preset {values['preset']}, model {values['model']}, data {values['data']}",
        f"cells: {cells['to_run']} to run, {cells['done']} done",
        f"prompts: {prompts['to_train']} to train, {prompts['exist']} exist",
    ]
    if "estimate" in values:
        estimate, read = values["estimate"], values["rows_read"]
        lines += ["", *_table(estimate), ""]
        rows = f"all {read['all']:,}"
        if read["read"] < read["all"]:
            rows = f"{read['read']:,} of {read['all']:,}"
        lines.append(
            "tokens: inputs and right answers in training, inputs in evaluation, without prompt "
            f"and padding; from the lengths of {rows} rows"
        )
        workers = values["workers"]
        lines.append(f"time: {_time(estimate)} with {workers} worker{'s' if workers > 1 else ''}")
        lines.append(f"disk: {_disk(estimate['disk_bytes'])}")
        lines.append(f"costs from: {values['costs']['from']}")
        lines += [f"note: {note}" for note in values["costs"]["notes"]]
    if "picked" in values:
        lines += ["", *_picked_lines(values)]
    return "\n".join(lines)


def _table(estimate: dict[str, Any]) -> list[str]:
    from tabulate import tabulate

    rows = [
        (
            name,
            part["cells"],
            part["trainings"],
            f"{part['steps']:,}",
            f"{part['training_tokens']:,}",
            f"{part['evaluation_tokens']:,}",
            duration(part["worker_seconds"]),
        )
        for name, part in [*estimate["parts"].items(), ("all", estimate)]
    ]
    heads = ("", "cells", "trainings", "steps", "training tokens", "evaluation tokens", "time")
    return tabulate(
        rows, heads, tablefmt="simple", disable_numparse=True, colalign=("left", *["right"] * 6)
    ).splitlines()


def _time(estimate: dict[str, Any]) -> str:
    text = f"{estimate['seconds'] / 3600:.2f} h ({duration(estimate['seconds'])})"
    if not estimate["early_stopping"]:
        return text
    if estimate["expected_seconds"] is None:
        return f"at most {text}, as training.patience may end trainings early"
    share = estimate["observed_share_of_steps"]
    expected = duration(estimate["expected_seconds"])
    return f"at most {text}; {expected} if patience leaves {share:.0%} of the steps, as observed"


def _disk(sizes: dict[str, int]) -> str:
    kept = sizes["prompts"] + sizes["records"]
    return (
        f"{megabytes(kept)} (prompts {megabytes(sizes['prompts'])}, records and answers "
        f"{megabytes(sizes['records'])}), and checkpoints of {megabytes(sizes['checkpoints'])} "
        "while it runs"
    )


def _picked_lines(values: dict[str, Any]) -> list[str]:
    picked = values["picked"]
    found, left = picked["in"], picked["out"]
    lines = [
        f"budget {duration(values['budget_seconds'])}: {len(found)} of {len(found) + len(left)} "
        "cells fit",
        f"order: {picked['order']}",
    ]
    if picked["estimate"] is not None:
        lines.append(f"time: {_time(picked['estimate'])}")
    for title, cells in (("in:", found), ("out:", left)):
        if cells:
            lines += [title, *_rows(cells)]
    if picked["commands"]:
        lines += ["to run what is in:", *(f"  {command}" for command in picked["commands"])]
    return lines


def _rows(cells: Sequence[dict[str, Any]]) -> list[str]:
    """One line for the tasks of a method, by seed and shots."""
    rows: dict[str, list[str]] = {}
    for cell in cells:
        shots = "full data" if cell["shots"] is None else f"{cell['shots']} shots"
        name = f"seed {cell['seed']}, {shots}, {cell['method']}"
        rows.setdefault(name, []).append(cell["task"])
    return [f"  {name}: {', '.join(tasks)}" for name, tasks in rows.items()]


def duration(seconds: float) -> str:
    """Seconds in two units at most, such as ``3 h 5 min``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min"


def megabytes(size: float) -> str:
    """Bytes in MB, or in GB where that is more than one."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


__all__ = ["answer", "render"]
