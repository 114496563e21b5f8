"""Where official splits come from: the hub, a local folder, or the bundled samples.

A source hands out whole official splits in the hub's columns; cutting them into training,
validation and test rows is the business of :mod:`bench.data.splits`. No source ever runs code that
comes with a dataset.
"""

from __future__ import annotations

import abc
import functools
import glob
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from bench.data.rows import cache_folder, digest, quiet_datasets, with_origin
from bench.errors import DataError, one_line
from bench.tasks.task import Task

if TYPE_CHECKING:
    import datasets

SourceKind = Literal["hub", "local", "bundled"]

SAMPLES = Path(__file__).parent / "samples"
"""The bundled samples: ``<task>/<split>.parquet``, written by ``tools/sample_world``."""


class _Official(NamedTuple):
    """One official split.

    Attributes:
        rows: all of them.
        origin: what error messages call it.
        content: what identifies the content, together with task and split.
    """

    rows: datasets.Dataset
    origin: str
    content: str


class DataSource(abc.ABC):
    """A place that holds the official splits of the tasks."""

    kind: ClassVar[SourceKind]

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What captions and records call it."""

    @abc.abstractmethod
    def fingerprint(self, task: Task) -> str:
        """What identifies the content of the task's splits; cheap, no pass over the rows.

        Raises:
            DataError: the source does not have the task.
        """

    @abc.abstractmethod
    def splits(self, task: Task) -> tuple[str, ...]:
        """The official splits that the source has of the task.

        Raises:
            DataError: the source does not have the task.
        """

    def revision(self, task: Task) -> str | None:
        """The pinned revision of the dataset; None where there is no such thing."""
        return None

    def load(self, task: Task, split: str) -> datasets.Dataset:
        """All rows of one official split, numbered, in the columns that the task reads.

        Raises:
            DataError: the split or a column is missing, or cannot be read.
        """
        quiet_datasets()
        rows, origin, content = self._read(task, split)
        require_rows(task, len(rows), origin)
        require_columns(task, rows.column_names, origin)
        rows = rows.select_columns(list(task.hub.columns))
        return with_origin(rows, origin, digest(content, task.name, split))

    @abc.abstractmethod
    def _read(self, task: Task, split: str) -> _Official:
        """Find or fetch one official split."""


class Hub(DataSource):
    """The Hugging Face hub, or what its cache on this machine holds."""

    kind = "hub"
    name = "hub"

    def fingerprint(self, task: Task) -> str:
        """Repository, configuration and revision."""
        return f"{task.hub.path}@{task.hub.config}@{task.hub.revision}"

    def revision(self, task: Task) -> str | None:
        return task.hub.revision

    def splits(self, task: Task) -> tuple[str, ...]:
        return task.hub.splits

    def _read(self, task: Task, split: str) -> _Official:
        from bench.data.hub import load_split

        origin, rows = load_split(task, split)
        # A revision may be a branch; the library's fingerprint holds the commit it stands for.
        return _Official(rows, origin, rows._fingerprint)


class LocalFolder(DataSource):
    """A folder of ``<task>/<split>.parquet`` files in the hub's columns.

    Args:
        folder: as the user named it.

    Raises:
        DataError: there is no such folder.
    """

    kind = "local"

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._digests: dict[str, str] = {}
        if not self.folder.is_dir():
            raise DataError(
                f"there is no data folder {folder}: name a folder of <task>/<split>.parquet "
                f"files, or hub, or bundled"
            )

    @property
    def name(self) -> str:
        return str(self.folder)

    def splits(self, task: Task) -> tuple[str, ...]:
        return tuple(file.stem for file in self._files(task))

    def fingerprint(self, task: Task) -> str:
        """Digest of the names and bytes of the task's files, read once."""
        if task.name not in self._digests:
            self._digests[task.name] = _files_digest(self._files(task))
        return self._digests[task.name]

    def _files(self, task: Task) -> list[Path]:
        files = sorted((self.folder / task.name).glob("*.parquet"))
        if not files:
            raise DataError(
                f"{self.folder} has no data of {task.name}: put {', '.join(task.hub.splits)} as "
                f".parquet files into {self.folder / task.name}"
            )
        return files

    def _read(self, task: Task, split: str) -> _Official:
        import datasets
        import pyarrow as pa
        import pyarrow.parquet as pq

        from bench.data.hub import root_cause

        if split not in self.splits(task):
            raise DataError(
                f"{self.folder / task.name / split}.parquet is missing: {task.name} needs its "
                f"splits {', '.join(task.hub.splits)}, with the columns "
                f"{', '.join(task.hub.columns)}"
            )
        file = self.folder / task.name / f"{split}.parquet"
        try:
            metadata = pq.read_metadata(file)
            schema = metadata.schema.to_arrow_schema().remove_metadata()  # labels as plain numbers
            require_columns(task, schema.names, str(file))
            require_rows(task, metadata.num_rows, str(file))
            features = datasets.Features.from_arrow_schema(schema)
            columns = list(task.hub.columns)
            rows = datasets.load_dataset(
                "parquet",
                data_files={split: glob.escape(str(file.resolve()))},
                split=split,
                columns=columns,
                features=datasets.Features({column: features[column] for column in columns}),
                # The content names the folder: datasets itself goes by the time of the file.
                cache_dir=str(cache_folder("local", self.fingerprint(task))),
            )
        except (OSError, ValueError, pa.ArrowException, datasets.exceptions.DatasetsError) as error:
            reason = one_line(root_cause(error))
            raise DataError(
                f"cannot read {file} ({reason}): write it again as a parquet file"
            ) from error
        return _Official(rows, str(file), self.fingerprint(task))


