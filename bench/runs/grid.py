"""``bench run`` without the command line: from a configuration to records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from bench.config import RunConfig
from bench.data import open_source
from bench.models.base import FrozenLM
from bench.models.loading import describe, load
from bench.runs.bundle import note_run
from bench.runs.examples import Examples
from bench.runs.given import find_given, require_starts
from bench.runs.local import Outcome, Runner, Work, remaining_work
from bench.runs.plan import Plan, make_plan
from bench.runs.preparation import prepare
from bench.runs.progress import Display, EvaluationLines, Verbosity, make_display
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


@dataclass(frozen=True)
class Equipment:
    """What a process needs for the cells of a grid, loaded once.

    Attributes:
        model: the frozen language model.
        examples: the rows, encoded for it when they are first asked for.
    """

    model: FrozenLM
    examples: Examples


def lay_out(config: RunConfig, folder: ResultFolder, overwrite: Overwrite) -> Grid:
    """Plan a run; reads no rows and loads no weights.

    Raises:
        BenchError: model or data cannot be found, or a given prompt cannot be used.
    """
    grid = draft(config, folder, overwrite)
    return replace(grid, work=remaining_work(grid.plan, folder, overwrite))


def draft(config: RunConfig, folder: ResultFolder, overwrite: Overwrite = "never") -> Grid:
    """The same without a look at the records: a grid with no work.

    Raises:
        BenchError: as :func:`lay_out`.
    """
    source = open_source(config.data)
    model = describe(config.model, config.tokenizer)
    given = find_given(config, model, folder.prompts)
    digests = {task: prompt.digest for task, prompt in given.items()}
    requested = replace(config, source_prompts=digests)
    config = config.with_source_prompts(digests)
    plan = make_plan(config, model, source, given)
    require_starts(plan.cells)
    return Grid(requested, config, plan, folder, overwrite, Work([], []))


def equip(grid: Grid) -> Equipment:
    """Load what the cells of a grid need, and note in the result folder that it is run here.

    Raises:
        BenchError: input or output cannot be used.
    """
    config = grid.config
    grid.folder.check_writable()
    model = load(config.model, config.torch_device(), config.tokenizer, config.precision)
    require_starts(grid.plan.cells, model)
    examples = Examples(
        open_source(config.data),
        model.encoder,
        config.data_seed,
        config.input_length,
        config.validation_rows,
    )
    note_run(grid)
    return Equipment(model, examples)


def execute(
    grid: Grid,
    debug: bool = False,
    listeners: Sequence[Listener] = (),
    verbosity: Verbosity = "normal",
    stop: Stop | None = None,
    label: str = "",
    beside: Sequence[Sequence[Listener]] = (),
) -> Outcome:
    """Do what is left of a grid; a grid without work loads nothing.

    Args:
        grid: what to do.
        debug: whether to show the tracebacks of failed cells.
        listeners: told about every training.
        verbosity: what to print of the progress.
        stop: asked by every training whether to stop.
        label: of this process, before each line, if it is one of several.
        beside: listeners for each training that may share its passes with one that ``listeners``
            hear of: so many trainings, and one more, are trained together.

    Raises:
        BenchError: input or output cannot be used, or a listener failed.
    """
    if not grid.work.cells:
        return Outcome()
    equipment = equip(grid)
    with make_display(grid.work.units, verbosity=verbosity, label=label) as display:
        if verbosity == "verbose":
            listeners = (EvaluationLines(display), *listeners)
            beside = [(EvaluationLines(display), *each) for each in beside]
        display.say(f"preparing data of {len(grid.config.task_names())} tasks")
        return do_work(grid, equipment, display, debug, listeners, stop, beside=beside)


def do_work(
    grid: Grid,
    equipment: Equipment,
    display: Display,
    debug: bool = False,
    listeners: Sequence[Listener] = (),
    stop: Stop | None = None,
    faults: Mapping[str, str] = MappingProxyType({}),
    beside: Sequence[Sequence[Listener]] = (),
) -> Outcome:
    """Do the work of a grid with what was loaded for it.

    Args:
        grid: what to do.
        equipment: from :func:`equip`.
        display: told about progress.
        debug: as :func:`execute`.
        listeners: the same.
        stop: the same.
        faults: as :class:`~bench.runs.local.Runner`.
        beside: as :func:`execute`.

    Raises:
        BenchError: as :func:`execute`.
    """
    folder = grid.folder
    workshop = Workshop(
        equipment.model,
        equipment.examples,
        folder.prompts,
        folder.checkpoint,
        display,
        listeners,
        stop,
        beside,
    )
    prepare(grid.work, workshop)
    return Runner(grid.work, workshop, folder, display, debug, faults).run()
