"""Training of a T5 of t5-small's shape with random weights, dropout on, on real rows."""

from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from baselines.pt import PromptTuning, PTSettings
from bench.config import load_config
from bench.data import EncodedExamples, Examples, TaskBatches
from bench.method import PromptMethod
from bench.models.encoder_decoder import EncoderDecoderLM
from bench.training.callbacks import TrainingInfo
from bench.training.loop import Validation, train
from dtvg import DTVGPrompt
from tests.benchmarks.conftest import BATCH, PROMPT, peft_trainer, untrained, wrapped

TASKS = ("mrpc", "boolq", "mnli")
ROWS = 128  # Of each task.
EPOCH = len(TASKS) * ROWS // BATCH  # Steps.
INFO = TrainingInfo("benchmark", "mrpc pt full data seed 42")


STEP = """
import resource, gpu
gpu.time_steps(gpu.make_model(gpu.T5_BASE, "float32", "cpu"), "pt", gpu.T5_BASE, steps=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_of_a_step_of_t5_base(peaks: Any, figure: Any) -> None:
    """16 rows of 256 tokens behind a prompt of 100."""
    figure("GiB", *peaks(STEP, []), most=9)


@pytest.fixture(scope="module")
def rows(examples: Examples) -> EncodedExamples:
    """Rows of three tasks, one task behind the other."""
    tables = [examples.training(name, ROWS, 42).table for name in TASKS]
    return EncodedExamples(datasets.concatenate_datasets(tables), examples.encoder.pad_id)


def prompt_tuning(model: EncoderDecoderLM) -> PromptTuning:
    return PromptTuning(model.initial_prompt(PROMPT, 42), PTSettings())


def train_steps(
    model: EncoderDecoderLM, method: PromptMethod[Any], rows: EncodedExamples, steps: int
) -> None:
    """Train in batches by length, without an evaluation."""
    changes = {"steps": steps, "evaluate_every": steps, "warmup_steps": 2, "batch_size": BATCH}
    settings = load_config("smoke").training.model_copy(update=changes)
    batches = TaskBatches(rows, BATCH, 42, model.device, "bucketed")
    nothing = Validation({"accuracy": 0.0}, 0.0, None)
    train(model, method, batches, settings, 42, lambda: nothing, info=INFO)


def test_prompt_tuning_against_peft(
    rows: EncodedExamples, t5_small: EncoderDecoderLM, tmp_path: Path, ratio: Any
) -> None:
    """An epoch in batches by length, against the Trainer of transformers in random ones."""
    table = rows.table.select_columns(["input_ids", "labels"])
    options = {"max_steps": EPOCH, "learning_rate": 0.3, "warmup_steps": 2, "weight_decay": 1e-5}
    model = wrapped(untrained(), "SEQ_2_SEQ_LM")
    peer = peft_trainer(model, table, t5_small.tokenizer, tmp_path, **options)
    train_steps(t5_small, prompt_tuning(t5_small), rows, 1)
    ours = partial(train_steps, t5_small, prompt_tuning(t5_small), rows, EPOCH)
    ratio("times as fast as PEFT", peer.train, ours, rounds=1, least=1.5)
    assert peer.state.global_step == EPOCH


def test_bf16_against_float32(rows: Any, t5_small: Any, ratio: Any) -> None:
    told = Path("/proc/cpuinfo")
    if not told.exists() or "bf16" not in told.read_text():
        pytest.skip("needs a processor with bfloat16 instructions (as Linux tells)")
    half = EncoderDecoderLM(untrained(), t5_small.tokenizer, torch.device("cpu"))
    half.store_weights_in("bf16")
    steps = EPOCH // 3
    actions = [partial(train_steps, m, prompt_tuning(m), rows, steps) for m in (t5_small, half)]
    ratio("times as fast in bf16", *actions, rounds=3, least=2)
    assert {weight.dtype for weight in half.model.parameters()} == {torch.bfloat16}


def test_dtvg_against_pt(examples: Examples, t5_small: EncoderDecoderLM, ratio: Any) -> None:
    """Steps with six sources, all of which go with the target."""
    initial = t5_small.initial_prompt(PROMPT, 42)
    noise = 0.1 * torch.randn(7, *initial.shape, generator=torch.Generator().manual_seed(0))
    target, sources = initial + noise[0], initial + noise[0] + noise[1:]
    methods = [DTVGPrompt(initial, target, sources), prompt_tuning(t5_small)]
    mrpc = examples.training("mrpc", BATCH, 42)
    actions = [partial(train_steps, t5_small, method, mrpc, 2) for method in methods]
    ratio("time of a step over PT's", *actions, rounds=7, most=1.1)
