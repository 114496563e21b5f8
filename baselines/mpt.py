"""MPT: multitask prompt tuning.

Wang et al. 2023, "Multitask Prompt Tuning Enables Parameter-Efficient Transfer Learning"
(arXiv:2303.02861), section on prompt decomposition. The prompt of task ``k`` is

    P_k = P* o (u_k v_k)                                    o elementwise

with one ``P*`` ``(r, d)`` for all tasks and ``u_k`` ``(r, rho)``, ``v_k`` ``(rho, d)`` for each;
``rho`` is 1 in the paper. The code says ``shared`` for ``P*``, ``columns`` for ``u`` and ``rows``
for ``v``, as the PEFT library does. The source stage trains all source tasks together, with their
PT prompts as teachers. The target stage starts from ``P*`` and the means over the sources of
``u_k`` and ``v_k``, and trains all three with the task loss alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from baselines.pt import PTSettings
from bench.method import (
    IGNORED_LABEL,
    Batch,
    LanguageModel,
    ModelOutput,
    Needs,
    ParameterGroup,
    PromptMethod,
    SourceStage,
    StartPrompts,
)


@dataclass(frozen=True)
class MPTSettings(PTSettings):
    """Settings of both stages; ``learning_rate`` of PT is the rate of ``P*``."""

    factor_learning_rate: PositiveFloat = 0.4  # peak rate of u and v in the target stage
    source_stage_learning_rate: PositiveFloat = 0.3  # peak rate of the source stage
    rank: PositiveInt = 1  # rank rho of u_k v_k
    factor_std: NonNegativeFloat = 0.02  # standard deviation of u_k, v_k at the start
    distillation: NonNegativeFloat = 0.9  # lambda, the weight of the teachers in the source stage
    distillation_temperature: PositiveFloat = 1.0  # divides the logits of teacher and student
    distilled_hidden: Literal["encoder", "both"] = "encoder"  # both: also states of the answer
    sampling_cap: PositiveInt = 2**18  # cap on the examples of a source task in sampling

    @property
    def factor_mean(self) -> float:
        """Mean of ``u_k`` and ``v_k`` at the start, ``rho^(-1/2)``: ``u_k v_k`` is about 1."""
        return 1 / math.sqrt(self.rank)


def compose(shared: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Prompts ``P* o (u v)`` ``(K, r, d)`` of ``u`` ``(K, r, rho)`` and ``v`` ``(K, rho, d)``."""
    return shared * (columns @ rows)


class _Decomposition(nn.Module):
    """Trainable ``P*``, ``u`` and ``v`` of one task or of several tasks."""

    def __init__(
        self, settings: MPTSettings, shared: Tensor, columns: Tensor, rows: Tensor
    ) -> None:
        super().__init__()
        self.settings = settings
        self.shared = nn.Parameter(shared.detach().clone())
        self.columns = nn.Parameter(columns.detach().clone())
        self.rows = nn.Parameter(rows.detach().clone())

    def diagnostics(self) -> dict[str, Any]:
        """Initialisation of the source stage."""
        mean, std = self.settings.factor_mean, self.settings.factor_std
        start = {"shared": "P_init", "factor_mean": mean, "factor_std": std}
        return {"source_stage_initialisation": start}


