"""Records that may be shown together: one setting, and one version of each task's data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.errors import RecordError
from bench.records import Record
from bench.reports.results import Results
from bench.reports.settings import DataVersion, Setting, data_versions, differing, shortened


@dataclass(frozen=True)
class Section:
    """What one table shows.

    Attributes:
        number: place among the sections of a results folder, from 1.
        setting: what the records have in common.
        differences: what sets this section apart from the others, one phrase each.
        records: at least one.
    """

    number: int
    setting: Setting
    differences: tuple[str, ...]
    records: tuple[Record, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that occur, in order."""
        return tuple(sorted({record.cell.seed for record in self.records}))


def make_sections(
    results: Results,
    *,
    tasks: Sequence[str] | None = None,
    setting: Callable[[Record], Setting] = Setting.of,
) -> list[Section]:
    """Split the records of a results folder, as its tables are.

    Args:
        results: the records.
        tasks: those to keep; None: all.
        setting: of a record; records of unequal settings are kept apart.

    Raises:
        RecordError: there is no record to show.
    """
    records = [r for r in results.records if tasks is None or r.cell.task in tasks]
    if not records:
        asked = "" if tasks is None else f" of {', '.join(tasks)}"
        raise RecordError(
            f"no readable result record{asked} in {results.folder}: run `bench run` with this "
            "folder as --out first"
        )
    by_setting: dict[Setting, list[Record]] = defaultdict(list)
    for record in records:
        by_setting[setting(record)].append(record)
    parts = [
        (common, members, {**common.facts(), **versions})
        for common in sorted(by_setting, key=Setting.sort_key)
        for members, versions in _by_version(by_setting[common])
    ]
    telling = differing([facts for _, _, facts in parts])
    return [
        Section(
            number=number,
            setting=common,
            differences=tuple(_phrase(name, facts[name]) for name in telling if name in facts),
            records=tuple(members),
        )
        for number, (common, members, facts) in enumerate(parts, start=1)
    ]


def _by_version(records: list[Record]) -> list[tuple[list[Record], dict[str, str]]]:
    """Records of one setting, split so that each part has one version of each task's data.

    The n-th part takes the n-th oldest version of every task. With each part comes, for tasks of
    several versions, which one it is.
    """
    versions = data_versions(records)
    parts: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        known = versions[record.cell.task]
        own = DataVersion.of(record)
        parts[next(i for i, version in enumerate(known) if version.holds(own))].append(record)
    return [
        (
            parts[index],
            {
                f"data of {task}": str(known[index])
                for task, known in sorted(versions.items())
                if index < len(known) > 1
            },
        )
        for index in sorted(parts)
    ]


def _phrase(name: str, value: object) -> str:
    # Only the number of shots may be None.
    text = "full data" if value is None else shortened(str(value))
    return f"{name.replace('_', ' ')} {text}"


__all__ = ["Section", "make_sections"]
