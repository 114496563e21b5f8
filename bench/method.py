"""Interface between prompt-tuning methods and the harness.

A method turns the prompts it needs into one soft prompt per input, and names the tensors to train.
Methods read no files, datasets or command line; the harness uses them only through this module.

Shapes: ``B`` batch, ``L`` input tokens, ``T`` target tokens, ``r`` prompt tokens, ``d`` model
width, ``V`` vocabulary, ``S`` number of source tasks.
"""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from bench.errors import PromptError

IGNORED_LABEL = -100
"""Label of padded target positions, which the loss leaves out."""


@dataclass(frozen=True)
class Batch:
    """Encoded examples, padded to the longest of the batch."""

    input_ids: Tensor  # (B, L) token ids of the source texts
    mask: Tensor  # (B, L) 1 on tokens, 0 on padding
    labels: Tensor  # (B, T) token ids of the target texts, IGNORED_LABEL on padding
    task_ids: Tensor | None = None  # (B,) source task of each row; only in source stages

    def __len__(self) -> int:
        return int(self.input_ids.shape[0])

    def to(self, device: torch.device) -> Batch:
        """Copy of the batch on another device."""
        tasks = None if self.task_ids is None else self.task_ids.to(device)
        return Batch(self.input_ids.to(device), self.mask.to(device), self.labels.to(device), tasks)

    def rows(self, start: int, end: int) -> Batch:
        """Rows ``start`` to ``end`` (exclusive), as wide as the whole batch."""
        tasks = None if self.task_ids is None else self.task_ids[start:end]
        part = (self.input_ids[start:end], self.mask[start:end], self.labels[start:end])
        return Batch(*part, tasks)


@dataclass(frozen=True)
class ModelOutput:
    """Result of one forward pass."""

    loss: Tensor  # scalar, token cross-entropy averaged over the non-padded target tokens
    logits: Tensor  # (B, T, V) float32, scores of the target tokens
    hidden: Tensor  # (B, r+L, d) last hidden states of prompt and input, in the model's precision
    hidden_mask: Tensor  # (B, r+L) 1 where `hidden` is not padding
    answer_hidden: Tensor  # (B, T, d) last hidden states from which `logits` are computed


class LanguageModel(Protocol):
    """The part of the frozen language model that a method may use."""

    def embed(self, ids: Tensor) -> Tensor:
        """Embed token ids ``(B, L)`` as ``(B, L, d)``."""

    def run(self, prompt: Tensor, batch: Batch, prompt_index: Tensor | None = None) -> ModelOutput:
        """Run the model with ``prompt`` ``(B, r, d)`` or ``(1, r, d)`` in front of the input.

        With ``prompt_index`` ``(B,)``, ``prompt`` is ``(S, r, d)``, and row ``b`` has the prompt
        ``prompt[prompt_index[b]]``.
        """

    def inference(self) -> AbstractContextManager[None]:
        """Context without gradients and dropout; restores the previous mode afterwards."""


@dataclass(frozen=True)
class SoftPrompt:
    """A trained soft prompt and its origin."""

    task: str  # task that the prompt was trained on
    matrix: Tensor  # (r, d)
    initial_digest: str | None  # tensor_digest of its P_init; None if unknown


@dataclass(frozen=True)
class Needs:
    """Prompts that must exist before a method can start on a target."""

    sources: bool = False  # source prompts: trained by PT on full data, or given by the user
    target: bool = False  # PT's prompt of the target task, with equal shots and seed
    source_stage: bool = False  # result of the method's multi-task source stage
    stored: str | None = None  # id or file of a stored prompt
    same_initial: bool = False  # whether all must have been trained from this run's P_init
    named_sources: tuple[str, ...] = ()  # the only source tasks that are needed; default: all
    mixture: bool = False  # PT's prompt of these source tasks together


@dataclass(frozen=True)
class StartPrompts:
    """Prompts passed to a method: ``P_init`` and all that are listed in its :class:`Needs`."""

    initial: Tensor  # (r, d), P_init of this model and seed
    sources: tuple[SoftPrompt, ...] = ()  # (r, d) each, in the order of the configuration
    target: SoftPrompt | None = None
    source_state: Mapping[str, Tensor] | None = None  # SourceStage.source_state, by name
    stored: SoftPrompt | None = None


@dataclass(frozen=True)
class ParameterGroup:
    """Tensors that share a learning rate."""

    name: str  # for logs and records
    parameters: Sequence[nn.Parameter]
    learning_rate: float  # peak of the linear schedule
    weight_decay: float = 0.0  # decoupled (AdamW)
    eps: float = 1e-8  # epsilon of AdamW