class MPT(_Decomposition, PromptMethod[MPTSettings]):
    """Target stage: ``P* o (u v)`` of one task."""

    Settings: ClassVar[type[Any]] = MPTSettings
    version: ClassVar[int] = 2
    target_settings: ClassVar[tuple[str, ...]] = ("learning_rate", "factor_learning_rate")

    @classmethod
    def needs(cls, settings: MPTSettings) -> Needs:
        return Needs(source_stage=True)

    @classmethod
    def build(cls, settings: MPTSettings, start: StartPrompts) -> MPT:
        """Method that starts from ``P*`` and the means over sources of ``u_k`` and ``v_k``."""
        state = start.source_state
        assert state is not None
        columns, rows = state["columns"].mean(dim=0), state["rows"].mean(dim=0)
        return cls(settings, state["shared"], columns, rows)

    @classmethod
    def source_stage(
        cls, settings: MPTSettings, start: StartPrompts, examples: Mapping[str, int]
    ) -> MPTSourceStage:
        """Source stage over all sources, with their PT prompts as teachers."""
        teachers = torch.stack([teacher.matrix for teacher in start.sources])
        return MPTSourceStage(start.initial, teachers, examples, settings)

    def parameter_groups(self) -> list[ParameterGroup]:
        """``P*``, and ``u`` with ``v``: ``r*d + rho*(r + d)`` scalars."""
        settings, factors = self.settings, [self.columns, self.rows]
        shared = settings.group("shared prompt", [self.shared])
        return [shared, settings.group("task factors", factors, settings.factor_learning_rate)]

    def forward(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        return compose(self.shared, self.columns, self.rows).unsqueeze(0)


class MPTSourceStage(_Decomposition, SourceStage):
    """Source stage: the loss is the paper's ``L = L_PLM + lambda (L_logits + L_hidden)``.

    ``teachers`` ``(S, r, d)`` are the PT prompts of the sources; ``examples`` counts the training
    examples in their order. ``P*`` starts at ``P_init``, ``u`` and ``v`` from normal draws of
    PyTorch's global random state; the paper leaves the start open.
    """

    teachers: Tensor

    def __init__(
        self, initial: Tensor, teachers: Tensor, examples: Mapping[str, int], settings: MPTSettings
    ) -> None:
        number, length, width = teachers.shape
        columns = initial.new_empty(number, length, settings.rank)
        rows = initial.new_empty(number, settings.rank, width)
        for factor in (columns, rows):
            nn.init.normal_(factor, settings.factor_mean, settings.factor_std)
        super().__init__(settings, initial, columns, rows)
        counts = torch.tensor(list(examples.values()), dtype=torch.float64)
        self.task_weights = counts.clamp(max=settings.sampling_cap)
        self.register_buffer("teachers", teachers.detach().clone(), persistent=False)

    def parameter_groups(self) -> list[ParameterGroup]:
        """``P*`` and all factors at one rate [published code of a descendant of MPT]."""
        rate = self.settings.source_stage_learning_rate
        return [self.settings.group("source stage", list(self.parameters()), rate)]

    def sample_tasks(self, batch_size: int, generator: torch.Generator) -> list[int]:
        """Source task of each row of the next batch [published code].

        The number of tasks is uniform from 2 to ``S``; the tasks are drawn with replacement in
        proportion to their examples, counted up to ``sampling_cap``. The batch is split evenly;
        the remainder goes to the task drawn first.
        """
        limit = min(len(self.task_weights), batch_size)
        number = int(torch.randint(min(2, limit), limit + 1, (), generator=generator))
        drawn = torch.multinomial(self.task_weights, number, replacement=True, generator=generator)
        tasks: list[int] = drawn.tolist()
        share, remainder = divmod(batch_size, number)
        return [tasks[0]] * remainder + [task for task in tasks for _ in range(share)]

    def loss(self, model: LanguageModel, batch: Batch) -> Tensor:
        """Loss ``L`` from one student pass and one teacher pass over the rows of all tasks."""
        prompts = compose(self.shared, self.columns, self.rows)  # (S, r, d)
        student = model.run(prompts, batch, batch.task_ids)
        with model.inference():
            teacher = model.run(self.teachers, batch, batch.task_ids)
        distance = distillation_loss(student, teacher, batch.labels, self.settings)
        return student.loss + self.settings.distillation * distance

    @torch.no_grad()
    def task_prompt(self, index: int) -> Tensor:
        """``P_k`` ``(r, d)`` of source ``index``, detached."""
        return compose(self.shared, self.columns[index], self.rows[index])

    def source_state(self) -> dict[str, Tensor]:
        """``shared`` ``(r, d)``, ``columns`` ``(S, r, rho)`` and ``rows`` ``(S, rho, d)``."""
        return {name: value.detach().clone() for name, value in self.named_parameters()}


def distillation_loss(
    student: ModelOutput, teacher: ModelOutput, labels: Tensor, settings: MPTSettings
) -> Tensor:
    """``L_logits + L_hidden``, padding left out.

    KL(teacher || student) per target token, times the squared temperature (Hinton et al. 2015), and
    mean squared difference of last hidden states.
    """
    temperature, target_mask = settings.distillation_temperature, labels != IGNORED_LABEL
    student_log = F.log_softmax(student.logits.float() / temperature, dim=-1)
    teacher_log = F.log_softmax(teacher.logits.float() / temperature, dim=-1)
    divergence = F.kl_div(student_log, teacher_log, reduction="none", log_target=True)
    loss = temperature**2 * _masked_mean(divergence.sum(dim=-1), target_mask)
    loss = loss + _distance(student.hidden, teacher.hidden, student.hidden_mask.bool())
    if settings.distilled_hidden == "both":
        loss = loss + _distance(student.answer_hidden, teacher.answer_hidden, target_mask)
    return loss


def _distance(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of hidden states ``(B, L, d)`` where ``mask`` is true."""
    return _masked_mean((student.float() - teacher.float()).square().mean(dim=-1), mask)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return values.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)
