"""Writing a file so that it is there in full or not at all, and sealing its content."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import socket
import time
from functools import cache
from pathlib import Path
from typing import Final

from bench.errors import OutputError

UNSEALED: Final = "0" * 64
"""What the field ``seal`` of a JSON file holds while its seal is computed."""

_FIELD: Final = re.compile(rb'"seal": "([0-9a-f]{64})"')
_ABANDONED_AFTER: Final = 24 * 3600.0


def atomic_write(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``; a kill or power cut leaves the old file or the new one.

    The bytes go to a hidden temporary file in the same folder (a rename is atomic only within one
    file system), reach the disk, and then take the place of ``path``. Missing folders are made.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    temporary = _temporary(path.parent)
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
        raise _not_written(path, error) from error


def look_anew(folder: Path) -> None:
    """See all that other machines have done in a folder before; it is made if it is missing.

    A client of a network file system may say from memory, for a minute, that a file is not there
    (``lookupcache`` in nfs(5)). Who changes a folder is told whether others have changed it too.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    passing = _temporary(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(passing, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        passing.unlink()
    except OSError as error:
        raise _not_written(folder, error) from error


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of :func:`atomic_write` whose writer was killed.

    Those of this machine go as soon as the process is gone, all others after a day.
    """
    for path in folder.glob(".*-*-*.tmp"):
        machine, pid, _ = path.name[1:].split("-", 2)
        try:
            if machine == _machine() and pid.isdigit():
                abandoned = not process_exists(int(pid))
            else:
                abandoned = time.time() - path.stat().st_mtime > _ABANDONED_AFTER
            if abandoned:
                path.unlink(missing_ok=True)
        except OSError:
            continue  # Another process removed it, or may: it does no harm.


def process_exists(pid: int) -> bool:
    """Whether a process of this machine is there, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def sealed(data: bytes) -> bytes:
    """JSON whose field ``seal`` holds :data:`UNSEALED`, with its SHA-256 put in the place of it."""
    zeros = f'"seal": "{UNSEALED}"'.encode()
    return data.replace(zeros, zeros.replace(UNSEALED.encode(), _sha256(data)), 1)


def seal_holds(data: bytes) -> bool:
    """Whether JSON is as it was sealed; True where it has no seal, as in files of older versions.

    The seal is the SHA-256 of the file with 64 zeros in the place of the seal.
    """
    found = _FIELD.search(data)
    if found is None:
        return True
    start, end = found.span(1)
    return _sha256(data[:start] + UNSEALED.encode() + data[end:]) == found.group(1)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


@cache
def _machine() -> str:
    """Names this machine: among those with equal process numbers, it alone can ask for them."""
    namespace = Path("/proc/self/ns/pid")
    numbers = str(namespace.stat().st_ino) if namespace.exists() else ""
    return hashlib.sha256(f"{socket.gethostname()} {numbers}".encode()).hexdigest()[:12]


def _temporary(folder: Path) -> Path:
    """A new name in a folder; it tells who writes there: see :func:`remove_abandoned`."""
    return folder / f".{_machine()}-{os.getpid()}-{secrets.token_hex(8)}.tmp"


def _not_written(path: Path, error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    return OutputError(
        f"cannot write {path}: {reason}; choose a folder that is writable and has space"
    )


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
    except OSError as error:
        # Some file systems, such as shares of Windows, know this for files only.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


__all__ = [
    "UNSEALED",
    "atomic_write",
    "look_anew",
    "process_exists",
    "remove_abandoned",
    "seal_holds",
    "sealed",
]
