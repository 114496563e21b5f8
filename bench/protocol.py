"""What a prompt-tuning method is: the one module that methods and harness both know.

A method turns what it needs (the initial prompt, trained source prompts, the target's own prompt,
a shared prompt) into one soft prompt per input, and names the tensors to train. It sees no files,
no datasets and no command line; the harness sees nothing of the method but this protocol.

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

from bench.errors import InitialPromptMismatchError, PromptError

IGNORED_LABEL = -100
"""Label of padded target positions, which the loss leaves out."""


@dataclass(frozen=True)
class Batch:
    """Encoded examples, padded to the longest of the batch.

    Attributes:
        input_ids: ``(B, L)`` token ids of the source texts.
        mask: ``(B, L)`` 1 on tokens, 0 on padding.
        labels: ``(B, T)`` token ids of the target texts, :data:`IGNORED_LABEL` on padding.
        task_ids: ``(B,)`` index of each row's source task; only in multi-task source stages.
    """

    input_ids: Tensor
    mask: Tensor
    labels: Tensor
    task_ids: Tensor | None = None

    def __len__(self) -> int:
        return int(self.input_ids.shape[0])

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        tasks = None if self.task_ids is None else self.task_ids.to(device)
        return Batch(self.input_ids.to(device), self.mask.to(device), self.labels.to(device), tasks)


@dataclass(frozen=True)
class ModelOutput:
    """One forward pass.

    Attributes:
        loss: scalar, token cross-entropy averaged over the non-padded target tokens.
        logits: ``(B, T, V)`` float32, scores of the target tokens.
        hidden: ``(B, r+L, d)`` last hidden states over prompt and input, in the model's precision.
        hidden_mask: ``(B, r+L)`` 1 where ``hidden`` is not padding.
    """

    loss: Tensor
    logits: Tensor
    hidden: Tensor
    hidden_mask: Tensor


class LanguageModel(Protocol):
    """The frozen language model, as far as a method may know it."""

    def embed(self, ids: Tensor) -> Tensor:
        """Embed token ids ``(B, L)`` as ``(B, L, d)``."""
        ...

    def run(self, prompt: Tensor, batch: Batch) -> ModelOutput:
        """Run the model with ``prompt`` ``(B, r, d)`` or ``(1, r, d)`` in front of the input."""
        ...

    def inference(self) -> AbstractContextManager[None]:
        """Within it: no gradients and no dropout; the former mode is restored afterwards."""
        ...


@dataclass(frozen=True)
class SoftPrompt:
    """A trained soft prompt and where it came from.

    Attributes:
        task: the task it was trained on.
        matrix: ``(r, d)``.
        initial_digest: :func:`tensor_digest` of the ``P_init`` it started from; None if unknown.
    """

    task: str
    matrix: Tensor
    initial_digest: str | None


@dataclass(frozen=True)
class Needs:
    """Which prompts must exist before a method can start on a target.

    Attributes:
        sources: the soft prompts that PT trained on the source tasks with their full data, or
            that the user gave in their place.
        target: the soft prompt that PT trained on the target itself (same shots and seed).
        shared: what the method's own multi-task source stage produces.
        same_initial: whether these prompts must have started from this run's ``P_init``, as the
            method works with their differences to it.
        named_sources: source tasks that the settings name, so they must be among the sources.
    """

    sources: bool = False
    target: bool = False
    shared: bool = False
    same_initial: bool = False
    named_sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ingredients:
    """What the harness hands to a method; the parts its :class:`Needs` name are filled.

    Attributes:
        initial: ``(r, d)``, ``P_init`` of this model and seed.
        sources: source prompts in the order of the ``sources`` suite.
        target: the target's own PT prompt.
        shared: tensors of the method's source stage, by name.
    """

    initial: Tensor
    sources: tuple[SoftPrompt, ...] = ()
    target: SoftPrompt | None = None
    shared: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class ParameterGroup:
    """Tensors that share a learning rate.

    Attributes:
        name: what the tensors are, for logs and records.
        parameters: the tensors to train.
        learning_rate: peak rate of the linear schedule.
        weight_decay: decoupled weight decay (AdamW).
    """

    name: str
    parameters: Sequence[nn.Parameter]
    learning_rate: float
    weight_decay: float = 0.0


SettingsT = TypeVar("SettingsT")


class Trainable(nn.Module, Generic[SettingsT], abc.ABC):
    """Anything the training loop can train: a method on one target, or a source stage."""

    @abc.abstractmethod
    def parameter_groups(self) -> list[ParameterGroup]:
        """The tensors to train with their learning rates; no tensor of the language model."""

    @abc.abstractmethod
    def loss(self, model: LanguageModel, batch: Batch) -> Tensor:
        """Scalar training loss of one batch."""

    def diagnostics(self) -> dict[str, Any]:
        """What the method can tell of its present state, as JSON-ready values.

        Asked for before the first step and at every evaluation.
        """
        return {}

    def trainable_parameters(self) -> int:
        """Number of scalars the optimiser moves."""
        return sum(p.numel() for group in self.parameter_groups() for p in group.parameters)


class PromptMethod(Trainable[SettingsT]):
    """A prompt-tuning method on one target task.

    A subclass declares its ``Settings`` (a frozen dataclass of plain values: the part behind the
    colon in ``--method name:key=value``), what it ``needs``, and how it is built.
    """

    Settings: ClassVar[type[Any]]
    instance_dependent: ClassVar[bool] = False
    """Whether the prompt differs from input to input; if not, ``forward`` ignores its inputs."""

    @classmethod
    @abc.abstractmethod
    def needs(cls, settings: SettingsT) -> Needs:
        """Which prompts must be trained before this method can start."""

    @classmethod
    @abc.abstractmethod
    def build(cls, settings: SettingsT, ingredients: Ingredients) -> PromptMethod[SettingsT]:
        """Make the module from its ingredients.

        Raises:
            InitialPromptMismatchError: a prompt belongs to another ``P_init``.
            PromptError: shapes do not fit.
        """

    @classmethod
    def source_stage(
        cls, settings: SettingsT, ingredients: Ingredients, examples: Mapping[str, int]
    ) -> SourceStage[SettingsT]:
        """The multi-task stage behind :attr:`Needs.shared`.

        Args:
            settings: of the method.
            ingredients: with ``sources`` filled.
            examples: number of training examples by source task, in the order of the sources.
        """
        raise NotImplementedError(f"{cls.__name__} has no source stage")

    @abc.abstractmethod
    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The soft prompt for each input.

        Args:
            inputs: ``(B, L, d)`` input embeddings; may be None if not ``instance_dependent``.
            mask: ``(B, L)`` 1 on tokens, 0 on padding.

        Returns:
            ``(B, r, d)``, or ``(1, r, d)`` if the prompt is the same for every input.
        """

    @abc.abstractmethod
    def merged_prompt(self) -> Tensor | None:
        """``(r, d)`` detached matrix that replaces the module after training; None if the prompt
        depends on the instance."""

    def prompt_for(self, model: LanguageModel, batch: Batch) -> Tensor:
        """The prompt of a batch: ``(B, r, d)`` or ``(1, r, d)``."""
        if not self.instance_dependent:
            return self()  # type: ignore[no-any-return]
        return self(model.embed(batch.input_ids), batch.mask)  # type: ignore[no-any-return]

    def loss(self, model: LanguageModel, batch: Batch) -> Tensor:
        return model.run(self.prompt_for(model, batch), batch).loss


