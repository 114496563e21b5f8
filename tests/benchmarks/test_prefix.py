"""A prompt that rows share, on a Llama of SmolLM2-135M's shape with random weights, on real rows.

It stands against a prompt for each row, and against PEFT's PromptTuning, which also computes scores
of all positions.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import datasets
import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from baselines.pt import PromptTuning, PTSettings
from bench.data import EncodedExamples, Examples, open_source
from bench.method import Batch, ModelOutput
from bench.models.decoder_only import DecoderOnlyLM
from bench.training.evaluation import evaluate, fixed_prompt
from bench.training.loop import adamw, backward
from tests.benchmarks.conftest import BATCH, PROMPT, peft_trainer, wrapped

STEPS, ROWS, ANSWER = 2, 500, 4
SHAPE = {"hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3}
SHAPE |= {"intermediate_size": 1536, "vocab_size": 49152}


class Apart(DecoderOnlyLM):
    """Every row has its own prompt."""

    def run(self, prompt: Tensor, batch: Batch, prompt_index: Tensor | None = None) -> ModelOutput:
        return super().run(prompt.expand(len(batch), -1, -1), batch, prompt_index)


def make_models(shared: Path) -> tuple[DecoderOnlyLM, DecoderOnlyLM]:
    """The two ways with one model."""
    torch.manual_seed(0)
    module = LlamaForCausalLM(LlamaConfig(**SHAPE, num_hidden_layers=30, tie_word_embeddings=True))
    words = AutoTokenizer.from_pretrained(shared / "tokenizers" / "t5")
    cpu = torch.device("cpu")
    return DecoderOnlyLM(module, words, cpu), Apart(module, words, cpu)


def read_rows(lm: DecoderOnlyLM, shared: Path) -> Examples:
    return Examples(open_source(str(shared / "data")), lm.encoder, data_seed=42)


def train_steps(lm: DecoderOnlyLM, batches: list[Batch]) -> None:
    """Training steps of PT."""
    method = PromptTuning(lm.initial_prompt(PROMPT, 42), PTSettings())
    optimiser = adamw(method.parameter_groups())
    with lm.training():
        for batch in batches:
            backward(lm, method, batch, 0, len(batch))
            optimiser.step()


def sequences(rows: EncodedExamples) -> datasets.Dataset:
    """Input and answer as one text each, in their order."""
    texts = []
    for row in rows.examples(range(len(rows))):
        read, answer = list(row["input_ids"]), list(row["labels"])
        texts.append({"input_ids": read + answer, "labels": [-100] * len(read) + answer})
    return datasets.Dataset.from_list(texts)


def predicted(batch: Batch) -> float:
    """Positions with a prompt for each row, over those with a shared one."""
    width = batch.mask.shape[1] + batch.labels.shape[1] - 1
    return len(batch) * (PROMPT + width) / (PROMPT + len(batch) * width)


def processor(times: list[Any]) -> list[float]:
    """Median seconds of each action."""
    return [median(seconds) for _, seconds in times]


@pytest.mark.parametrize("task", ["sst2", "rte"])
def test_training(task: str, shared: Path, tmp_path: Path, in_turn: Any, figure: Any) -> None:
    ours, apart = make_models(shared)
    rows = read_rows(ours, shared).training(task, STEPS * BATCH, 42)
    batches = [rows.batch(range(at, at + BATCH)) for at in range(0, STEPS * BATCH, BATCH)]
    model, order = wrapped(ours.model, "CAUSAL_LM"), {"train_sampling_strategy": "sequential"}
    tokenizer, options = ours.tokenizer, {"max_steps": STEPS, **order}
    peer = peft_trainer(model, sequences(rows), tokenizer, tmp_path, **options)
    train_steps(ours, batches[:1])
    steps = [partial(train_steps, lm, batches) for lm in (ours, apart)]
    together, each, theirs = processor(in_turn(*steps, peer.train, rounds=1))
    expected = sum(map(predicted, batches)) / len(batches)
    figure("predicted", expected)
    figure("times as fast as a prompt for each row", each / together, least=0.85 * expected)
    figure("times as fast as PEFT", theirs / together, least=2.5 if task == "sst2" else 1)
    assert peer.state.global_step == STEPS


def test_answers_to_sst2(shared: Path, in_turn: Any, figure: Any) -> None:
    """Greedy answers of four tokens, against ``generate`` in the order of the data."""
    lm, _ = make_models(shared)
    examples = read_rows(lm, shared)
    task = replace(examples.task("sst2"), target_length=ANSWER)
    table = examples.evaluation("sst2", "validation").table
    rows = EncodedExamples(table.select(range(min(ROWS, len(table)))), lm.encoder.pad_id)
    source, model = fixed_prompt(lm.initial_prompt(PROMPT, 42)), wrapped(lm.model, "CAUSAL_LM")

    def theirs() -> None:
        texts = [{"input_ids": list(row["input_ids"])} for row in rows.examples(range(len(rows)))]
        for at in range(0, len(texts), BATCH):
            inputs = lm.tokenizer.pad(
                texts[at : at + BATCH], padding_side="left", return_tensors="pt"
            )
            with torch.no_grad():
                model.generate(**inputs, max_new_tokens=ANSWER, do_sample=False)

    ours = partial(evaluate, lm, source, rows, task, BATCH)
    together, peer = processor(in_turn(ours, theirs, rounds=1))
    figure("times as fast as PEFT", peer / together, least=2.8)


MEMORY = """
import resource, sys
from pathlib import Path
import torch
import test_prefix as own
torch.set_num_threads(1)
ours, apart = own.make_models(Path(sys.argv[2]))
ids = torch.randint(3, 30000, (own.BATCH, 47))
batch = own.Batch(ids, torch.ones_like(ids), ids[:, :2])
before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
own.train_steps(ours if sys.argv[1] == "shared" else apart, [batch])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)
"""


def test_activations(shared: Path, peaks: Any, figure: Any) -> None:
    """Peak of a training step of 16 rows with 48 tokens, minus what was there before."""
    together, each = peaks(MEMORY, ["shared", str(shared)], ["apart", str(shared)])
    figure("GiB, a prompt for each row", each)
    figure("GiB, a shared prompt", together)
    figure("share", together / each, most=0.6)
