"""What stands above a table: everything a reader must know to judge its numbers."""

from __future__ import annotations

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


def setting_sentence(setting: Setting, seeds: tuple[int, ...]) -> str:
    """Model, data, shots, prompt length, preset and seeds in one sentence."""
    model = setting.model
    about = [model.kind, f"{model.parameters:,} parameters"]
    if model.bundled:
        about.append("bundled with the package, not comparable with published results")
    if model.note:
        about.append(model.note)
    shots = "full training data" if setting.shots is None else f"{setting.shots} shots"
    seed_list = ", ".join(str(seed) for seed in seeds)
    return (
        f"Model {model.name} ({', '.join(about)}); data: "
        f"{_DATA.get(setting.data_kind, f'local folder {setting.data_name}')}; {shots}; "
        f"prompt length {setting.prompt_length}; preset {setting.preset}; "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {seed_list}; data seed {setting.data_seed}."
    )


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
