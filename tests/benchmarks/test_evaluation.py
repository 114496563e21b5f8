"""Evaluation against what a user of transformers would write; run with ``tox -e benchmarks``.

A T5 of t5-small's shape with random weights answers real rows behind a prompt of 100 tokens, at
most 20 tokens each. The other side is ``generate`` with its defaults: the same encoded rows in the
order of the data, padded to the longest of their batch, the prompt in front as ``inputs_embeds``,
answers decoded and scored alike, in batches of 32 or, as in the preset ``paper``, of 128. Both
sides take turns in one process; a figure is the ratio of their medians, by the clock and by the
processor time, which other programs disturb less.

Random weights never end an answer. So ``as the references`` adds to the score of the end-of-text
token, for both sides, once an answer has as many tokens as the reference of its row; the row is
told by the number of its input tokens, and rows of equal length end as the last of them. The case
``never`` leaves the model alone: every row writes 20 tokens.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from torch import Tensor

from bench.data import EncodedExamples, encode_examples, load_splits, open_source
from bench.models.base import prepend
from bench.models.encoder_decoder import EncoderDecoderLM
from bench.tasks import Task, get_task
from bench.tasks.metrics import score_task
from bench.training.evaluation import evaluate, fixed_prompt

PROMPT, TURNS = 100, 3
BATCHES = 2
"""That are answered; the data may hold fewer rows."""
CORES = min(2, os.cpu_count() or 1)


@dataclass
class Side:
    """One way to evaluate, and what it took.

    Attributes:
        run: gives the answers.
        wall: seconds of each turn.
        processor: seconds of processor time of each turn.
        read: positions that went through the encoder, padding included, in all turns.
        written: rows that went through the decoder, over all steps and turns.
    """

    run: Callable[[], list[str]]
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    read: int = 0
    written: int = 0

    def turn(self, model: Any) -> list[str]:
        def reads(module: Any, args: Any, output: Any) -> None:
            self.read += output.last_hidden_state.shape[:2].numel()

        def writes(module: Any, args: Any, output: Any) -> None:
            self.written += len(output.logits)

        hooks = [
            model.get_encoder().register_forward_hook(reads),
            model.register_forward_hook(writes),
        ]
        began = time.perf_counter(), time.process_time()
        answers = self.run()
        self.wall.append(time.perf_counter() - began[0])
        self.processor.append(time.process_time() - began[1])
        for hook in hooks:
            hook.remove()
        return answers


@pytest.fixture
def examples(
    shared: Path, t5_small: EncoderDecoderLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Task, int], EncodedExamples]:
    """The first test rows of a task."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)

    def first(task: Task, number: int) -> EncodedExamples:
        rows = load_splits(open_source(str(shared / "data")), task).test
        rows = rows.select(range(min(number, len(rows))))
        return encode_examples(rows, task, t5_small.encoder, training=False)

    return first


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    yield
    torch.set_num_threads(before)


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
    yield
    hook.remove()


def as_a_user(
    lm: EncoderDecoderLM, prompt: Tensor, rows: EncodedExamples, task: Task, size: int
) -> list[str]:
    """Answers by ``generate`` as it comes, scored."""
    answers: list[str] = []
    generate: Any = lm.model.generate
    for start in range(0, len(rows), size):
        batch = rows.batch(range(start, min(start + size, len(rows))))
        embeds, mask = prepend(prompt.unsqueeze(0), lm.embed(batch.input_ids), batch.mask)
        ids = generate(inputs_embeds=embeds, attention_mask=mask, max_new_tokens=task.target_length)
        answers += lm.tokenizer.batch_decode(ids, skip_special_tokens=True)
    score_task(task, answers, rows.references, rows.groups)
    return [answer.strip() for answer in answers]


@pytest.mark.parametrize(
    ("answers", "size", "cores"),
    [
        ("as the references", 32, 1),
        ("as the references", 32, CORES),
        ("as the references", 128, CORES),
        ("never", 32, CORES),
    ],
)
@pytest.mark.parametrize("name", ["squad", "mrpc"])
@pytest.mark.benchmark(group="evaluation")
def test_evaluation(
    name: str,
    answers: str,
    size: int,
    cores: int,
    t5_small: EncoderDecoderLM,
    examples: Callable[[Task, int], EncodedExamples],
    benchmark: Any,
) -> None:
    lm, task = t5_small, get_task(name)
    prompt = lm.initial_prompt(PROMPT, 42)
    rows = examples(task, BATCHES * size)
    ours = Side(lambda: evaluate(lm, fixed_prompt(prompt), rows, task, size).predictions)
    theirs = Side(lambda: as_a_user(lm, prompt, rows, task, size))

    def take_turns() -> None:
        for _ in range(TURNS):
            found, expected = ours.turn(lm.model), theirs.turn(lm.model)
            assert found == expected

    with threads(cores):
        if answers == "never":
            benchmark.pedantic(take_turns, rounds=1)
        else:
            with ending(lm, rows):
                benchmark.pedantic(take_turns, rounds=1)
    read = TURNS * sum(length + PROMPT for length in rows.lengths)
    figures = {
        "clock": statistics.median(theirs.wall) / statistics.median(ours.wall),
        "processor": statistics.median(theirs.processor) / statistics.median(ours.processor),
        "our_seconds": statistics.median(ours.wall),
        "our_padding": ours.read / read - 1,
        "their_padding": theirs.read / read - 1,
        "our_decoder_rows": ours.written // TURNS,
        "their_decoder_rows": theirs.written // TURNS,
    }
    benchmark.extra_info.update(figures)
    print(
        f"\n{name} in {size}s, answers end {answers}, {cores} threads: "
        f"{figures['clock']:.2f} times generate "
        f"({figures['processor']:.2f} by processor time); padding {figures['our_padding']:.0%} "
        f"against {figures['their_padding']:.0%}, rows through the decoder "
        f"{figures['our_decoder_rows']} against {figures['their_decoder_rows']}"
    )
