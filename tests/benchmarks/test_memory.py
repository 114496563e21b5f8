"""Resident memory of a training step, on Linux; run with ``tox -e benchmarks``.

The measured process is one of its own, which tells its largest resident memory itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 8 * 2**30

T5_BASE = """
import resource, sys
import torch
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration
from baselines.pt import PromptTuning, PTSettings
from bench.models.catalog import BUNDLED
from bench.models.encoder_decoder import EncoderDecoderLM
from bench.protocol import Batch
from bench.training.loop import Trainer, Validation
from bench.training.settings import TrainingSettings

precision, rows, tokens, prompt, steps = sys.argv[1], 16, 256, 100, 1
config = T5Config(
    vocab_size=32128, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12,
    dropout_rate=0.1, decoder_start_token_id=0,
)
words = AutoTokenizer.from_pretrained(BUNDLED["tiny"].words_path)
model = EncoderDecoderLM(T5ForConditionalGeneration(config), words, torch.device("cpu"))
model.store_weights_in(precision)

class Stream:
    examples = rows * steps
    def seen(self, steps):
        return rows * steps
    def batch(self, step):
        ids = torch.randint(1, 32000, (rows, tokens))
        return Batch(ids, torch.ones_like(ids), ids[:, :4])

settings = TrainingSettings(steps, None, rows, 0, steps, 1.0, None, rows)
method = PromptTuning(model.initial_prompt(prompt, 42), PTSettings())
Trainer(model, method, Stream(), settings, 1, lambda: Validation({"accuracy": 0.0})).run()
assert all(parameter.grad is None for parameter in model.model.parameters())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.benchmark(group="memory")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_step_of_t5_base_fits_into_8_gib(precision: str, benchmark: Any) -> None:
    """A step of 16 rows of 256 tokens behind a prompt of 100."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = benchmark.pedantic(
        subprocess.run,
        ([sys.executable, "-c", T5_BASE, precision],),
        {
            "capture_output": True,
            "text": True,
            "check": True,
            "env": {**os.environ, "PYTHONPATH": path},
        },
        rounds=1,
    )
    peak = int(done.stdout)
    benchmark.extra_info["peak_resident_bytes"] = peak
    print(f"\nt5-base shape, batch 16 x 256, {precision}: {peak / 2**30:.2f} GiB resident")
    assert peak <= LIMIT
