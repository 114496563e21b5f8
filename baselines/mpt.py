"""MPT: multitask prompt tuning.

Wang et al. 2023, "Multitask Prompt Tuning Enables Parameter-Efficient Transfer Learning"
(arXiv:2303.02861), section on prompt decomposition. The prompt of task ``k`` is

    P_k = P* o (u_k v_k^T)                                  o elementwise

with one ``P*`` ``(r, d)`` for all tasks and ``u_k`` ``(r, rho)``, ``v_k`` ``(rho, d)`` for each;
``rho`` is 1 in the paper. The code says ``shared`` for ``P*``, ``columns`` for ``u`` and ``rows``
for ``v``, as the PEFT library does.

Source stage: all source tasks together, with the PT prompts of the sources as teachers
(:class:`MPTSourceStage`). Target stage: ``P*`` and the means of ``u_k`` and ``v_k`` over the
sources are where :class:`MPT` starts, which then trains all three with the task loss alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.pt import PTSettings
from bench.protocol import (
    IGNORED_LABEL,
    Batch,
    Ingredients,
    LanguageModel,
    ModelOutput,
    Needs,
    ParameterGroup,
    PromptError,
    PromptMethod,
    SourceStage,
    require_same_shape,
)


@dataclass(frozen=True)
class MPTSettings(PTSettings):
    """Settings of MPT: those of PT, for both stages, and its own.

    Attributes:
        learning_rate: peak rate of ``P*``.
        factor_learning_rate: peak rate of ``u`` and ``v``.
        rank: ``rho``.
        factor_std: standard deviation of ``u_k`` and ``v_k`` at the start of the source stage.
        distillation: ``lambda``, the weight of the teachers in the source stage.
        sampling_cap: a source task with more examples is drawn as if it had so many.
    """

    factor_learning_rate: float = 0.4
    rank: int = 1
    factor_std: float = 0.02
    distillation: float = 0.9
    sampling_cap: int = 2**18

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.factor_learning_rate > 0:
            raise ValueError("factor_learning_rate must be above 0")
        if self.rank < 1 or self.sampling_cap < 1:
            raise ValueError("rank and sampling_cap must be at least 1")
        if not (self.factor_std >= 0 and self.distillation >= 0):
            raise ValueError("factor_std and distillation must be 0 or more")


def compose(shared: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Prompts of ``K`` tasks, or of one without that dimension: ``P_k = P* o (u_k v_k^T)``.

    Args:
        shared: ``(r, d)``, ``P*``.
        columns: ``(K, r, rho)``, ``u``.
        rows: ``(K, rho, d)``, ``v``.

    Returns:
        ``(K, r, d)``.
    """
    return shared * (columns @ rows)