class BundledSamples(DataSource):
    """The generated samples that come with the package."""

    kind = "bundled"
    name = "bundled samples"

    def fingerprint(self, task: Task) -> str:
        """Digest of the names and bytes of the task's files."""
        return _files_digest(self._files(task))

    def splits(self, task: Task) -> tuple[str, ...]:
        return tuple(file.stem for file in self._files(task))

    def _files(self, task: Task) -> list[Path]:
        files = sorted((SAMPLES / task.name).glob("*.parquet"))
        if not files:
            raise DataError(f"there are no bundled samples of {task.name}: use the hub or a folder")
        return files

    def _read(self, task: Task, split: str) -> _Official:
        if split not in self.splits(task):
            raise DataError(f"the bundled samples of {task.name} have no {split} split")
        rows = bundled_rows(task.name, split)
        return _Official(rows, f"bundled {task.name} {split}", self.fingerprint(task))


def bundled_rows(task: str, split: str) -> datasets.Dataset:
    """All rows and columns of one split of the bundled samples, held in memory."""
    return _read_table(SAMPLES / task / f"{split}.parquet")


@functools.cache
def _read_table(file: Path) -> datasets.Dataset:
    import datasets
    import pyarrow.parquet as pq

    return datasets.Dataset(
        datasets.table.InMemoryTable(pq.read_table(file)), split=datasets.NamedSplit(file.stem)
    )


def open_source(text: str) -> DataSource:
    """The data source that a user names.

    Args:
        text: ``hub``, ``bundled``, or a folder (``./hub`` for a folder of that name).

    Raises:
        DataError: there is no such folder.
    """
    if text == "hub":
        return Hub()
    if text == "bundled":
        return BundledSamples()
    return LocalFolder(text)


def require_columns(task: Task, present: Sequence[str], origin: str) -> None:
    """Check that a split has every column that the task reads.

    Raises:
        DataError: names the missing ones.
    """
    missing = [column for column in task.hub.columns if column not in present]
    if missing:
        plural = "s" if len(missing) > 1 else ""
        raise DataError(
            f"{origin} lacks the column{plural} {', '.join(missing)}: {task.name} needs "
            f"{', '.join(task.hub.columns)}"
        )


def require_rows(task: Task, rows: int, origin: str) -> None:
    """Check that a split is not empty.

    Raises:
        DataError: it is.
    """
    if rows == 0:
        raise DataError(f"{origin} has no rows: {task.name} needs some")


def _files_digest(files: Sequence[Path]) -> str:
    return digest(*(f"{file.stem}={_file_digest(file)}" for file in files))


def _file_digest(file: Path) -> str:
    checksum = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                checksum.update(block)
    except OSError as error:
        raise DataError(f"cannot read {file} ({error.strerror}): check its permissions") from error
    return checksum.hexdigest()
