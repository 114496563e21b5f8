"""The folder of a run: records, prompts and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bench.errors import RecordError
from bench.files import atomic_write
from bench.records import Record, read_record, write_record
from bench.runs.cells import Cell
from bench.runs.prompts import PromptStore
from bench.training.checkpoints import CheckpointFile

Overwrite = Literal["never", "failed", "always"]


class ResultFolder:
    """What a run writes, and where.

    Args:
        folder: records go to ``records/``, checkpoints to ``checkpoints/``.
        prompts: where prompts are kept; None: ``prompts/`` in the folder.
    """

    def __init__(self, folder: Path, prompts: Path | None = None) -> None:
        self.folder = folder
        self.records = folder / "records"
        self.prompts = PromptStore(prompts or folder / "prompts")

    def check_writable(self) -> None:
        """Find out before any work whether results can be written.

        Raises:
            OutputError: they cannot.
        """
        for folder in (self.records, self.prompts.folder, self.folder / "checkpoints"):
            probe = folder / ".writable"
            atomic_write(probe, b"")
            probe.unlink()

    def checkpoint(self, digest: str) -> CheckpointFile:
        """The checkpoint of a training."""
        return CheckpointFile(self.folder / "checkpoints" / f"{digest}.safetensors")

    def write(self, record: Record) -> Path:
        """Write a record; the cell's former record, if any, is replaced."""
        return write_record(record, self.records)

    def find(self, cell: Cell) -> Record | None:
        """The record of a cell; None if there is none or it is damaged (a later read warns)."""
        for path in self.records.glob(f"*-{cell.digest[:12]}.json"):
            try:
                record = read_record(path)
            except RecordError:
                continue
            if record.digest == cell.digest:
                return record
        return None

    def is_settled(self, cell: Cell, overwrite: Overwrite) -> bool:
        """Whether a cell's record stays as it is under a policy.

        ``never`` keeps every record, ``failed`` repeats failed cells, ``always`` repeats all.
        """
        if overwrite == "always":
            return False
        record = self.find(cell)
        if record is None:
            return False
        return overwrite == "never" or record.status == "finished"
