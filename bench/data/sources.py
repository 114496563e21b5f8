"""Data sources: the hub, a local folder, or the bundled samples.

A source hands out whole official splits in the hub's columns; :mod:`bench.data.splits` cuts them.
Code that comes with a dataset is never run.
"""

from __future__ import annotations

import abc
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bench.data.tables import FORMATS, files_below, read_tables, split_files
from bench.errors import DataError, one_line
from bench.files import file_digest
from bench.tasks.base import PARQUET_BRANCH, Row, Task

if TYPE_CHECKING:
    import datasets

T = TypeVar("T")

BATCH = 256
"""Rows read together: single rows of ``datasets`` are slow."""

OFFICIAL_ROW = "official_row"
"""Column with the number of each row in its official split."""


class DataSource(abc.ABC):
    """A place that holds the official splits of the tasks; ``name`` is for captions and records."""

    kind: Literal["hub", "local", "bundled"]
    name: str

    @abc.abstractmethod
    def fingerprint(self, task: Task) -> str:
        """Id of the content of all splits of the task; reads no rows."""

    @abc.abstractmethod
    def splits(self, task: Task) -> tuple[str, ...]:
        """The official splits of the task that the source has."""

    def revision(self, task: Task) -> str | None:
        """The pinned revision of the dataset, if the source has revisions."""
        return None

    def load(self, task: Task, split: str) -> datasets.Dataset:
        """All rows of an official split: the task's columns and :data:`OFFICIAL_ROW`.

        Their ``info.description`` is their origin, for messages.
        """
        import datasets
        import huggingface_hub.utils

        for library in (datasets, huggingface_hub.utils):
            library.disable_progress_bars()
            library.logging.set_verbosity_error()
        (files, origin), columns = self._files(task, split), list(task.hub.columns)
        table = read_tables(files, columns)
        if missing := [column for column in columns if column not in table.column_names]:
            raise DataError(
                f"{origin} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}: "
                f"{task.name} needs {', '.join(columns)}"
            )
        if len(table) == 0:
            raise DataError(f"{origin} has no rows: {task.name} needs some")
        # With a given fingerprint, datasets does not read all rows to make one.
        named = datasets.NamedSplit(split)
        rows = datasets.Dataset(table, split=named, fingerprint=digest(origin))
        rows = rows.select_columns(columns).add_column(OFFICIAL_ROW, range(len(rows)))
        rows.info.description = origin
        return rows

    @abc.abstractmethod
    def _files(self, task: Task, split: str) -> tuple[list[Path], str]:
        """The files of the split, and their name for messages."""


class Hub(DataSource):
    """The Hugging Face hub, or its cache on this machine."""

    kind = "hub"
    name = "hub"

    def fingerprint(self, task: Task) -> str:
        return f"{task.hub.path}@{task.hub.config}@{task.hub.revision}"

    def revision(self, task: Task) -> str | None:
        return task.hub.revision

    def splits(self, task: Task) -> tuple[str, ...]:
        return (*dict.fromkeys([*task.hub.splits, *task.hub.rows]),)

    def _files(self, task: Task, split: str) -> tuple[list[Path], str]:
        import datasets
        import huggingface_hub

        hub = task.hub
        origin = " ".join(part for part in (hub.path, hub.config, split) if part)
        # On the parquet branch, a dataset without configurations has one of this name.
        config = hub.config or ("default" if hub.revision == PARQUET_BRANCH else "")
        try:
            folder = huggingface_hub.snapshot_download(
                hub.path,
                repo_type="dataset",
                revision=hub.revision,
                allow_patterns=f"{config}/*{split}*".removeprefix("/"),
                local_files_only=datasets.config.HF_HUB_OFFLINE,  # Also for HF_DATASETS_OFFLINE.
            )
            files = split_files(Path(folder, config), split)
            if not files:
                raise FileNotFoundError("no files of this split")
            for file in (file.resolve() for file in files):  # Large ones are named by their digest.
                if len(file.name) == 64 and file_digest(file) != file.name:
                    raise ValueError(f"{file} is damaged, delete it")
        except Exception as error:  # the libraries' errors have no common base
            raise DataError(
                f"cannot load {origin} at revision {hub.revision} from the hub or its cache "
                f"{_reason_and_advice(error, task)}"
            ) from error
        return files, origin


