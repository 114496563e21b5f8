"""The model card of an exported prompt: what it is, how it was made, how to load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bench.models.encoders import MARK
from bench.models.info import folder_name, is_folder_name
from bench.record_blocks import ModelBlock, Record, ScoresBlock
from bench.runs.prompts import PromptCard

LICENCE = """\
No licence is stated here, as the prompt is derived from the frozen model and from the training
data: both have licences of their own, which apply to what you do with it. Check them, and state
yours in the head of this file, before you publish the prompt."""


def base_model(model: ModelBlock) -> tuple[str | None, str | None]:
    """Where ``transformers`` finds the frozen model, and its revision; None if it does not."""
    if model.bundled:
        return None, None
    if is_folder_name(model.name):
        return folder_name(str(Path(model.name).expanduser())), None
    name, _, revision = model.name.partition("@")
    return name, revision or None


def model_card(record: Record, card: PromptCard) -> str:
    """The card in Markdown, with the metadata of the Hugging Face hub at its head.

    Args:
        record: of the finished cell.
        card: of its prompt.
    """
    cell = record.cell
    name, _ = base_model(cell.model)
    head: dict[str, Any] = {
        "library_name": "peft",
        "tags": ["prompt-tuning", "dtvg-bench", cell.method.name],
    }
    if name is not None and not is_folder_name(name):
        head["base_model"] = name
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# Soft prompt: {cell.task}, {cell.method.label}",
        *_warnings(record),
        f"{cell.prompt_length} soft tokens for the {_place(cell.model)} of a frozen language "
        "model, trained with dtvg-bench and stored as a PEFT prompt tuning adapter.",
        _table(_facts(record, card)),
        *_scores(record),
        f"## Load\n\n{_loading(cell.model)}",
        "The prompt was trained on inputs in the text form of this task in dtvg-bench "
        f"(`bench.tasks.get_task({cell.task!r}).to_text`){_mark(cell.model)}; give it others at "
        "your own risk.",
        f"## Licence\n\n{LICENCE}",
    ]
    return "\n\n".join(parts) + "\n"


def _place(model: ModelBlock) -> str:
    return "encoder input" if model.kind == "encoder-decoder" else "input"


def _mark(model: ModelBlock) -> str:
    """What an input ends with, where the model must be told that the answer follows."""
    return "" if model.kind == "encoder-decoder" else f", each followed by `{MARK}`"


def _warnings(record: Record) -> list[str]:
    """What keeps the scores from being a result about the method."""
    toys = []
    if record.cell.model.bundled:
        toys.append(f"the bundled toy model ({record.cell.model.note})")
    if record.cell.data.kind == "bundled":
        toys.append("bundled sample rows made by a program")
    if not toys:
        return []
    return [f"> **Not a result.** Trained on {' and '.join(toys)}: it shows that the tools work."]


def _facts(record: Record, card: PromptCard) -> dict[str, object]:
    cell, data, model = record.cell, record.cell.data, record.cell.model
    settings = ", ".join(f"{key}={value}" for key, value in cell.method.settings.items())
    revision = "" if data.revision is None else f", revision {data.revision}"
    facts: dict[str, object] = {
        "task": cell.task,
        "method": f"{cell.method.label} ({settings})",
        "model": f"{model.name} ({model.kind}, digest {model.digest})",
        **_model_note(model),
        "data": f"{data.name} ({data.kind}{revision}, fingerprint {data.fingerprint})",
        "shots": "full data" if cell.shots is None else f"{cell.shots} training examples",
        "seed": f"{cell.seed} (splits: {cell.data_seed})",
        "preset": cell.preset,
        "trained parameters": f"{card.trainable_parameters:,}",
    }
    if record.training is not None:
        done = record.training
        facts["steps"] = f"{done.steps}, this prompt: step {done.best_step}"
    if record.rows is not None:
        rows = record.rows
        facts["rows"] = f"{rows.train} training, {rows.validation} validation, {rows.test} test"
        if rows.notes:
            facts["notes"] = "; ".join(rows.notes)
    if cell.requires:
        facts["started from prompts"] = ", ".join(digest[:12] for digest in cell.requires)
    facts["cell"] = record.digest
    facts["prompt"] = card.digest
    facts["initial prompt"] = card.initial_digest
    return facts


def _model_note(model: ModelBlock) -> dict[str, object]:
    """What the reader must know of a model that is not bundled, such as another tokenizer."""
    return {"model note": model.note} if model.note and not model.bundled else {}


def _scores(record: Record) -> list[str]:
    scores, rows = record.scores, record.rows
    if scores is None or rows is None:
        return []
    lines = [f"## Scores\n\n{_score_table(scores, rows.test)}"]
    lines += [f"{_cell(f'{name} is left out: {why}')}." for name, why in scores.left_out.items()]
    if record.majority is not None:
        value = record.majority.test.get(scores.table_metric)
        if value is not None:
            lines.append(
                f"Always answering the most frequent training label ({record.majority.label}) "
                f"scores {scores.table_metric} {value:.2f} on the same test rows."
            )
    return lines


def _score_table(scores: ScoresBlock, rows: int) -> str:
    lines = [f"| metric | test ({rows} rows) | validation |", "|---|---|---|"]
    for name, value in scores.test.items():
        validation = scores.validation.get(name)
        shown = "" if validation is None else f"{validation:.2f}"
        lines.append(f"| {_cell(name)} | {value:.2f} | {shown} |")
    return "\n".join(lines)


def _loading(model: ModelBlock) -> str:
    name, revision = base_model(model)
    if name is None:
        lines = [
            "from bench.models.loading import load",
            "from peft import PeftModel",
            "",
            f"model = load({model.name!r}).model",
        ]
    else:
        pinned = "" if revision is None else f", revision={revision!r}"
        kind = "Seq2SeqLM" if model.kind == "encoder-decoder" else "CausalLM"
        lines = [
            "from peft import PeftModel",
            f"from transformers import AutoModelFor{kind}",
            "",
            f"model = AutoModelFor{kind}.from_pretrained({name!r}{pinned})",
        ]
    lines.append('model = PeftModel.from_pretrained(model, "path/to/this/folder")')
    return "\n".join(["```python", *lines, "```"])


def _table(facts: dict[str, object]) -> str:
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in facts.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _cell(value: object) -> str:
    """Text for a cell of a table: one line, no mark of Markdown or HTML taking effect."""
    text = " ".join(str(value).split())
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}")
    return text
