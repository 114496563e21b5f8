"""Exactly one writer: who works on a unit holds its claim, a file that names its owner.

A claim is a lease of :mod:`filelock`: a file made exclusively, which names host, process and start
of the process, and which the owner touches as long as it lives. A dead owner's claim is taken over:
at once where the owner is seen to be gone (the same host), else after :data:`LEASE` seconds without
a touch, counted on the clock of who waits, so that clocks of several machines need not agree. It
needs no more of a shared file system than exclusive creation of files.

Should an owner sleep for longer than that and go on (a suspended machine), two work on one unit for
a while. Both write whole files of the same content; the sleeper learns of it before it writes.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.errors import OutputError
from bench.files import atomic_write, look_anew, process_exists
from bench.runs.provenance import now
from bench.training.listeners import Listener, TrainingInfo

if TYPE_CHECKING:
    from filelock import SoftFileLease

LEASE: Final = 300.0
"""Seconds without a sign of life after which a claim of another machine is void; the same for all
who share a folder."""

HEARTBEAT: Final = 20.0
"""Seconds between two signs of life."""

POLL: Final = 0.5
"""Seconds between two looks at a claim that another process holds."""

NOTE_EVERY: Final = 5.0
"""Seconds between two notes of the step of a training."""


class ClaimLostError(Exception):
    """Another process took the unit over, as this one gave no sign of life for too long."""


@dataclass(frozen=True)
class Note:
    """What an owner says of its work, for ``bench status``; beside the claim, and no part of it.

    Attributes:
        what: the unit in words.
        host: where it is worked on.
        pid: by which process.
        since: when that began, in ISO 8601.
        step: optimiser steps done, if it is a training.
        total: optimiser steps planned.
    """

    what: str
    host: str
    pid: int
    since: str
    step: int | None = None
    total: int | None = None


class Claims:
    """The claims on the units of one folder.

    Args:
        folder: holds ``DIGEST.lock`` and ``DIGEST.json`` for each unit that is worked on.
        lease: seconds after which a claim without a sign of life is void.
        results: where the owners of claims write; who gets one sees what owners before it wrote
            there, on a network file system too. None: wherever, and all see it at once.
    """

    def __init__(self, folder: Path, lease: float = LEASE, results: Path | None = None) -> None:
        self.folder = folder
        self._results = results
        self._lease = lease
        # Kept, as a lease remembers since when it has seen no sign of life.
        self._leases: dict[str, SoftFileLease] = {}
        self._unnamed: dict[str, tuple[tuple[int, int, int], float]] = {}

    def take(self, digest: str, what: str, wait: bool = False) -> bool:
        """Claim a unit; again and again, if given back as often.

        Args:
            digest: of the unit.
            what: the unit in words.
            wait: whether to wait for another process that holds it.

        Returns:
            Whether this process holds it now.

        Raises:
            OutputError: the folder cannot be written.
        """
        lease = self._of(digest)
        known = lease.is_locked
        while not self._acquire(digest, lease):
            if not wait:
                return False
            time.sleep(POLL)
        if not known:
            try:
                if self._results is not None:
                    look_anew(self._results)
                self._write(digest, Note(what, socket.gethostname(), os.getpid(), now()))
            except BaseException:
                self.give_back(digest)
                raise
        return True

    def give_back(self, digest: str) -> None:
        """Undo one :meth:`take`."""
        lease = self._of(digest)
        if lease.lock_counter == 1 and not self.lost(digest):
            # The error is that of a folder that became read-only; the next owner's replaces it.
            with suppress(OSError):
                self._note(digest).unlink(missing_ok=True)
        lease.release()
        if not lease.is_locked:
            del self._leases[digest]

    @contextmanager
    def holding(self, digest: str, what: str) -> Iterator[None]:
        """Hold a unit, after waiting for another process that does."""
        self.take(digest, what, wait=True)
        try:
            yield
        finally:
            self.give_back(digest)

    def lost(self, digest: str) -> bool:
        """Whether another process took a claim of this one over.

        The file is asked, as a process that slept sends signs of life no sooner than it works.
        """
        lease = self._of(digest)
        if lease.compromise is None and lease.is_locked and not _is_named(lease):
            # Who looks whether an owner is dead moves its claim aside for a moment.
            time.sleep(POLL)
            return not _is_named(lease)
        return lease.compromise is not None

    def check(self, digest: str) -> None:
        """Make sure of a claim before its unit is written.

        Raises:
            ClaimLostError: another process took it over.
        """
        if self.lost(digest):
            raise ClaimLostError(
                f"another process took it over after {self._lease:.0f} s without a sign of life"
            )

    def tell(self, digest: str, step: int, total: int) -> None:
        """Note how far a unit that this process holds has come."""
        note = self.note(digest)
        if note is not None and digest in self._leases:
            with suppress(OutputError):  # The next checkpoint tells of it, and what to do.
                self._write(digest, Note(note.what, note.host, note.pid, note.since, step, total))

    def all(self) -> list[str]:
        """The digests of all units with a claim, a dead owner's too."""
        return sorted(path.stem for path in self.folder.glob("*.lock"))

    def note(self, digest: str) -> Note | None:
        """What the owner of a claim says of its work, if there is one."""
        try:
            return Note(**json.loads(self._note(digest).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def held(self, digest: str) -> float | None:
        """Seconds since the last sign of life of who holds a unit; None if nobody does.

        Who is seen to be dead holds nothing. The seconds need clocks that agree: they are for
        reading, no decision rests on them.
        """
        lease = self._of(digest)
        try:
            age = time.time() - self._lock(digest).stat().st_mtime
        except OSError:
            return None
        owner, note = lease.owner, self.note(digest)
        here = note is not None and note.host == socket.gethostname()
        if owner is None or (here and not process_exists(owner.pid)):
            return None
        return max(0.0, age)

    def _of(self, digest: str) -> SoftFileLease:
        from filelock import SoftFileLease

        if digest not in self._leases:
            self._leases[digest] = SoftFileLease(
                self._lock(digest),
                lease_duration=self._lease,
                heartbeat_interval=min(HEARTBEAT, self._lease / 3),
                thread_local=False,
            )
        return self._leases[digest]

    def _acquire(self, digest: str, lease: SoftFileLease) -> bool:
        from filelock import Timeout

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lease.acquire(timeout=0)
        except Timeout:
            self._void_unnamed(self._lock(digest))
            return False
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(
                f"cannot write {self._lock(digest)}: {reason}; choose a folder that is writable "
                "and has space"
            ) from error
        self._unnamed.pop(digest, None)
        return True

    def _void_unnamed(self, lock: Path) -> None:
        """Void a claim that has named no owner for as long as a lease lasts.

        Its owner was killed between making and writing it, or the power failed before the name was
        on the disk. The lease would take it for one of an old version, and wait for ever; what it
        cannot read, it takes over.
        """
        with suppress(OSError), lock.open("r+b", buffering=0) as file:
            status = os.fstat(file.fileno())
            seen = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
            if status.st_size:
                self._unnamed.pop(lock.stem, None)
            elif (known := self._unnamed.get(lock.stem)) is None or known[0] != seen:
                self._unnamed[lock.stem] = seen, time.monotonic()
            elif time.monotonic() - known[1] >= self._lease:
                file.write(b"void\n")

    def _write(self, digest: str, note: Note) -> None:
        atomic_write(self._note(digest), json.dumps(asdict(note)).encode())

    def _lock(self, digest: str) -> Path:
        return self.folder / f"{digest}.lock"

    def _note(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"


def _is_named(lease: SoftFileLease) -> bool:
    """Whether the file of a claim names this holder of it."""
    owner = lease.owner
    return owner is not None and owner.token == lease.token


class StepNotes(Listener):
    """Notes the step of each training beside its claim."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._digest = ""
        self._next = 0.0

    def on_start(self, training: TrainingInfo, step: int, total: int) -> None:
        self._digest, self._next = training.digest, 0.0
        self.on_step(step, total)

    def on_step(self, step: int, total: int) -> None:
        if time.monotonic() >= self._next:
            self._claims.tell(self._digest, step, total)
            self._next = time.monotonic() + NOTE_EVERY


__all__ = ["HEARTBEAT", "LEASE", "ClaimLostError", "Claims", "Note", "StepNotes"]
