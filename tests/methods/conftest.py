"""Reference cases, a small language model, and prompts to start from."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.method import IGNORED_LABEL, Batch, ModelOutput, SoftPrompt, StartPrompts, tensor_digest

REFERENCE = Path(__file__).parents[1] / "reference"
VOCABULARY, WIDTH, LENGTH = 11, 6, 4
SOURCES = ("mnli", "qnli", "sst2")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with an argument such as ``mpt_case`` for each case of ``mpt.npz``."""
    for name in ("attempt", "dtvg", "mpt"):
        if f"{name}_case" in metafunc.fixturenames:
            with np.load(REFERENCE / f"{name}.npz") as archive:
                arrays = {key: torch.from_numpy(archive[key]) for key in archive.files}
            cases: dict[str, dict[str, Tensor]] = {}
            for key, array in arrays.items():
                cases.setdefault(key.partition("/")[0], {})[key.partition("/")[2]] = array
            metafunc.parametrize(f"{name}_case", cases.values(), ids=cases)


class TinyModel(nn.Module):
    """A frozen language model; ``runs`` tells for each run: gradients recorded, train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.positions = nn.Embedding(5, WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY)
        self.requires_grad_(False)
        self.runs: list[tuple[bool, bool]] = []

    def embed(self, ids: Tensor) -> Tensor:
        return self.embedding(ids)  # type: ignore[no-any-return]

    def run(self, prompt: Tensor, batch: Batch, prompt_index: Tensor | None = None) -> ModelOutput:
        self.runs.append((torch.is_grad_enabled(), self.training))
        prompt = prompt.expand(len(batch), -1, -1) if prompt_index is None else prompt[prompt_index]
        mask = torch.cat([batch.mask.new_ones(prompt.shape[:2]), batch.mask], dim=1)
        hidden = torch.tanh(self.mix(torch.cat([prompt, self.embed(batch.input_ids)], dim=1)))
        mean = (hidden * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        answer = mean.unsqueeze(1) + self.positions.weight[: batch.labels.shape[1]]
        logits = self.head(answer)
        loss = F.cross_entropy(logits.flatten(0, 1), batch.labels.flatten())
        return ModelOutput(loss, logits, hidden, mask, answer)

    @contextmanager
    def inference(self) -> Iterator[None]:
        was_training = self.training
        self.eval()
        with torch.no_grad():
            yield
        self.train(was_training)


@pytest.fixture
def model() -> TinyModel:
    torch.manual_seed(0)
    return TinyModel().train()


@pytest.fixture
def batch() -> Batch:
    ids = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0], [8, 9, 10, 0, 0], [3, 1, 4, 1, 5]])
    labels = torch.tensor([[2, 1], [3, IGNORED_LABEL], [4, 1], [5, IGNORED_LABEL]])
    return Batch(ids, (ids > 0).long(), labels, torch.tensor([0, 0, 2, 1]))


@pytest.fixture
def make() -> Callable[..., StartPrompts]:
    """Maker of prompts to start from, equal ones for equal arguments; ``changes`` replace parts."""

    def start_prompts(
        length: int = LENGTH, width: int = WIDTH, names: Sequence[str] = SOURCES, **changes: object
    ) -> StartPrompts:
        generator = torch.Generator().manual_seed(1)
        initial, learned = torch.randn(2, length, width, generator=generator)
        digest = tensor_digest(initial)
        # All sources have learned something in common with the target: DTVG's group is not empty.
        apart = 0.5 * torch.randn(len(names), length, width, generator=generator)
        parts: dict[str, object] = {
            "initial": initial,
            "sources": tuple(
                SoftPrompt(name, initial + learned + own, digest)
                for name, own in zip(names, apart, strict=True)
            ),
            "target": SoftPrompt("cb", initial + learned, digest),
            "source_state": {
                "shared": initial + learned,
                "columns": 1 + 0.1 * torch.randn(len(names), length, 1, generator=generator),
                "rows": 1 + 0.1 * torch.randn(len(names), 1, width, generator=generator),
            },
            "stored": SoftPrompt("cb", torch.randn(2, width, generator=generator), None),
        }
        return StartPrompts(**{**parts, **changes})  # type: ignore[arg-type]

    return start_prompts


@pytest.fixture
def stray() -> SoftPrompt:
    """A prompt of the right shape from another ``P_init``."""
    return SoftPrompt("stray", torch.zeros(LENGTH, WIDTH), tensor_digest(torch.ones(1)))
