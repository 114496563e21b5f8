"""Writing a file so that it is either there in full or not there at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from bench.errors import OutputError


def atomic_write(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``; a kill or power cut leaves the old file or the new one.

    The bytes go to a hidden temporary file in the same folder (a rename is atomic only within one
    file system), reach the disk, and then take the place of ``path``. Missing folders are made.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_to_disk(temporary, data)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write {path}: {reason}; choose a folder that is writable and has space"
        ) from error


def _write_to_disk(path: Path, data: bytes) -> None:
    # "x" refuses an existing file or link, and leaves the permissions to the umask.
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    # Without it the rename itself may be lost in a power cut.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = ["atomic_write"]
