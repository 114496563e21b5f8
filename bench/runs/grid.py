"""``bench run`` without the command line: from a configuration to records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.config import RunConfig
from bench.data import open_source
from bench.models.loading import describe, load
from bench.runs.bundle import note_run
from bench.runs.examples import Examples
from bench.runs.given import find_given, require_starts
from bench.runs.local import Outcome, Runner, Work, prepare, remaining_work
from bench.runs.plan import Plan, make_plan
from bench.runs.progress import EvaluationLines, Verbosity, make_display
from bench.runs.results import Overwrite, ResultFolder
from bench.runs.workshop import Workshop
from bench.training.listeners import Listener
from bench.training.stopping import Stop


@dataclass(frozen=True)
class Grid:
    """A configuration laid out against a result folder.

    Attributes:
        requested: the configuration as it was given, but with full digests of given prompts: the
            same prompts wherever it is run again.
        config: what to run; its preset names the given prompts.
        plan: all cells and prompts.
        folder: where results are.
        overwrite: which cells are repeated.
        work: what is left to do.
    """

    requested: RunConfig
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
    digests = {task: prompt.digest for task, prompt in given.items()}
    requested = replace(config, source_prompts=digests)
    config = config.with_source_prompts(digests)
    plan = make_plan(config, model, source, given)
    require_starts(plan.cells)
    work = remaining_work(plan, folder, overwrite)
    return Grid(requested, config, plan, folder, overwrite, work)


def execute(
    grid: Grid,
    debug: bool = False,
    listeners: Sequence[Listener] = (),
    verbosity: Verbosity = "normal",
    stop: Stop | None = None,
    label: str = "",
) -> Outcome:
    """Do what is left of a grid; a grid without work loads nothing.

    Args:
        grid: what to do.
        debug: whether to show the tracebacks of failed cells.
        listeners: told about every training.
        verbosity: what to print of the progress.
        stop: asked by every training whether to stop.
        label: of this process, before each line, if it is one of several.

    Raises:
        BenchError: input or output cannot be used, or a listener failed.
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
    note_run(grid)
    with make_display(grid.work.units, verbosity=verbosity, label=label) as display:
        if verbosity == "verbose":
            listeners = (EvaluationLines(display), *listeners)
        workshop = Workshop(
            model, examples, folder.prompts, folder.checkpoint, display, listeners, stop
        )
        display.say(f"preparing data of {len(grid.config.task_names())} tasks")
        prepare(grid.work, workshop)
        return Runner(grid.work, workshop, folder, display, debug).run()
