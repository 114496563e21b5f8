"""How fast cells of t5-base train together on one device, against what the device can do.

    PYTHONPATH=. python tests/benchmarks/gpu.py --out results/speed

prints a table and stores it as ``t5-base.md`` and ``t5-base.csv``: for each precision and each
number ``K`` of cells that share their passes, examples per second, peak memory, and the share of
the matrix-product peak. Needs no data and no network: weights and token ids are random.

The peak is what one large product of two matrices of the same type reaches on the same device. The
share counts the products of matrices that a step does (as PyTorch's counter sees them) and nothing
else, so softmax, norms, dropout and the optimiser show as time that is missing from it.
"""

from __future__ import annotations

import argparse
import csv
import platform
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

from baselines.pt import PromptTuning, PTSettings
from bench.models.base import DTYPES, FrozenLM
from bench.models.catalog import BUNDLED
from bench.models.encoder_decoder import EncoderDecoderLM
from bench.models.info import Precision
from bench.protocol import Batch
from bench.training.listeners import Listener
from bench.training.loop import Trainer, TrainingResult, Validation
from bench.training.packing import train_together
from bench.training.settings import TrainingSettings

T5_BASE = {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12}
SMALL = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4, "vocab_size": 500}

PRECISIONS: tuple[Precision, ...] = ("bf16", "float32")


@dataclass(frozen=True)
class Scale:
    """What is measured.

    Attributes:
        shape: of the T5 model, what differs from t5-small.
        together: numbers of cells that share their passes.
        rows: per cell and step.
        tokens: of each input, without the prompt.
        targets: tokens of each answer.
        prompt: tokens of the prompt.
        warmup: steps that are not counted.
        steps: those that are.
        matrix: side of the square matrices behind the peak.
    """

    shape: dict[str, int]
    together: tuple[int, ...] = (1, 2, 4, 8, 16)
    rows: int = 16
    tokens: int = 256
    targets: int = 4
    prompt: int = 100
    warmup: int = 5
    steps: int = 25
    matrix: int = 8192


SCALES = {
    "t5-base": Scale(T5_BASE),
    "small": Scale(SMALL, (1, 2), 2, 16, 2, 4, 1, 2, 64),
}


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        precision: of the frozen weights.
        cells: that train together.
        shared: by how many of them the passes were shared; fewer where memory ran out.
        examples_per_second: of all cells.
        speedup: over one cell.
        peak_memory_gib: on a GPU what PyTorch held there; else of the whole process so far.
        teraflops: of products of matrices, per second.
        share_of_peak: of them, 0 to 1.
    """

    precision: str
    cells: int
    shared: int
    examples_per_second: float
    speedup: float
    peak_memory_gib: float
    teraflops: float
    share_of_peak: float


class RandomRows:
    """A stream of batches of random tokens, all of one length."""

    def __init__(self, scale: Scale, vocabulary: int, seed: int, device: torch.device) -> None:
        self.examples = scale.rows
        self._scale = scale
        draw = torch.Generator().manual_seed(seed)
        inputs = torch.randint(3, vocabulary, (scale.rows, scale.tokens), generator=draw)
        labels = torch.randint(3, vocabulary, (scale.rows, scale.targets), generator=draw)
        self._batch = Batch(inputs, torch.ones_like(inputs), labels).to(device)

    def seen(self, steps: int) -> int:
        return steps * self._scale.rows

    def batch(self, step: int) -> Batch:
        return self._batch


class Clock(Listener):
    """Times the steps of a training after the first ones."""

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.began = self.ended = 0.0

    def on_step(self, step: int, total: int) -> None:
        if step == self.warmup:
            self.began = moment()
        if step == total:
            self.ended = moment()


def moment() -> float:
    """Now, with nothing left to do on the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def make_model(scale: Scale, precision: Precision, device: torch.device) -> FrozenLM:
    """T5 with random weights; the tokenizer is there because a model has one."""
    torch.manual_seed(0)
    words = AutoTokenizer.from_pretrained(BUNDLED["tiny"].words_path)
    config = T5Config(**scale.shape, decoder_start_token_id=0)
    model = EncoderDecoderLM(T5ForConditionalGeneration(config), words, device)
    model.store_weights_in(precision)
    return model