class SourceStage(Trainable[SettingsT]):
    """Training on all source tasks together; every target of the method starts from its result."""

    @abc.abstractmethod
    def sample_tasks(self, batch_size: int, generator: torch.Generator) -> list[int]:
        """Source task index of each of the ``batch_size`` rows of the next batch."""

    @abc.abstractmethod
    def task_prompt(self, index: int) -> Tensor:
        """``(r, d)`` detached prompt of one source task, for validation."""

    @abc.abstractmethod
    def shared_state(self) -> dict[str, Tensor]:
        """The tensors to store, by name: :attr:`Ingredients.shared` of the target stage."""


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 over shape, type and bytes of a tensor: equal exactly if the values are."""
    plain = tensor.detach().to("cpu").contiguous()
    head = f"{tuple(plain.shape)}|{plain.dtype}|".encode()
    data = plain.view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(head + data).hexdigest()


def require_same_shape(initial: Tensor, prompts: Sequence[SoftPrompt]) -> None:
    """Check that prompts fit ``initial`` in shape, wherever they started.

    Raises:
        PromptError: a prompt has another shape.
    """
    for prompt in prompts:
        if prompt.matrix.shape != initial.shape:
            raise PromptError(
                f"prompt of {prompt.task} has shape {tuple(prompt.matrix.shape)}, the initial "
                f"prompt {tuple(initial.shape)}: train it with the same model and prompt length"
            )


def require_same_initial(initial: Tensor, prompts: Sequence[SoftPrompt]) -> None:
    """Check that prompts fit ``initial`` in shape and were trained from it.

    Raises:
        PromptError: a prompt has another shape.
        InitialPromptMismatchError: a prompt started elsewhere, or its start is unknown.
    """
    require_same_shape(initial, prompts)
    expected = tensor_digest(initial)
    for prompt in prompts:
        if prompt.initial_digest != expected:
            origin = "an unknown initial prompt"
            if prompt.initial_digest is not None:
                origin = f"initial prompt {prompt.initial_digest[:12]}"
            raise InitialPromptMismatchError(
                f"prompt of {prompt.task} was trained from {origin}, not from "
                f"{expected[:12]}: train it with the same model and seed"
            )


__all__ = [
    "IGNORED_LABEL",
    "Batch",
    "Ingredients",
    "InitialPromptMismatchError",
    "LanguageModel",
    "ModelOutput",
    "Needs",
    "ParameterGroup",
    "PromptError",
    "PromptMethod",
    "SoftPrompt",
    "SourceStage",
    "Trainable",
    "require_same_initial",
    "require_same_shape",
    "tensor_digest",
]
