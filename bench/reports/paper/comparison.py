"""Tables of transfer: each method minus a reference, per target and over all targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.errors import RecordError
from bench.reports.captions import DASH, setting_sentence
from bench.reports.evidence import Evidence
from bench.reports.order import DECIMALS, tasks_in_order
from bench.reports.paper.entries import BETTER, WORSE, interval
from bench.reports.paper.notes import INTERVAL
from bench.reports.paper.rows import make_rows
from bench.reports.paper.transfer import (
    FEWEST,
    Summary,
    TaskDifference,
    summaries,
    task_differences,
)
from bench.reports.results import Results
from bench.reports.sections import Section, make_sections
from bench.reports.sheets import Entry, Head, Line, Scalar, Sheet
from bench.reports.statistics import ALPHA, LEVEL, RESAMPLES
from bench.reports.text import METHOD_HEAD, signed
from bench.tasks import SUITES

Differences = Mapping[str, Sequence[TaskDifference]]


def comparison_sheets(
    results: Results,
    against: str,
    *,
    method_order: Sequence[str] = (),
    evidence: Evidence | None = None,
) -> tuple[list[Sheet], list[str]]:
    """Two tables for each setting that has the reference: over all targets, and per target.

    Args:
        results: the records.
        against: label of the row that is subtracted.
        method_order: names of methods in the order of the rows; others follow by name.
        evidence: of the same folder, if other tables have asked for some already.

    Returns:
        The tables, and a warning for each cell whose predictions cannot be used.

    Raises:
        RecordError: there is no record to show, or nothing to compare with.
    """
    evidence = evidence or Evidence(results)
    sheets: list[Sheet] = []
    labels: set[str] = set()
    for section in make_sections(results):
        rows = make_rows(section, method_order)
        labels.update(row.label for row in rows)
        reference = next((row for row in rows if row.label == against), None)
        if reference is None:
            continue
        tasks = tasks_in_order(record.cell.task for record in section.records)
        shots = section.setting.shots
        differences = task_differences(rows, reference, tasks, shots, evidence)
        if any(differences.values()):
            sheets.append(_summary_sheet(len(sheets) + 1, section, against, differences))
            sheets.append(_task_sheet(len(sheets) + 1, section, against, differences))
    if not sheets:
        raise RecordError(
            f"nothing to compare with {against!r} in {results.folder}: it needs finished cells of "
            "this row and of another on the same tasks and seeds (rows: "
            f"{', '.join(sorted(labels))})"
        )
    return sheets, evidence.warnings


def _caption(section: Section, against: str) -> str:
    parts = [setting_sentence(section.setting, section.seeds)]
    if section.differences:
        parts.append(f"Unlike the other tables: {'; '.join(section.differences)}.")
    parts.append(
        f"Test scores minus those of {against} on the same task and seed, in percentage points of "
        "the metric that tables show; means over common seeds."
    )
    return " ".join(parts)


def _values(section: Section, against: str) -> dict[str, Scalar]:
    return {
        **section.setting.facts(),
        "differences": "; ".join(section.differences),
        "seeds": " ".join(map(str, section.seeds)),
        "against": against,
    }


def _summary_sheet(number: int, section: Section, against: str, differences: Differences) -> Sheet:
    tasks = {d.task for own in differences.values() for d in own}
    scopes = {"all targets": tasks}
    if others := tasks & set(SUITES["sources"]):
        scopes["targets that are no source"] = tasks - others
    heads = (
        Head("", "targets"),
        Head("", "mean difference", f"[{LEVEL:.0%} interval]"),
        Head("", "transfer"),
        *(Head("targets with a", title) for title in ("win", "tie", "loss")),
        *(Head("significant", title) for title in ("wins", "losses")),
        Head("Wilcoxon over targets", "p"),
        Head("Wilcoxon over targets", "p (Holm)"),
    )
    lines = [
        Line(scope, label, _summary_entries(summary), {"kind": "summary", "scope": scope})
        for scope, members in scopes.items()
        for label, summary in summaries(differences, members).items()
    ]
    return Sheet(
        number=number,
        title=f"Transfer over all targets: each method minus {against}",
        caption=_caption(section, against),
        notes=(
            f"The interval of the mean is the {LEVEL:.0%} percentile interval of a bootstrap of "
            f"two stages ({RESAMPLES:,} resamples): over targets and, within each, over seeds. "
            "It does not contain the chance in the choice of test rows. With few targets or seeds "
            "it is too narrow rather than too wide. Transfer helps or hurts where it does not hold "
            f"0 and there are at least {FEWEST} targets: fewer could all go one way by chance.",
            f"Wins, ties and losses by the mean difference as shown ({DECIMALS} digit behind the "
            f"point); significant ones at {ALPHA:g} by the test of the table per target.",
            "Wilcoxon: two-sided signed-rank test (scipy) over the targets' mean differences, with "
            "Holm's correction for the methods of a block.",
            "Means over targets add up different metrics, as the papers' averages do.",
        ),
        corner=METHOD_HEAD,
        units="",
        groups="over",
        heads=heads,
        lines=tuple(lines),
        values=_values(section, against),
    )


def _summary_entries(summary: Summary) -> tuple[Entry, ...]:
    ends = summary.interval
    counts = {
        "wins": summary.count(1),
        "ties": summary.count(0),
        "losses": summary.count(-1),
        "significant_wins": summary.count(1, significant=True),
        "significant_losses": summary.count(-1, significant=True),
    }
    tested = any(d.p_value is not None for d in summary.differences)
    return (
        _count("targets", len(summary.differences)),
        Entry(
            signed(summary.mean),
            after="" if ends is None else interval(ends),
            number=summary.mean,
            values={"difference": summary.mean, **_ends(ends)},
        ),
        Entry(summary.verdict, values={"verdict": summary.verdict}),
        *(
            _count(name, count if tested or not name.startswith("significant") else None)
            for name, count in counts.items()
        ),
        _p_value("p_value", summary.p_value),
        _p_value("p_holm", summary.adjusted),
    )


def _count(name: str, count: int | None) -> Entry:
    return Entry(DASH if count is None else str(count), number=count, values={name: count})


def _p_value(name: str, value: float) -> Entry:
    return Entry(p_text(value), number=value, values={name: value})


def _ends(ends: tuple[float, float] | None) -> dict[str, Scalar]:
    low, high = (None, None) if ends is None else ends
    return {"ci_low": low, "ci_high": high}


def _task_sheet(number: int, section: Section, against: str, differences: Differences) -> Sheet:
    labels = [label for label, own in differences.items() if own]
    by_task = {label: {d.task: d for d in differences[label]} for label in labels}
    heads = [
        Head(label, title, values={"label": label})
        for label in labels
        for title in ("difference", "sources (seeds)")
    ]
    lines = []
    for task in tasks_in_order(d.task for own in differences.values() for d in own):
        found = [by_task[label].get(task) for label in labels]
        entries = [entry for difference in found for entry in _task_entries(difference)]
        lines.append(Line("", task, tuple(entries), {"kind": "target", "task": task}))
    tested = sum(d.p_value is not None for own in differences.values() for d in own)
    return Sheet(
        number=number,
        title=f"Transfer per target: each method minus {against}",
        caption=_caption(section, against),
        notes=(*_task_notes(tested, against), _sources_note()),
        corner="target",
        units="",
        groups="",
        heads=tuple(heads),
        lines=tuple(lines),
        values=_values(section, against),
    )


def _task_notes(tested: int, against: str) -> list[str]:
    if not tested:
        return ["No intervals and no tests: no predictions are stored for such pairs."]
    tests = "one comparison" if tested == 1 else f"{tested} comparisons"
    return [
        f"In brackets: {INTERVAL}, paired; the spread over seeds is not in it.",
        f"{BETTER} above, {WORSE} below {against}: significant at {ALPHA:g} in the two-sided "
        f"paired bootstrap, after Holm's correction for the {tests} of this table.",
    ]


def _sources_note() -> str:
    return (
        "Sources behind the best checkpoint, with the number of seeds: SPoT the one it started "
        "from, ATTEMPT the one with most attention, DTVG all of its group, and methods "
        f"that do not choose (MPT) all that they start from; {DASH} where records do not tell."
    )


def _task_entries(difference: TaskDifference | None) -> tuple[Entry, Entry]:
    if difference is None:
        return Entry(DASH), Entry(DASH)
    ends = difference.interval
    mark = ""
    if difference.significant:
        mark = BETTER if difference.mean > 0 else WORSE
    values: dict[str, Scalar] = {
        "difference": difference.mean,
        **_ends(ends),
        "n_seeds": len(difference.by_seed),
        "p_value": difference.p_value,
        "p_holm": difference.adjusted,
        "outcome": {1: "win", 0: "tie", -1: "loss"}[difference.outcome],
    }
    sources = ", ".join(f"{name} {count}" for name, count in difference.sources.items())
    return (
        Entry(
            signed(difference.mean),
            mark=mark,
            after="" if ends is None else interval(ends),
            number=difference.mean,
            values=values,
        ),
        Entry(sources or DASH, values={"sources": sources or None}),
    )


def p_text(value: float) -> str:
    """A p-value with three digits behind the point."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


__all__ = ["comparison_sheets"]