def make_trainers(
    model: FrozenLM, scale: Scale, cells: int, steps: int, clock: Clock
) -> list[Trainer]:
    """Prompt tuning of so many cells; the last one tells the clock."""
    settings = TrainingSettings(
        steps=steps,
        epochs=None,
        batch_size=scale.rows,
        warmup_steps=0,
        evaluate_every=steps,
        gradient_clip=1.0,
        patience=None,
        evaluation_batch_size=scale.rows,
    )
    vocabulary = model.embedding.num_embeddings
    return [
        Trainer(
            model,
            PromptTuning(model.initial_prompt(scale.prompt, cell), PTSettings()),
            RandomRows(scale, vocabulary, cell, model.device),
            settings,
            cell,
            lambda: Validation({"none": 0.0}),
            listeners=[clock] if cell == cells - 1 else [],
        )
        for cell in range(cells)
    ]


def train(trainers: Sequence[Trainer]) -> list[TrainingResult]:
    """Train together to the end.

    Raises:
        Exception: what one of them ended by.
    """
    results: list[TrainingResult] = []

    def ended(trainer: Trainer, outcome: TrainingResult | Exception) -> None:
        if isinstance(outcome, Exception):
            raise outcome
        results.append(outcome)

    train_together(trainers, ended)
    return results


def flops_per_example(model: FrozenLM, scale: Scale) -> float:
    """Products of matrices in a training step of one cell, forward and backward, by its rows."""
    counter = FlopCounterMode(display=False)
    with counter:
        train(make_trainers(model, scale, 1, 1, Clock(0)))
    return counter.get_total_flops() / scale.rows


def peak_flops(scale: Scale, precision: Precision, device: torch.device) -> float:
    """Of one product of two large matrices per second, the best of several."""
    side = scale.matrix
    first, second = (torch.randn(side, side, device=device).to(DTYPES[precision]) for _ in range(2))
    seconds = []
    for _ in range(10):
        began = moment()
        first @ second
        seconds.append(moment() - began)
    return 2 * side**3 / min(seconds)


def peak_memory() -> float:
    """Bytes."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(scale: Scale, device: torch.device) -> list[Line]:
    """All lines, each printed as soon as it is there."""
    lines: list[Line] = []
    print(" ".join(f"{field.name:>19}" for field in fields(Line)), flush=True)
    for precision in PRECISIONS:
        model = make_model(scale, precision, device)
        flops, peak = flops_per_example(model, scale), peak_flops(scale, precision, device)
        alone = 0.0
        for cells in scale.together:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            clock = Clock(scale.warmup)
            steps = scale.warmup + scale.steps
            trainers = make_trainers(model, scale, cells, steps, clock)
            train(trainers)
            rate = cells * scale.rows * scale.steps / (clock.ended - clock.began)
            alone = alone or rate
            line = Line(
                precision=precision,
                cells=cells,
                shared=max(t.progress.trainings_per_pass or 1 for t in trainers),
                examples_per_second=round(rate, 1),
                speedup=round(rate / alone, 2),
                peak_memory_gib=round(peak_memory() / 2**30, 2),
                teraflops=round(rate * flops / 1e12, 2),
                share_of_peak=round(rate * flops / peak, 3),
            )
            lines.append(line)
            print(" ".join(f"{value:>19}" for value in asdict(line).values()), flush=True)
        del model
    return lines


def store(lines: Sequence[Line], scale: Scale, name: str, device: torch.device, out: Path) -> None:
    """Write the table as ``NAME.csv`` and ``NAME.md``."""
    out.mkdir(parents=True, exist_ok=True)
    names = [field.name for field in fields(Line)]
    with (out / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(asdict(line) for line in lines)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    rows = [names, ["---"] * len(names), *(list(asdict(line).values()) for line in lines)]
    text = (
        f"Prompt tuning of cells that share their passes: shape of {name}, random weights, "
        f"{scale.rows} rows of {scale.tokens} tokens a cell, prompt of {scale.prompt}; "
        f"{where}, PyTorch {torch.__version__}, transformers {transformers.__version__}, "
        f"Python {platform.python_version()}. Made by `tests/benchmarks/gpu.py`, which says what "
        "the columns are.\n\n"
    )
    table = "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)
    (out / f"{name}.md").write_text(text + table, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/speed"), help="folder")
    parser.add_argument("--small", action="store_true", help="a tiny model: does it run at all?")
    options = parser.parse_args(arguments)
    name = "small" if options.small else "t5-base"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    store(measure(SCALES[name], device), SCALES[name], name, device, options.out)


if __name__ == "__main__":
    main()
