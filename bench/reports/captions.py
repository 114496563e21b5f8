"""What stands above a table: everything a reader must know to judge its numbers."""

from __future__ import annotations

from bench.records import ModelBlock
from bench.reports.settings import Setting
from bench.reports.tables import Table

DASH = "\N{EN DASH}"
"""Stands for a value that is not there."""

_DATA = {
    "bundled": "bundled samples (generated, not the published datasets)",
    "hub": "datasets of the Hugging Face hub",
}


def caption(table: Table) -> str:
    """The caption of a table, as plain text in one line."""
    sentences = [setting_sentence(table.setting, table.seeds)]
    if table.differences:
        sentences.append(f"Unlike the other tables: {'; '.join(table.differences)}.")
    sentences.append(_reading(len(table.seeds)))
    sentences.append(_gaps(table))
    return " ".join(sentences)


def setting_sentence(
    setting: Setting,
    seeds: tuple[int, ...],
    *,
    models: tuple[ModelBlock, ...] = (),
    shots: tuple[int, ...] = (),
) -> str:
    """Model, data, shots, prompt length, preset and seeds in one sentence.

    Args:
        setting: of the records.
        seeds: that occur.
        models: all that occur; empty: that of the setting.
        shots: all that occur; empty: that of the setting.
    """
    known = models or (setting.model,)
    if shots:
        shown = f"{', '.join(map(str, shots))} shots"
    else:
        shown = "full training data" if setting.shots is None else f"{setting.shots} shots"
    seed_list = ", ".join(str(seed) for seed in seeds)
    return (
        f"Model{'s' if len(known) > 1 else ''} {' and '.join(map(_model, known))}; data: "
        f"{_DATA.get(setting.data_kind, f'local folder {setting.data_name}')}; {shown}; "
        f"prompt length {setting.prompt_length}; preset {setting.preset}; "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {seed_list}; data seed {setting.data_seed}."
    )


def _model(model: ModelBlock) -> str:
    about = [model.kind, f"{model.parameters:,} parameters"]
    if model.bundled:
        about.append("bundled with the package, not comparable with published results")
    if model.note:
        about.append(model.note)
    return f"{model.name} ({', '.join(about)})"


def _reading(seeds: int) -> str:
    if seeds == 1:
        spread = "Test scores in percent, of a single seed (no ±)."
    else:
        spread = (
            "Test scores in percent: mean ± sample standard deviation over seeds, "
            f"with (n=…) where fewer than {seeds} seeds finished."
        )
    return (
        f"{spread} Best value of a column in bold. Average: mean over all columns, "
        f"{DASH} where a row lacks one."
    )


def _gaps(table: Table) -> str:
    text = (
        f"Cells (one method, task and seed): {table.grid} in all, {table.failed} failed, "
        f"{table.missing} missing."
    )
    if table.conflicts:
        text += (
            f" {table.conflicts} have several records that started from different prompts and are "
            "shown as conflict: move the outdated ones away."
        )
    return text


__all__ = ["DASH", "caption", "setting_sentence"]
