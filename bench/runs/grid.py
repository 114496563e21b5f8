"""``bench run`` without the command line: from a configuration to records."""

from __future__ import annotations

from dataclasses import dataclass

from bench.config import RunConfig
from bench.data import open_source
from bench.models.loading import describe, load
from bench.runs.examples import Examples
from bench.runs.given import find_given, require_starts
from bench.runs.local import Outcome, Runner, Work, prepare, remaining_work
from bench.runs.plan import Plan, make_plan
from bench.runs.progress import make_display
from bench.runs.results import Overwrite, ResultFolder
from bench.runs.workshop import Workshop


@dataclass(frozen=True)
class Grid:
    """A configuration laid out against a result folder.

    Attributes:
        config: what to run.
        plan: all cells and prompts.
        folder: where results are.
        overwrite: which cells are repeated.
        work: what is left to do.
    """

    config: RunConfig
    plan: Plan
    folder: ResultFolder
    overwrite: Overwrite
    work: Work


def lay_out(config: RunConfig, folder: ResultFolder, overwrite: Overwrite) -> Grid:
    """Plan a run; reads no rows and loads no weights.

    Raises:
        BenchError: model or data cannot be found, or a given prompt cannot be used.
    """
    source = open_source(config.data)
    model = describe(config.model, config.tokenizer)
    given = find_given(config, model, folder.prompts)
    config = config.with_source_prompts({task: prompt.digest for task, prompt in given.items()})
    plan = make_plan(config, model, source, given)
    require_starts(plan.cells)
    return Grid(config, plan, folder, overwrite, remaining_work(plan, folder, overwrite))


def execute(grid: Grid, debug: bool = False) -> Outcome:
    """Do what is left of a grid; a grid without work loads nothing.

    Raises:
        BenchError: input or output cannot be used.
    """
    if not grid.work.cells:
        return Outcome()
    config, folder = grid.config, grid.folder
    folder.check_writable()
    model = load(config.model, config.torch_device(), config.tokenizer)
    require_starts(grid.work.cells, model)
    examples = Examples(
        open_source(config.data),
        model.encoder,
        config.data_seed,
        config.input_length,
        config.validation_rows,
    )
    with make_display(grid.work.units) as display:
        workshop = Workshop(model, examples, folder.prompts, folder.checkpoint, display)
        display.say(f"preparing data of {len(grid.config.task_names())} tasks")
        prepare(grid.work, workshop)
        return Runner(grid.work, workshop, folder, display, debug).run(grid.overwrite)
