"""Answers to rows of squad, against ``generate`` of transformers on rows in the order of the data.

Random weights never end an answer, so the score of the end token is raised on both sides once an
answer is as long as the reference of its row, which its number of input tokens tells.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from bench.data import EncodedExamples, Examples
from bench.models.base import prepend
from bench.models.encoder_decoder import EncoderDecoderLM
from bench.tasks import Task
from bench.tasks.metrics import score_task
from bench.training.evaluation import evaluate, fixed_prompt

PROMPT, BATCH, BATCHES = 100, 128, 2
"""The batch is that of the preset ``paper``."""


@contextmanager
def ending(lm: EncoderDecoderLM, rows: EncodedExamples) -> Iterator[None]:
    """Within it an answer has the length of its row's reference."""
    ends = torch.zeros(max(rows.lengths) + 1, dtype=torch.long)
    for length, row in zip(rows.lengths, rows.examples(range(len(rows))), strict=True):
        ends[length] = len(row["labels"])

    def end(module: Any, args: Any, options: dict[str, Any], output: Any) -> None:
        written = options["past_key_values"].get_seq_length()
        due = ends[options["attention_mask"].sum(dim=1) - PROMPT] <= written
        output.logits[due, -1, lm.tokenizer.eos_token_id] = torch.inf

    hook: Any = lm.model.register_forward_hook(end, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def generated(lm: EncoderDecoderLM, prompt: Tensor, rows: EncodedExamples, task: Task) -> list[str]:
    """Answers by ``generate`` with its defaults, scored."""
    answers: list[str] = []
    generate: Any = lm.model.generate
    for start in range(0, len(rows), BATCH):
        batch = rows.batch(range(start, min(start + BATCH, len(rows))))
        embeds, mask = prepend(prompt.unsqueeze(0), lm.embed(batch.input_ids), batch.mask)
        ids = generate(inputs_embeds=embeds, attention_mask=mask, max_new_tokens=task.target_length)
        answers += lm.tokenizer.batch_decode(ids, skip_special_tokens=True)
    score_task(task, answers, rows.references, rows.groups)
    return [answer.strip() for answer in answers]


def test_answers_to_squad(examples: Examples, t5_small: EncoderDecoderLM, ratio: Any) -> None:
    task, pad_id = examples.task("squad"), t5_small.encoder.pad_id
    table = examples.evaluation("squad", "test").table
    rows = EncodedExamples(table.select(range(BATCH * BATCHES)), pad_id)
    prompt = t5_small.initial_prompt(PROMPT, 42)
    answers: dict[str, list[str]] = {}

    def ours() -> None:
        source = fixed_prompt(prompt)
        answers["ours"] = evaluate(t5_small, source, rows, task, BATCH).predictions

    def theirs() -> None:
        answers["theirs"] = generated(t5_small, prompt, rows, task)

    with ending(t5_small, rows):
        ratio("times as fast as generate", theirs, ours, rounds=1, least=1.7)
    assert answers["ours"] == answers["theirs"]
