"""What a reader must know before believing the numbers of a results folder."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from bench.records import Record
from bench.reports.results import Results
from bench.reports.sections import Section
from bench.reports.settings import row_labels, shortened

FEW_TEST_ROWS = 100
"""Below it, one row more or less moves an accuracy by over a percentage point."""

LOW_LABEL_SHARE = 0.9
"""Below it, answers that are no label at all decide the score."""


@dataclass(frozen=True)
class Caution:
    """One warning.

    Attributes:
        kind: of warning, for programs.
        text: one sentence.
        details: where it holds, one line each.
    """

    kind: str
    text: str
    details: tuple[str, ...] = ()


def find_cautions(results: Results, sections: Sequence[Section]) -> list[Caution]:
    """All warnings about some records, the gravest first.

    Args:
        results: the records.
        sections: the same records as tables show them.
    """
    records = results.records
    finders: tuple[Callable[[], Iterator[Caution]], ...] = (
        lambda: _toys(records),
        lambda: _left_out(results.warnings),
        lambda: _failed(records),
        lambda: _gaps(sections),
        lambda: _single_seeds(sections),
        lambda: _dirty(records),
        lambda: _mixed(records),
        lambda: _few_rows(records),
        lambda: _no_labels(records),
        lambda: _not_computed(records),
        lambda: _notes(records),
    )
    return [caution for finder in finders for caution in finder()]


def _toys(records: Sequence[Record]) -> Iterator[Caution]:
    toys = Counter(
        f"model {cell.model.name}" if bundled_model else "bundled samples"
        for cell in (record.cell for record in records)
        for bundled_model in (True, False)
        if (cell.model.bundled if bundled_model else cell.data.kind == "bundled")
    )
    if toys:
        yield Caution(
            "bundled",
            "Bundled with the package, to show that everything works: these numbers are no results "
            "about the methods.",
            _counted(toys),
        )


def _left_out(warnings: Sequence[str]) -> Iterator[Caution]:
    if warnings:
        yield Caution("files", f"{_number(len(warnings), 'file')} left out.", tuple(warnings))


def _failed(records: Sequence[Record]) -> Iterator[Caution]:
    failed = [record for record in records if record.status == "failed"]
    if failed:
        lines = tuple(
            f"{describe(record)}: {record.error.type}: {record.error.message}"
            for record in failed
            if record.error is not None
        )
        yield Caution("failed", f"{_number(len(failed), 'cell')} failed.", lines)


def _gaps(sections: Sequence[Section]) -> Iterator[Caution]:
    lines = []
    missing = conflicts = 0
    for section in sections:
        labels = row_labels(section.records)
        there: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
        for record in section.records:
            there[labels[record.digest], record.cell.task][record.cell.seed] += 1
        rows = dict.fromkeys(label for label, _ in there)
        tasks = dict.fromkeys(task for _, task in there)
        for label, task in product(rows, tasks):
            seeds = there.get((label, task), Counter())
            lacking = [seed for seed in section.seeds if seed not in seeds]
            twice = [seed for seed, number in sorted(seeds.items()) if number > 1]
            missing += len(lacking)
            conflicts += len(twice)
            where = f"table {section.number}, {label} on {task}"
            if lacking:
                lines.append(f"{where}: no record of {_seeds(lacking)}")
            if twice:
                lines.append(f"{where}: records of {_seeds(twice)} contradict each other")
    if lines:
        parts = [f"{_number(missing, 'cell')} of the full grid missing"] if missing else []
        parts += [f"{_number(conflicts, 'cell')} with contradicting records"] if conflicts else []
        yield Caution("missing", f"{', '.join(parts)}.", tuple(lines))


def _single_seeds(sections: Sequence[Section]) -> Iterator[Caution]:
    single = [f"table {s.number}: {_seeds(s.seeds)}" for s in sections if len(s.seeds) == 1]
    if single:
        text = "Only one seed: nothing is known about the spread over seeds."
        yield Caution("single-seed", text, tuple(single))


def _dirty(records: Sequence[Record]) -> Iterator[Caution]:
    dirty = Counter(
        f"commit {(record.provenance.git_commit or 'unknown')[:12]}"
        for record in records
        if record.provenance.git_dirty
    )
    if dirty:
        yield Caution(
            "dirty",
            f"{_number(sum(dirty.values()), 'cell')} made with uncommitted changes: the commit "
            "does not say with what code.",
            _counted(dirty),
        )
    outside = sum(record.provenance.git_commit is None for record in records)
    if outside:
        text = f"{_number(outside, 'cell')} made outside a git checkout: the commit is unknown."
        yield Caution("no-commit", text)


def _mixed(records: Sequence[Record]) -> Iterator[Caution]:
    facts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        provenance = record.provenance
        facts["python"][provenance.python] += 1
        facts["platform"][provenance.platform] += 1
        facts["processor"][provenance.hardware.cpu] += 1
        facts["GPU"][provenance.hardware.gpu or "none"] += 1
        facts["commit"][(provenance.git_commit or "unknown")[:12]] += 1
        facts["harness code"][shortened(record.cell.code.harness)] += 1
    for name in dict.fromkeys(name for record in records for name in record.provenance.versions):
        facts[name] = Counter(r.provenance.versions.get(name, "none") for r in records)
    mixed = {name: values for name, values in facts.items() if len(values) > 1}
    if mixed:
        lines = tuple(f"{name}: {', '.join(_counted(values))}" for name, values in mixed.items())
        yield Caution("mixed", f"Not all cells were made alike: {', '.join(mixed)} differ.", lines)


def _few_rows(records: Sequence[Record]) -> Iterator[Caution]:
    rows = {
        (record.cell.task, record.rows.test)
        for record in records
        if record.rows is not None and record.rows.test < FEW_TEST_ROWS
    }
    if rows:
        lines = tuple(
            f"{task}: {number} test rows; one is worth {100 / max(number, 1):.1f} percentage points"
            for task, number in sorted(rows)
        )
        tasks = len({task for task, _ in rows})
        yield Caution(
            "few-test-rows", f"{_number(tasks, 'task')} with fewer than {FEW_TEST_ROWS} test rows.",
            lines,
        )  # fmt: skip


def _no_labels(records: Sequence[Record]) -> Iterator[Caution]:
    low = [
        (share, record)
        for record in records
        if record.scores is not None
        and (share := record.scores.valid_label_share.test) is not None
        and share < LOW_LABEL_SHARE
    ]
    if low:
        low.sort(key=lambda pair: pair[0])
        yield Caution(
            "invalid-labels",
            f"{_number(len(low), 'cell')} with less than {LOW_LABEL_SHARE:.0%} of the test answers "
            "among the task's labels: the prompt has not taught the model to answer.",
            tuple(f"{describe(record)}: {share:.0%}" for share, record in low),
        )


def _not_computed(records: Sequence[Record]) -> Iterator[Caution]:
    reasons = Counter(
        f"{metric}: {reason}"
        for record in records
        if record.scores is not None
        for metric, reason in record.scores.left_out.items()
    )
    if reasons:
        yield Caution("left-out", "Metrics that could not be computed.", _counted(reasons))


def _notes(records: Sequence[Record]) -> Iterator[Caution]:
    tasks: dict[str, dict[str, None]] = defaultdict(dict)
    for record in records:
        for note in record.rows.notes if record.rows is not None else ():
            tasks[note][record.cell.task] = None
    if tasks:
        lines = tuple(f"{', '.join(names)}: {note}" for note, names in tasks.items())
        yield Caution("notes", "Rows or splits that differ from the protocol.", lines)


def describe(record: Record) -> str:
    """Method, task, shots and seed of a record in short."""
    cell = record.cell
    shots = "full data" if cell.shots is None else f"{cell.shots} shots"
    return f"{cell.method.label} on {cell.task}, {shots}, seed {cell.seed}"


def _seeds(seeds: Iterable[int]) -> str:
    known = list(seeds)
    return f"{'seed' if len(known) == 1 else 'seeds'} {', '.join(map(str, known))}"


def _counted(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{name} ({_number(count, 'cell')})" for name, count in sorted(counts.items()))


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


__all__ = ["FEW_TEST_ROWS", "LOW_LABEL_SHARE", "Caution", "describe", "find_cautions"]
