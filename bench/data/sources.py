"""Official splits from the hub, a folder or the bundled samples; no code of a dataset is run."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from bench.data.tables import FORMATS, files_below, read_tables, split_files
from bench.errors import DataError, one_line
from bench.files import file_digest, home_path
from bench.tasks.base import PARQUET_BRANCH, Row, Task

if TYPE_CHECKING:
    import datasets

T = TypeVar("T")

OFFICIAL_ROW = "official_row"  # Column with the number of each row in its official split.


@dataclass
class DataSource:
    """The hub, or a folder with one subfolder per task; provides official splits."""

    kind: Literal["hub", "local", "bundled"]
    name: str  # for captions and records
    folder: Path | None = None  # None for the hub

    def of(self, task: Task) -> DataSource:
        """This source, or the local folder of a task that declares its files."""
        path = task.repository
        return DataSource("local", path, Path(path)) if task.files else self

    def _folder(self, task: Task) -> Path | None:
        folder = self.of(task).folder
        return folder if folder is None or task.files else folder / task.name

    def fingerprint(self, task: Task) -> str:
        """Digest of the task's files, or hub repository, configuration and commit."""
        if (folder := self._folder(task)) is None:
            return f"{task.repository}@{task.config}@{self.revision(task)}"
        splits = self.splits(task) or ("train",)
        files = [(file, split) for split in splits for file in self._files(task, split)[0]]
        digests = []
        for file, split in sorted(files):
            name = re.sub(f"{FORMATS}$", "", file.relative_to(folder).as_posix())
            name = split if task.files else name
            try:
                digests.append(f"{name}={file_digest(file)}")
            except OSError as error:
                raise DataError(f"cannot read {file} ({error.strerror})") from error
        return sha256("\x1f".join(digests).encode()).hexdigest()

    def revision(self, task: Task) -> str | None:
        """Commit of the dataset on the hub; None for local files."""
        return _commit(task.repository, task.revision) if self._folder(task) is None else None

    def splits(self, task: Task) -> tuple[str, ...]:
        """Names of the task's official splits in this source."""
        folder = self._folder(task)
        names = dict.fromkeys([*task.splits, *task.rows])
        if folder is None or task.files:
            return tuple(names)
        names |= dict.fromkeys(("validation", "test"))
        return tuple(name for name in names if split_files(folder, name, task.config))

    def load(self, task: Task, split: str) -> datasets.Dataset:
        """All rows of an official split: the task's columns and :data:`OFFICIAL_ROW`."""
        import datasets

        files, origin = self._files(task, split)
        columns = list(task.columns)
        table = read_tables(files, columns)
        if missing := [column for column in columns if column not in table.column_names]:
            raise DataError(
                f"{origin} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}: "
                f"{task.name} needs {', '.join(columns)}"
            )
        if len(table) == 0:
            raise DataError(f"{origin} has no rows: {task.name} needs some")
        table = table.select(columns).append_column(OFFICIAL_ROW, [range(len(table))])
        # The description is the origin, for messages; the fingerprint saves hashing all rows.
        return datasets.Dataset(table, datasets.DatasetInfo(origin), fingerprint="rows")

    def _files(self, task: Task, split: str) -> tuple[list[Path], str]:
        """Files of the split, and their origin for messages."""
        if (folder := self._folder(task)) is None:
            return _download(task, split)
        declared = task.files
        files = [declared[split]] if declared else split_files(folder, split, task.config)
        if not files:
            others = ", ".join(files_below(folder)[:6]) or "no files"
            raise DataError(
                f"{folder / split}.parquet is missing (found: {others}): {task.name} needs its "
                f"splits {', '.join(task.splits)} as parquet, JSON, CSV or save_to_disk, with "
                f"the columns {', '.join(task.columns)}"
            )
        others = f" and {len(files) - 1} more" if len(files) > 1 else ""
        return files, f"{files[0]}{others}"


