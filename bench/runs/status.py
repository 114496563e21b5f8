"""How far the runs of a result folder are: done, running, waiting and failed cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench.records import Record, read_records
from bench.runs.bundle import read_notes
from bench.runs.claims import Claims, Note
from bench.runs.results import ResultFolder


@dataclass(frozen=True)
class Running:
    """What a process works on.

    Attributes:
        kind: ``cell`` or ``prompt``.
        note: what, where, since when, and at which step.
        silent: seconds since its last sign of life.
    """

    kind: str
    note: Note
    silent: float

    def describe(self) -> str:
        """One line."""
        note = self.note
        step = "" if note.step is None else f", step {note.step}/{note.total}"
        return (
            f"{self.kind} {note.what}: on {note.host}, process {note.pid}, since {note.since}{step}"
            f", last sign of life {self.silent:.0f} s ago"
        )


@dataclass(frozen=True)
class Status:
    """The state of a result folder.

    Attributes:
        done: number of cells with a finished record.
        failed: records of the failed cells.
        running: what living processes work on.
        waiting: digests of the cells that a run planned and nobody has finished or works on.
        warnings: one line for each file that cannot be read.
    """

    done: int
    failed: tuple[Record, ...]
    running: tuple[Running, ...]
    waiting: tuple[str, ...]
    warnings: tuple[str, ...]


def status(place: ResultFolder) -> Status:
    """Look at a result folder; changes nothing.

    Raises:
        RecordError: the folder cannot be listed.
    """
    records, warnings = read_records(place.records)
    notes, damaged = read_notes(place)
    cells = dict(_running(place.claims, "cell"))
    prompts = dict(_running(place.prompts.claims, "prompt"))
    known = {record.digest for record in records} | cells.keys()
    planned = dict.fromkeys(digest for note in notes for digest in note.cells)
    return Status(
        done=sum(record.status == "finished" for record in records),
        failed=tuple(record for record in records if record.status == "failed"),
        running=tuple(_joined([*cells.values()], [*prompts.values()])),
        waiting=tuple(digest for digest in planned if digest not in known),
        warnings=(*warnings, *damaged),
    )


def _running(claims: Claims, kind: str) -> Iterator[tuple[str, Running]]:
    for digest in claims.all():
        silent, note = claims.held(digest), claims.note(digest)
        if silent is not None and note is not None:
            yield digest, Running(kind, note, silent)


def _joined(cells: list[Running], prompts: list[Running]) -> Iterator[Running]:
    """A cell that trains its own prompt holds two claims, of which one knows the step."""
    own = {(prompt.note.host, prompt.note.pid, prompt.note.what): prompt for prompt in prompts}
    for cell in cells:
        prompt = own.pop((cell.note.host, cell.note.pid, cell.note.what), None)
        if prompt is not None:
            note = replace(cell.note, step=prompt.note.step, total=prompt.note.total)
            cell = replace(cell, note=note)
        yield cell
    yield from own.values()


__all__ = ["Running", "Status", "status"]
