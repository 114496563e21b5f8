"""The folder of a run: records, prompts and checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from bench.errors import OutputError, RecordError
from bench.files import atomic_write, remove_abandoned
from bench.predictions import Predictions, predictions_file, write_predictions
from bench.records import Record, read_record, write_record
from bench.runs.cells import Cell
from bench.runs.claims import Claims
from bench.runs.prompts import PromptStore
from bench.training.checkpoints import CheckpointFile

Overwrite = Literal["never", "failed", "always"]


class ResultFolder:
    """What a run writes, and where.

    Args:
        folder: records and predictions go to ``records/``, checkpoints to ``checkpoints/``, notes
            of the runs to ``configs/``, what listeners write to ``logs/``; ``claims/`` says which
            cells are being worked on.
        prompts: where prompts are kept; None: ``prompts/`` in the folder.
    """

    def __init__(self, folder: Path, prompts: Path | None = None) -> None:
        self.folder = folder
        self.records = folder / "records"
        self.configs = folder / "configs"
        self.logs = folder / "logs"
        self.checkpoints = folder / "checkpoints"
        self.prompts = PromptStore(prompts or folder / "prompts")
        self.claims = Claims(folder / "claims", results=self.records)

    def check_writable(self) -> None:
        """Find out before any work whether results can be written; clear up after killed runs.

        Raises:
            OutputError: they cannot.
        """
        written = (self.records, self.prompts.folder, self.checkpoints)
        for folder in written:
            probe = folder / ".writable"
            atomic_write(probe, b"")
            probe.unlink(missing_ok=True)  # Another run may make and remove it at the same time.
        claims = (self.claims.folder, self.prompts.claims.folder)
        for folder in (*written, self.configs, *claims):
            remove_abandoned(folder)

    def checkpoint(self, digest: str) -> CheckpointFile:
        """The checkpoint of a training."""
        return CheckpointFile(self.checkpoints / f"{digest}.safetensors")

    def write(self, record: Record, predictions: Predictions | None = None) -> Path:
        """Write a record, and before it the predictions it names.

        The cell's former record, if any, is replaced. Killed in between, the cell has no record: no
        record ever lies beside predictions of another run.

        Raises:
            RecordError: the record does not follow the schema.
            OutputError: the folder cannot be written.
        """
        answers = self.records / predictions_file(record)
        if predictions is None:
            path = write_record(record, self.records)
            _remove(answers)
            return path
        _remove(self.records / record.file_name)
        write_predictions(predictions, answers)
        return write_record(record, self.records)

    def settled(self, cells: Iterable[Cell], overwrite: Overwrite) -> set[str]:
        """Digests of the cells whose records stay as they are under a policy.

        ``never`` keeps every record, ``failed`` repeats failed cells, ``always`` repeats all. A
        damaged record settles nothing: its cell is done again.
        """
        if overwrite == "always":
            return set()
        found = set()
        for cell in cells:
            record = self.find(cell)
            if record is not None and (overwrite == "never" or record.status == "finished"):
                found.add(cell.digest)
        return found

    def find(self, cell: Cell) -> Record | None:
        """The record of a cell; None if there is none, or it is damaged."""
        try:
            record = read_record(self.records / cell.file_name)
        except RecordError:
            return None
        return record if record.digest == cell.digest else None

    def stamp(self, cell: Cell) -> str | None:
        """Tells one writing of a cell's record from the next; None: there is none."""
        try:
            return hashlib.sha256((self.records / cell.file_name).read_bytes()).hexdigest()
        except OSError:
            return None


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot remove {path}: {reason}; remove it by hand") from error
