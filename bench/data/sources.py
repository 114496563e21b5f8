"""Data sources: the hub, a local folder, or the bundled samples.

A source hands out whole official splits in the hub's columns; :mod:`bench.data.splits` cuts them.
Code that comes with a dataset is never run.
"""

from __future__ import annotations

import abc
import glob
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bench.errors import DataError, one_line
from bench.files import file_digest
from bench.tasks.base import PARQUET_BRANCH, HubSource, Row, Task

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
        (rows, origin), columns = self._read(task, split), list(task.hub.columns)
        if missing := [column for column in columns if column not in rows.column_names]:
            raise DataError(
                f"{origin} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}: "
                f"{task.name} needs {', '.join(columns)}"
            )
        if len(rows) == 0:
            raise DataError(f"{origin} has no rows: {task.name} needs some")
        rows = rows.select_columns(columns).add_column(OFFICIAL_ROW, range(len(rows)))
        rows.info.description = origin
        return rows

    @abc.abstractmethod
    def _read(self, task: Task, split: str) -> tuple[datasets.Dataset, str]:
        """The split, and its file or dataset for messages."""


class Hub(DataSource):
    """The Hugging Face hub, or its cache on this machine."""

    kind = "hub"
    name = "hub"

    def fingerprint(self, task: Task) -> str:
        return f"{task.hub.path}@{task.hub.config}@{task.hub.revision}"

    def revision(self, task: Task) -> str | None:
        return task.hub.revision

    def splits(self, task: Task) -> tuple[str, ...]:
        return task.hub.splits

    def _read(self, task: Task, split: str) -> tuple[datasets.Dataset, str]:
        origin = " ".join(part for part in (task.hub.path, task.hub.config, split) if part)
        try:
            return _load_from_hub(task.hub, split), origin
        except Exception as error:  # the libraries' errors have no common base
            raise DataError(
                f"cannot load {origin} at revision {task.hub.revision} from the hub or its cache "
                f"({one_line(error.__cause__ or error)}): run 'bench data prefetch --task "
                f"{task.name}' where there is network and set HF_HUB_OFFLINE=1, or name a folder "
                f"of {task.name}/<split>.parquet files"
            ) from error


def _load_from_hub(hub: HubSource, split: str) -> datasets.Dataset:
    import datasets
    import huggingface_hub

    if hub.revision == PARQUET_BRANCH:
        # Read from the downloaded files: offline, datasets does not find its own cache of them.
        pattern = f"{hub.config or 'default'}/{split}/*.parquet"
        folder = huggingface_hub.snapshot_download(
            hub.path, repo_type="dataset", revision=hub.revision, allow_patterns=pattern
        )
        files = [glob.escape(str(file)) for file in sorted(Path(folder).glob(pattern))]
        return datasets.load_dataset("parquet", data_files={split: files}, split=split)
    rows = datasets.load_dataset(**hub.load_arguments(), split=split)
    for file in rows.cache_files:
        # .../<configuration>/<version>/<commit>/<file>; offline, datasets takes any commit it has.
        commit = Path(file["filename"]).parent.name
        if commit != hub.revision:
            raise FileNotFoundError(f"the cache of this machine holds only revision {commit}")
    return rows


class LocalFolder(DataSource):
    """A folder of ``<task>/<split>.parquet`` files in the hub's columns, read into memory."""

    def __init__(self, folder: str | Path) -> None:
        self.folder, self._fingerprints = Path(folder), dict[str, str]()
        self.kind, self.name = "local", str(folder)
        if not self.folder.is_dir():
            raise DataError(
                f"there is no data folder {folder}: name a folder of <task>/<split>.parquet "
                "files, or hub, or bundled"
            )

    def splits(self, task: Task) -> tuple[str, ...]:
        return tuple(file.stem for file in self._files(task, "*"))

    def fingerprint(self, task: Task) -> str:
        """Digest of the names and bytes of the task's files, read once."""
        if task.name not in self._fingerprints:
            try:
                sums = [f"{file.stem}={file_digest(file)}" for file in self._files(task, "*")]
            except OSError as error:
                raise DataError(f"cannot read {error.filename} ({error.strerror})") from error
            self._fingerprints[task.name] = digest(*sums)
        return self._fingerprints[task.name]

    def _files(self, task: Task, split: str) -> list[Path]:
        files = sorted((self.folder / task.name).glob(f"{split}.parquet"))
        if not files:
            raise DataError(
                f"{self.folder / task.name / split}.parquet is missing: {task.name} needs its "
                f"splits {', '.join(task.hub.splits)}, with the columns "
                f"{', '.join(task.hub.columns)}"
            )
        return files

    def _read(self, task: Task, split: str) -> tuple[datasets.Dataset, str]:
        import datasets
        import pyarrow as pa
        import pyarrow.parquet as pq

        (file,) = self._files(task, split)
        try:
            table = pq.ParquetFile(file).read(columns=list(task.hub.columns))
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"cannot read {file} ({one_line(error)}): write it again as a parquet file"
            ) from error
        table = table.replace_schema_metadata(None)  # class labels as plain numbers
        name = digest(self.fingerprint(task), split)
        rows = datasets.Dataset(table, split=datasets.NamedSplit(split), fingerprint=name)
        return rows, str(file)


def open_source(text: str) -> DataSource:
    """The data source ``hub``, ``bundled``, or a folder (``./hub`` for a folder of that name)."""
    if text == "hub":
        return Hub()
    if text != "bundled":
        return LocalFolder(text)
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
