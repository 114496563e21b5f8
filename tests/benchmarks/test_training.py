"""Training steps per second against PEFT under the Trainer of transformers, and by precision.

A T5 of t5-small's shape with random weights, dropout on, on rows of mrpc, boolq and mnli. Each
figure is a ratio of one epoch over the same rows in the same process, once by the clock and once by
the processor time, which other programs on the machine disturb less. Run with
``tox -e benchmarks``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import datasets
import pytest
import torch

from baselines.pt import PromptTuning, PTSettings
from bench.data import EncodedExamples, encode_examples, load_splits, open_source
from bench.models.encoder_decoder import EncoderDecoderLM
from bench.tasks import get_task
from bench.training.loop import Trainer, Validation
from bench.training.settings import Batching, TrainingSettings
from bench.training.streams import TaskStream

TASKS = ("mrpc", "boolq", "mnli")
ROWS = 128
"""Of each task: 24 steps an epoch."""
BATCH = 16
PROMPT = 100
STEPS = len(TASKS) * ROWS // BATCH
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Seconds:
    """What an epoch took."""

    wall: float
    processor: float


@pytest.fixture(scope="module")
def examples(
    shared: Path, t5_small: EncoderDecoderLM, tmp_path_factory: pytest.TempPathFactory
) -> EncodedExamples:
    """The first rows of the tasks, one behind the other."""
    encoder = t5_small.encoder
    source = open_source(str(shared / "data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        parts = []
        for name in TASKS:
            rows = load_splits(source, get_task(name)).train.select(range(ROWS))
            parts.append(encode_examples(rows, get_task(name), encoder, training=True))
        ids = [example for part in parts for example in part.examples(range(ROWS))]
        lengths = [length for part in parts for length in part.lengths]
    table = datasets.Dataset.from_dict(
        {
            "input_ids": [example["input_ids"] for example in ids],
            "labels": [example["labels"] for example in ids],
            "length": lengths,
        }
    )
    return EncodedExamples(table, encoder.pad_id)


def measured(run: Callable[[], object]) -> Seconds:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return Seconds(time.perf_counter() - wall, time.process_time() - processor)


def ours(
    model: EncoderDecoderLM, examples: EncodedExamples, batching: Batching, steps: int = STEPS
) -> Seconds:
    """An epoch of prompt tuning by this project."""
    settings = TrainingSettings(
        steps=steps,
        epochs=None,
        batch_size=BATCH,
        warmup_steps=2,
        evaluate_every=steps,
        gradient_clip=1.0,
        patience=None,
        evaluation_batch_size=BATCH,
    )
    trainer = Trainer(
        model,
        PromptTuning(model.initial_prompt(PROMPT, 42), PTSettings()),
        TaskStream(examples, BATCH, 42, CPU, batching),
        settings,
        42,
        lambda: Validation({"accuracy": 0.0}),
    )
    return measured(trainer.run)


def positions(examples: EncodedExamples, batching: Batching) -> float:
    """Of an example in the encoder, prompt and padding included, on the average over an epoch."""
    stream = TaskStream(examples, BATCH, 42, CPU, batching)
    sizes = [stream.batch(step).input_ids.shape for step in range(1, STEPS + 1)]
    return sum(rows * (PROMPT + tokens) for rows, tokens in sizes) / len(examples)


def peft_epoch(model: Any, examples: EncodedExamples, tokenizer: Any, folder: Path) -> Seconds:
    """The same by PEFT: one prompt before the encoder, batches at random, dynamic padding."""
    peft = pytest.importorskip("peft", reason="the peer it is compared with, of the extra test")
    from transformers import DataCollatorForSeq2Seq, TrainingArguments
    from transformers import Trainer as PeerTrainer

    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=PROMPT, num_transformer_submodules=1
    )
    trainer = PeerTrainer(
        model=peft.get_peft_model(model, config),
        args=TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=BATCH,
            max_steps=STEPS,
            learning_rate=0.3,
            warmup_steps=2,
            weight_decay=1e-5,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            use_cpu=True,
        ),
        train_dataset=datasets.Dataset.from_list(
            [dict(example) for example in examples.examples(range(len(examples)))]
        ),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )
    return measured(trainer.train)


def told(benchmark: Any, name: str, slow: Seconds, fast: Seconds) -> None:
    wall, processor = slow.wall / fast.wall, slow.processor / fast.processor
    benchmark.extra_info[name] = {"wall": round(wall, 2), "processor": round(processor, 2)}
    print(f"\n{name}: {wall:.2f} times as fast ({processor:.2f} by processor time)")


@pytest.mark.benchmark(group="training")
def test_prompt_tuning_against_peft(
    examples: EncodedExamples,
    t5_small: EncoderDecoderLM,
    untrained: Callable[[], Any],
    tokenizer: Any,
    tmp_path: Path,
    benchmark: Any,
) -> None:
    """Aim: at least 1.3 times the examples per second, with batches by length."""
    ours(t5_small, examples, "random", steps=1)
    peer = peft_epoch(untrained(), examples, tokenizer, tmp_path)
    at_random = ours(t5_small, examples, "random")
    bucketed = benchmark.pedantic(ours, (t5_small, examples, "bucketed"), rounds=1)
    told(benchmark, "random batches over PEFT", peer, at_random)
    told(benchmark, "bucketed batches over PEFT", peer, bucketed)
    for batching in get_args(Batching):
        read = benchmark.extra_info[f"{batching} positions"] = round(positions(examples, batching))
        print(f"{batching} batches: {read} positions in the encoder an example")
    assert len(examples) == STEPS * BATCH


@pytest.mark.benchmark(group="training")
def test_bf16_against_float32(
    examples: EncodedExamples,
    t5_small: EncoderDecoderLM,
    untrained: Callable[[], Any],
    tokenizer: Any,
    benchmark: Any,
) -> None:
    """Aim: at least twice as fast, on a processor with bfloat16 instructions."""
    half = EncoderDecoderLM(untrained(), tokenizer, CPU)
    half.store_weights_in("bf16")
    for model in (t5_small, half):
        ours(model, examples, "bucketed", steps=1)
    in_float32 = ours(t5_small, examples, "bucketed")
    in_bf16 = benchmark.pedantic(ours, (half, examples, "bucketed"), rounds=1)
    told(benchmark, "bf16 over float32", in_float32, in_bf16)
    assert {weight.dtype for weight in half.model.parameters()} == {torch.bfloat16}
