"""Times training steps, and several workers that share a device; for whoever has a GPU.

    PYTHONPATH=. python tests/benchmarks/gpu.py > gpu.md

A T5 of t5-base's shape has random weights. The first table has the training steps of each method on
random tokens; the second a few-shot grid on bundled samples, which ``bench run`` does with one
worker and with several. ``--small`` is for a CPU: does it run?
"""

import argparse
import math
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import datasets
import torch
import transformers
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

from bench.config import load_config
from bench.data import EncodedExamples, TaskBatches
from bench.method import PromptMethod, SoftPrompt, StartPrompts, tensor_digest
from bench.models.base import FrozenLM
from bench.models.encoder_decoder import EncoderDecoderLM
from bench.models.loading import BUNDLED, Precision
from bench.registry import parse_method
from bench.tasks import SUITES
from bench.training.callbacks import TrainingInfo
from bench.training.loop import Validation, train

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("pt", "spot", "attempt", "mpt", "dtvg")


class Scale(NamedTuple):
    """What is measured: rows of a batch, tokens of input and prompt, timed steps; the grid."""

    shape: dict[str, int]  # Of the T5 model, where it differs from t5-small.
    rows: int = 16
    tokens: int = 256
    prompt: int = 100
    steps: int = 25
    runs: int = 8
    run_steps: int = 200
    workers: int = 4


T5_BASE = Scale({"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12})
TINY = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4}
SMALL = Scale(TINY, rows=2, tokens=16, prompt=4, steps=2, runs=2, run_steps=2, workers=2)


def make_model(scale: Scale, precision: Precision, device: str) -> FrozenLM:
    """T5 with random weights; its tokenizer has fewer entries than the model has embeddings."""
    torch.manual_seed(0)
    weights = T5ForConditionalGeneration(T5Config(**scale.shape, decoder_start_token_id=0))
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED["tiny"].path)
    model = EncoderDecoderLM(weights, tokenizer, torch.device(device))
    model.store_weights_in(precision)
    return model


def make_method(name: str, initial: torch.Tensor) -> PromptMethod:
    """A method with random source prompts that have something in common with the target."""
    draw = torch.Generator().manual_seed(1)
    learned, *apart = 0.1 * torch.randn(7, *initial.shape, generator=draw)
    names, digest = SUITES["sources"], tensor_digest(initial)
    pairs = zip(names, apart, strict=True)
    sources = tuple(SoftPrompt(task, initial + learned + own, digest) for task, own in pairs)
    spec, shared = parse_method(name, {}), None
    needs = spec.load().needs(spec.settings)
    if needs.source_stage:
        given = StartPrompts(initial, sources)
        stage = spec.load().source_stage(spec.settings, given, dict.fromkeys(names, 100))
        shared = stage.source_state()
    target = SoftPrompt("mrpc", initial + learned, digest) if needs.target else None
    parts = StartPrompts(initial, sources if needs.sources else (), target, shared)
    return spec.load().build(spec.settings, parts)


def time_steps(model: FrozenLM, name: str, scale: Scale, steps: int) -> float:
    """Seconds of some training steps of a method."""
    ids = torch.randint(3, 500, (8 * scale.rows, scale.tokens)).tolist()
    columns = {"input_ids": ids, "labels": [row[:4] for row in ids]}
    rows = EncodedExamples(datasets.Dataset.from_dict(columns), pad_id=0)
    batches = TaskBatches(rows, scale.rows, 42, model.device)
    changes = {"steps": steps, "evaluate_every": steps, "batch_size": scale.rows}
    settings = load_config("smoke").training.model_copy(update=changes)
    method = make_method(name, model.initial_prompt(scale.prompt, 42))
    info = TrainingInfo("gpu", f"mrpc {name}")
    nothing = Validation({"none": 0.0}, 0.0, None)
    began = time.perf_counter()
    train(model, method, batches, settings, 42, lambda: nothing, info=info)
    return time.perf_counter() - began  # The loop reads the loss, so the device has finished.


def peak_gib() -> float:
    """GiB that PyTorch held on the GPU; NaN without one."""
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else math.nan


def time_grid(model: Path, scale: Scale, workers: int, device: str) -> float:
    """Seconds of ``bench run`` on a few-shot grid, from the start of the command to its end."""
    seeds = ",".join(map(str, range(scale.runs)))
    options = [f"training.{key}={scale.run_steps}" for key in ("steps", "evaluate_every")]
    options += [f"prompt_length={scale.prompt}", "training.warmup_steps=0"]
    words = ["run", "--task", "mrpc", "--method", "pt", "--shots", "16", "--seeds", seeds]
    words += [word for option in options for word in ("--set", option)]
    words += ["--model", str(model), "--device", device, "--workers", str(workers), "--quiet"]
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "bench.cli", *words, "--out", out]
        began = time.perf_counter()
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began


def line(*values: object) -> None:
    """Print a row of a table."""
    texts = [f"{value:.2f}" if isinstance(value, float) else str(value) for value in values]
    print(f"| {' | '.join(texts)} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a tiny model: does it run at all?")
    scale = SMALL if parser.parse_args(arguments).small else T5_BASE
    device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    print(f"{where}, Python {platform.python_version()}, PyTorch {torch.__version__}, ", end="")
    print(f"transformers {transformers.__version__}; {scale}\n")
    line("precision", "method", "ms a step", "examples per second", "peak GiB")
    line(*["---"] * 5)
    for precision in ("float32", "bf16"):
        model = make_model(scale, precision, device)
        for name in METHODS:
            time_steps(model, name, scale, steps=3)
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            step = time_steps(model, name, scale, scale.steps) / scale.steps
            line(precision, name, 1000 * step, scale.rows / step, peak_gib())
    del model
    print()
    line("workers", "seconds for the grid", "times as fast")
    line(*["---"] * 3)
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(scale, "float32", "cpu")
        model.model.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        alone = time_grid(Path(folder), scale, 1, device)
        line(1, alone, 1.0)
        together = time_grid(Path(folder), scale, scale.workers, device)
        line(scale.workers, together, alone / together)


if __name__ == "__main__":
    main()