class MPT(PromptMethod[MPTSettings]):
    """The target stage: one task's ``P* o (u v^T)``, all three trained.

    Args:
        shared: ``(r, d)``, where ``P*`` starts.
        columns: ``(r, rho)``, where ``u`` starts.
        rows: ``(rho, d)``, where ``v`` starts.
        settings: of the method.
    """

    Settings: ClassVar[type[Any]] = MPTSettings

    def __init__(
        self, shared: Tensor, columns: Tensor, rows: Tensor, settings: MPTSettings
    ) -> None:
        super().__init__()
        self.settings = settings
        self.shared = nn.Parameter(shared.detach().clone())
        self.columns = nn.Parameter(columns.detach().clone())
        self.rows = nn.Parameter(rows.detach().clone())

    @classmethod
    def needs(cls, settings: MPTSettings) -> Needs:
        """What the source stage gives."""
        return Needs(shared=True)

    @classmethod
    def build(cls, settings: MPTSettings, ingredients: Ingredients) -> MPT:
        """Start from ``P*`` and from the mean over sources of ``u_k`` and of ``v_k``.

        Raises:
            PromptError: the source stage's tensors are missing or of another shape.
        """
        length, width = ingredients.initial.shape
        stored = ingredients.shared or {}
        expected = {
            "shared": (length, width),
            "columns": (length, settings.rank),
            "rows": (settings.rank, width),
        }
        for name, shape in expected.items():
            if name not in stored or stored[name].shape[-2:] != shape:
                found = tuple(stored[name].shape) if name in stored else "none"
                raise PromptError(
                    f"MPT's source stage left {name} of shape {found}, expected {shape} in its "
                    "last two dimensions: train it with the same model, prompt length and rank"
                )
        columns, rows = stored["columns"].mean(dim=0), stored["rows"].mean(dim=0)
        return cls(stored["shared"], columns, rows, settings)

    @classmethod
    def source_stage(
        cls, settings: MPTSettings, ingredients: Ingredients, examples: Mapping[str, int]
    ) -> MPTSourceStage:
        """All sources together, taught by their PT prompts, wherever these started.

        Raises:
            PromptError: shapes do not fit, or ``examples`` names other tasks than the teachers.
        """
        teachers = ingredients.sources
        require_same_shape(ingredients.initial, teachers)
        names = [teacher.task for teacher in teachers]
        if not teachers or names != list(examples):
            raise PromptError(
                f"MPT's source stage has teachers for {names} but examples of {list(examples)}: "
                "train the prompt of every source task first"
            )
        matrices = torch.stack([teacher.matrix for teacher in teachers])
        return MPTSourceStage(ingredients.initial, matrices, examples, settings)

    def parameter_groups(self) -> list[ParameterGroup]:
        """``P*``, and ``u`` with ``v`` at their own rate: ``r*d + rho*(r + d)`` scalars."""
        return _parameter_groups(self.shared, self.columns, self.rows, self.settings)

    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """``P* o (u v^T)`` as ``(1, r, d)``, whatever the input."""
        return compose(self.shared, self.columns, self.rows).unsqueeze(0)

    @torch.no_grad()
    def merged_prompt(self) -> Tensor:
        """``P* o (u v^T)`` as ``(r, d)``, detached."""
        return compose(self.shared, self.columns, self.rows)

    def diagnostics(self) -> dict[str, Any]:
        """How the source stage behind this prompt was initialised."""
        return {"source_stage_initialisation": initialisation(self.settings)}