def _reason_and_advice(error: Exception, task: Task) -> str:
    """What an error of the hub's library says, and what to do about it."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    reason = one_line(error)
    if isinstance(error, LocalEntryNotFoundError):
        reason = one_line(error.__cause__) if error.__cause__ else "it is not in the cache"
    advice = f"run 'bench data prefetch --task {task.name}' where there is network"
    if isinstance(error, GatedRepoError):
        page = f"{constants.ENDPOINT}/datasets/{task.hub.path}"
        advice = f"accept its terms on {page}, then log in with 'hf auth login'"
    elif isinstance(error, HfHubHTTPError):
        advice = "check its name or try again later; if it is private, log in with 'hf auth login'"
    elif isinstance(error, OSError) and error.errno:
        place = f"the cache {constants.HF_HUB_CACHE}"
        advice = f"{place} must be writable, with free space and file locks; HF_HOME names another"
    elif variables := offline_variables():
        advice = f"{' and '.join(variables)} forbids downloads: unset it, or {advice}"
    else:
        advice += f", or name a folder of {task.name}/<split>.parquet files"
    return f"({reason}): {advice}"


def offline_variables() -> list[str]:
    """The environment variables that forbid downloads."""
    names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
    return [k for k in names if os.environ.get(k, "").upper() in {"1", "ON", "YES", "TRUE"}]


class LocalFolder(DataSource):
    """A folder of a folder for each task, with files as :mod:`bench.data.tables` reads them."""

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.kind, self.name = Path(folder), "local", str(folder)
        if not self.folder.is_dir():
            raise DataError(
                f"there is no data folder {folder}: name a folder of <task>/<split>.parquet "
                "files, or hub, or bundled"
            )

    def splits(self, task: Task) -> tuple[str, ...]:
        names = dict.fromkeys([*task.hub.splits, *task.hub.rows, "validation", "test"])
        return tuple(name for name in names if self._find(task, name))

    def fingerprint(self, task: Task) -> str:
        """Digest of the names and bytes of the task's files."""
        splits, folder = self.splits(task) or ("train",), self.folder / task.name
        parts = list[str]()
        for file in sorted(file for split in splits for file in self._files(task, split)[0]):
            name = re.sub(f"{FORMATS}$", "", file.relative_to(folder).as_posix())
            try:
                parts.append(f"{name}={file_digest(file)}")
            except OSError as error:
                raise DataError(f"cannot read {file} ({error.strerror})") from error
        return digest(*parts)

    def _find(self, task: Task, split: str) -> list[Path]:
        return split_files(self.folder / task.name, split, task.hub.config)

    def _files(self, task: Task, split: str) -> tuple[list[Path], str]:
        files, folder = self._find(task, split), self.folder / task.name
        if not files:
            others = ", ".join(files_below(folder)[:6]) or "no files"
            raise DataError(
                f"{folder / split}.parquet is missing (found: {others}): {task.name} needs its "
                f"splits {', '.join(task.hub.splits)} as parquet, JSON, CSV or save_to_disk, with "
                f"the columns {', '.join(task.hub.columns)}"
            )
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        return files, f"{files[0]}{more}"


def open_source(text: str) -> DataSource:
    """The data source ``hub``, ``bundled``, or a folder (``./hub`` for a folder of that name)."""
    if text == "hub":
        return Hub()
    if text != "bundled":
        return LocalFolder(Path(text).expanduser())
    source = LocalFolder(Path(__file__).parent / "samples")  # Generated, part of the package.
    source.kind, source.name = "bundled", "bundled samples"
    return source


def read_split(rows: datasets.Dataset, read: Callable[[Row], T]) -> Iterator[T]:
    """What ``read`` makes of each row of a split or a selection of it."""
    return read_each(rows.iter(BATCH), rows.info.description, read)


def read_each(
    batches: Iterable[Mapping[str, list[Any]]], origin: str, read: Callable[[Row], T]
) -> Iterator[T]:
    """What ``read`` makes of each row of batches; a :class:`DataError` names origin and row."""
    for row in (row for columns in batches for row in rows_of(columns)):
        try:
            value = read(row)
        except DataError as error:
            raise DataError(f"{origin}, row {row[OFFICIAL_ROW]}: {error}") from None
        yield value


def rows_of(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """The rows of a batch of ``datasets``."""
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, values, strict=True)) for values in rows]


def digest(*parts: object) -> str:
    """SHA-256 over the text of ``parts``, as 64 hexadecimal digits."""
    return sha256("\x1f".join(map(str, parts)).encode()).hexdigest()