class Trainable(nn.Module, abc.ABC):
    """Base class of trainable modules: a method on one target, or a source stage."""

    instance_dependent: ClassVar[bool] = False  # whether prompts depend on the inputs

    @abc.abstractmethod
    def parameter_groups(self) -> list[ParameterGroup]:
        """Trained tensors with their learning rates, without those of the language model."""

    @abc.abstractmethod
    def loss(self, model: LanguageModel, batch: Batch) -> Tensor:
        """Scalar training loss of one batch."""

    def diagnostics(self) -> dict[str, Any]:
        """JSON-ready state of the method; called before the first step and at each evaluation."""
        return {}

    def trace(self) -> list[dict[str, Any]]:
        """JSON-ready rows about the next step; called only if each step is logged."""
        return []

    def trainable_parameters(self) -> int:
        """Number of trained scalars."""
        return sum(p.numel() for group in self.parameter_groups() for p in group.parameters)


SettingsT = TypeVar("SettingsT")


class PromptMethod(Trainable, Generic[SettingsT]):
    """A prompt-tuning method on one target task."""

    Settings: ClassVar[type[Any]]  # a frozen dataclass of plain values: --method name:key=value
    version: ClassVar[int] = 1  # raised by hand when results change; part of the id of each run
    trained: ClassVar[bool] = True  # False: one run serves all shots and seeds of a task
    target_settings: ClassVar[tuple[str, ...]] = ()  # settings that the source stage ignores

    @classmethod
    def needs(cls, settings: SettingsT) -> Needs:
        """Prompts that must exist before this method can start, besides ``P_init``."""
        return Needs()

    @classmethod
    @abc.abstractmethod
    def build(cls, settings: SettingsT, start: StartPrompts) -> PromptMethod[SettingsT]:
        """Build the method from its start prompts; PromptError if they do not fit."""

    @classmethod
    def source_stage(
        cls, settings: SettingsT, start: StartPrompts, examples: Mapping[str, int]
    ) -> SourceStage:
        """Source stage, with the number of training examples by task, in the order of sources."""
        raise NotImplementedError(f"{cls.__name__} has no source stage")

    @abc.abstractmethod
    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Soft prompts of embedded inputs ``(B, L, d)`` with their mask ``(B, L)``.

        ``(B, r, d)`` if ``instance_dependent``, else ``(1, r, d)``; the inputs may then be None.
        """

    @torch.no_grad()
    def merged_prompt(self) -> Tensor | None:
        """Detached prompt ``(r, d)`` equal to the trained method; None if instance-dependent."""
        return None if self.instance_dependent else self().squeeze(0).clone()

    def prompt_for(self, model: LanguageModel, batch: Batch) -> Tensor:
        """Prompt of a batch: ``(B, r, d)`` or ``(1, r, d)``."""
        if not self.instance_dependent:
            return self()  # type: ignore[no-any-return]
        return self(model.embed(batch.input_ids), batch.mask)  # type: ignore[no-any-return]

    def loss(self, model: LanguageModel, batch: Batch) -> Tensor:
        return model.run(self.prompt_for(model, batch), batch).loss


class SourceStage(Trainable):
    """Joint training on all source tasks; each target task starts from its result."""

    @abc.abstractmethod
    def sample_tasks(self, batch_size: int, generator: torch.Generator) -> list[int]:
        """Source task index of each of the ``batch_size`` rows of the next batch."""

    @abc.abstractmethod
    def task_prompt(self, index: int) -> Tensor:
        """Detached prompt ``(r, d)`` of one source task, for validation."""

    @abc.abstractmethod
    def source_state(self) -> dict[str, Tensor]:
        """Tensors to store, by name: :attr:`StartPrompts.source_state` of the target stage."""


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 over shape, dtype and bytes of a tensor."""
    values = tensor.detach().to("cpu").contiguous()
    header = f"{tuple(values.shape)}|{values.dtype}|".encode()
    data = values.view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(header + data).hexdigest()


def require_same_shape(initial: Tensor, prompts: Sequence[SoftPrompt]) -> None:
    """Raise PromptError unless all prompts have the shape of ``initial``."""
    for prompt in prompts:
        if prompt.matrix.shape != initial.shape:
            shape, expected = tuple(prompt.matrix.shape), tuple(initial.shape)
            reason = f"has shape {shape}, the initial prompt {expected}"
            advice = "train it with the same model and prompt length"
            raise PromptError(f"prompt of {prompt.task} {reason}: {advice}")


def require_same_initial(initial: Tensor, prompts: Sequence[SoftPrompt]) -> None:
    """Raise PromptError unless all prompts have the shape of ``initial`` and it as ``P_init``."""
    require_same_shape(initial, prompts)
    expected = tensor_digest(initial)
    for prompt in prompts:
        if prompt.initial_digest != expected:
            digest = prompt.initial_digest or "unknown"
            reason = f"was trained from initial prompt {digest[:12]}, not from {expected[:12]}"
            advice = "train it with the same model and seed"
            raise PromptError(f"prompt of {prompt.task} {reason}: {advice}")