class MPTSourceStage(SourceStage[MPTSettings]):
    """Trains ``P*`` and every source's ``u_k``, ``v_k`` together, by distillation.

    The loss is the paper's ``L = L_PLM + lambda (L_logits + L_hidden)``.

    ``P*`` starts at ``P_init`` and the entries of ``u_k`` and ``v_k`` are drawn from a normal
    distribution around ``rho^(-1/2)``, so that ``u_k v_k^T`` is about 1 and every ``P_k`` starts
    near ``P_init``; the spread keeps the ``rho`` factors apart. The paper leaves this open. Drawn
    from PyTorch's global random state: seed it before.

    Args:
        initial: ``(r, d)``, ``P_init``.
        teachers: ``(S, r, d)``, the PT prompts of the sources.
        examples: number of training examples by source task, in the teachers' order.
        settings: of the method.
    """

    teachers: Tensor

    def __init__(
        self, initial: Tensor, teachers: Tensor, examples: Mapping[str, int], settings: MPTSettings
    ) -> None:
        super().__init__()
        self.settings = settings
        start = initialisation(settings)
        number, length, width = teachers.shape
        counts = torch.tensor(list(examples.values()), dtype=torch.float64)
        self.task_weights = counts.clamp(max=settings.sampling_cap)
        self.register_buffer("teachers", teachers.detach().clone(), persistent=False)
        self.shared = nn.Parameter(initial.detach().clone())
        self.columns = nn.Parameter(initial.new_empty(number, length, settings.rank))
        self.rows = nn.Parameter(initial.new_empty(number, settings.rank, width))
        for factor in (self.columns, self.rows):
            nn.init.normal_(factor, start["factor_mean"], start["factor_std"])

    def parameter_groups(self) -> list[ParameterGroup]:
        """``P*``, and all ``u_k``, ``v_k`` at their own rate."""
        return _parameter_groups(self.shared, self.columns, self.rows, self.settings)

    def sample_tasks(self, batch_size: int, generator: torch.Generator) -> list[int]:
        """Source task of each row of the next batch [published code].

        First the number of tasks in the batch, uniformly from 2 to ``S``; then the tasks, with
        replacement, in proportion to their examples, counted up to ``sampling_cap``. The batch is
        split evenly among them; the remainder goes to the task drawn first.

        Args:
            batch_size: number of rows.
            generator: on the CPU; the draw follows from it alone.
        """
        most = min(len(self.task_weights), batch_size)
        number = int(torch.randint(min(2, most), most + 1, (), generator=generator))
        drawn = torch.multinomial(self.task_weights, number, replacement=True, generator=generator)
        tasks: list[int] = drawn.tolist()
        share, remainder = divmod(batch_size, number)
        return [tasks[0]] * remainder + [task for task in tasks for _ in range(share)]

    def loss(self, model: LanguageModel, batch: Batch) -> Tensor:
        """``L``, from one pass of the students and one of the teachers for all tasks at once."""
        if batch.task_ids is None:
            raise ValueError("a source stage needs batches with task_ids")
        prompts = compose(self.shared, self.columns, self.rows)  # (S, r, d)
        # A product instead of an index: the gradient of an index adds up in no fixed order.
        chosen = F.one_hot(batch.task_ids, len(prompts)).to(prompts.dtype)  # (B, S)
        student = model.run(torch.einsum("bs,srd->brd", chosen, prompts), batch)
        with model.inference():
            teacher = model.run(self.teachers[batch.task_ids], batch)
        logits = logits_divergence(student, teacher, batch.labels)
        hidden = hidden_distance(student, teacher)
        return student.loss + self.settings.distillation * (logits + hidden)

    @torch.no_grad()
    def task_prompt(self, index: int) -> Tensor:
        """``P_k`` ``(r, d)`` of source ``index``, detached."""
        return compose(self.shared, self.columns[index], self.rows[index])

    def shared_state(self) -> dict[str, Tensor]:
        """``shared`` ``(r, d)``, and ``columns`` ``(S, r, rho)`` and ``rows`` of every source."""
        return {name: value.detach().clone() for name, value in self.named_parameters()}

    def diagnostics(self) -> dict[str, Any]:
        """How ``P*``, ``u`` and ``v`` were initialised."""
        return {"initialisation": initialisation(self.settings)}


def initialisation(settings: MPTSettings) -> dict[str, Any]:
    """Where the source stage starts, for records; see :class:`MPTSourceStage`."""
    mean = 1 / math.sqrt(settings.rank)
    return {"shared": "P_init", "factor_mean": mean, "factor_std": settings.factor_std}


def logits_divergence(student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
    """``L_logits``: KL(teacher || student) per target token, averaged over non-padded tokens.

    Args:
        student: with logits ``(B, T, V)``.
        teacher: with logits ``(B, T, V)``, without gradients.
        labels: ``(B, T)``, :data:`IGNORED_LABEL` on padding.
    """
    tokens = labels != IGNORED_LABEL
    divergence = F.kl_div(
        F.log_softmax(student.logits.float(), dim=-1),
        F.log_softmax(teacher.logits.float(), dim=-1),
        reduction="none",
        log_target=True,
    ).sum(dim=-1)  # (B, T)
    return _masked_mean(divergence, tokens)


def hidden_distance(student: ModelOutput, teacher: ModelOutput) -> Tensor:
    """``L_hidden``: mean squared difference of the last hidden states, padding left out."""
    difference = student.hidden.float() - teacher.hidden.float()
    return _masked_mean(difference.square().mean(dim=-1), student.hidden_mask.bool())


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return values.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)


def _parameter_groups(
    shared: nn.Parameter, columns: nn.Parameter, rows: nn.Parameter, settings: MPTSettings
) -> list[ParameterGroup]:
    decay = settings.weight_decay
    return [
        ParameterGroup("shared prompt", [shared], settings.learning_rate, decay),
        ParameterGroup("task factors", [columns, rows], settings.factor_learning_rate, decay),
    ]
