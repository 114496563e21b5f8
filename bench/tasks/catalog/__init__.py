"""The 26 tasks as data: one entry per dataset, one module per suite."""

from bench.tasks.catalog import glue, mrqa, nlg, others, superglue
from bench.tasks.task import Task

TASKS: tuple[Task, ...] = (
    *glue.TASKS,
    *superglue.TASKS,
    *mrqa.TASKS,
    *others.TASKS,
    *nlg.TASKS,
)

__all__ = ["TASKS"]