def open_source(text: str) -> DataSource:
    """Open ``hub``, ``bundled``, or a folder (``./hub`` for a folder named hub)."""
    if text == "hub":
        return DataSource("hub", text)
    if text == "bundled":  # Generated, part of the package.
        return DataSource("bundled", "bundled samples", Path(__file__).parent / "samples")
    folder = home_path(text)
    if not text or not folder.is_dir():
        raise DataError(
            f"there is no data folder {folder}: name a folder of <task>/<split>.parquet files, or "
            "hub, or bundled"
        )
    return DataSource("local", str(folder), folder)


@functools.cache
def _commit(path: str, revision: str) -> str:
    """Commit of a hub revision; a branch that cannot be looked up is returned unchanged."""
    from huggingface_hub import HfApi

    cached = bool(offline_variables())
    with suppress(Exception):  # Reading the rows will give the reason.
        options = {"repo_type": "dataset", "revision": revision, "local_files_only": cached}
        return str(HfApi().resolve_revision(path, **options).resolved)
    return revision


def _download(task: Task, split: str) -> tuple[list[Path], str]:
    """Download a split to the hub's cache; returns its files, and their origin for messages."""
    import datasets
    import huggingface_hub.utils

    huggingface_hub.utils.disable_progress_bars()
    huggingface_hub.utils.logging.set_verbosity_error()
    origin = " ".join(part for part in (task.repository, task.config, split) if part)
    # On the parquet branch, a dataset without configurations has one of this name.
    config = task.config or ("default" if task.revision == PARQUET_BRANCH else "")
    try:
        folder = huggingface_hub.snapshot_download(
            task.repository,
            repo_type="dataset",
            revision=task.revision,
            allow_patterns=f"{config}/*{split}*".removeprefix("/"),
            local_files_only=datasets.config.HF_HUB_OFFLINE,  # Also for HF_DATASETS_OFFLINE.
        )
        files = split_files(Path(folder, config), split)
        if not files:
            raise FileNotFoundError("no files of this split")
        for file in (file.resolve() for file in files):  # Large files are named by digest.
            if len(file.name) == 64 and file_digest(file) != file.name:
                raise ValueError(f"{file} is damaged, delete it")
    except Exception as error:  # the libraries' errors have no common base
        raise DataError(
            f"cannot load {origin} at revision {task.revision} from the hub or its cache "
            f"{_reason_and_advice(error, task)}"
        ) from error
    return files, origin


def _reason_and_advice(error: Exception, task: Task) -> str:
    """Reason and advice for an error of huggingface_hub."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    reason = one_line(error)
    if isinstance(error, LocalEntryNotFoundError):
        reason = one_line(error.__cause__) if error.__cause__ else "it is not in the cache"
    advice = f"run 'bench data prefetch --task {task.name}' where there is network"
    if isinstance(error, GatedRepoError):
        page = f"{constants.ENDPOINT}/datasets/{task.repository}"
        advice = f"accept its terms on {page}, then log in with 'hf auth login'"
    elif isinstance(error, HfHubHTTPError):
        advice = "check its name or try again later; if it is private, log in with 'hf auth login'"
    elif isinstance(error, OSError) and error.errno:
        cache = f"the cache {constants.HF_HUB_CACHE}"
        advice = f"{cache} must be writable, with free space and file locks; HF_HOME names another"
    elif variables := offline_variables():
        advice = f"{' and '.join(variables)} forbids downloads: unset it, or {advice}"
    else:
        advice += f", or name a folder of {task.name}/<split>.parquet files"
    return f"({reason}): {advice}"


def offline_variables() -> list[str]:
    """The environment variables that forbid downloads."""
    names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
    return [n for n in names if os.environ.get(n, "").upper() in {"1", "ON", "YES", "TRUE"}]


def read_split(rows: datasets.Dataset, read: Callable[[Row], T]) -> Iterator[T]:
    """Yield ``read(row)`` for each row; a DataError gets the origin and the number of the row."""
    batches = rows.with_format("arrow").iter(256)  # Single rows of datasets are slow.
    for row in (row for batch in batches for row in batch.to_pylist()):
        try:
            value = read(row)
        except DataError as error:
            number = row[OFFICIAL_ROW]
            raise DataError(f"{rows.info.description}, row {number}: {error}") from None
        yield value
