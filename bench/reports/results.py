"""The records of a results folder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import RecordError
from bench.records import Record, read_records, records_folder


@dataclass(frozen=True)
class Results:
    """What a results folder holds.

    Attributes:
        folder: as the user named it.
        records: one per cell, in the order of their files.
        warnings: one line per file that was left out.
    """

    folder: Path
    records: tuple[Record, ...]
    warnings: tuple[str, ...]

    @property
    def records_folder(self) -> Path:
        """Where the files of the records lie."""
        return records_folder(self.folder)

    def only(self, digests: Collection[str]) -> Results:
        """The records of the given cells."""
        chosen = tuple(record for record in self.records if record.digest in digests)
        return replace(self, records=chosen)


def load_results(folder: Path) -> Results:
    """Read ``folder/records/*.json``, or ``folder/*.json`` if there is no such folder.

    Damaged files, and copies of a record that was already read, are left out with a warning.

    Raises:
        RecordError: the folder does not exist or cannot be listed.
    """
    if not folder.is_dir():
        raise RecordError(f"no results folder {folder}: give the --out folder of a run")
    place = records_folder(folder)
    records, warnings = read_records(place)
    known: dict[str, Record] = {}
    for record in records:
        if known.setdefault(record.digest, record) is not record:
            warnings.append(
                f"{place} holds cell {record.digest[:12]} ({record.cell.task}, "
                f"{record.cell.method.label}) more than once: only one record of it is used"
            )
    return Results(folder, tuple(known.values()), tuple(warnings))


def table_score(record: Record) -> float:
    """Test score of a finished record in the metric that tables show, in percent."""
    assert record.scores is not None
    return record.scores.test[record.scores.table_metric]


__all__ = ["Results", "load_results", "table_score"]
