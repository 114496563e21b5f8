"""Load one official split from the Hugging Face hub or its cache, at its pinned revision."""

from __future__ import annotations

import glob
from pathlib import Path

import datasets
import huggingface_hub
import huggingface_hub.errors

from bench.errors import DataError, one_line
from bench.tasks.task import PARQUET_BRANCH, Task

_REFUSALS = (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError)

_HTTP_ERROR: type[Exception] = huggingface_hub.errors.HfHubHTTPError.__mro__[1]
"""What a broken connection raises in the HTTP library that huggingface_hub is built on."""


class HubUnreachableError(DataError):
    """The hub does not answer, and the cache does not hold what was asked for."""


class NotCachedError(DataError):
    """Only the cache can be asked, and it does not hold the dataset at its pinned revision."""


def offline() -> bool:
    """Whether HF_HUB_OFFLINE keeps the libraries to the cache of this machine."""
    return bool(datasets.config.HF_HUB_OFFLINE)


def load_split(task: Task, split: str) -> tuple[str, datasets.Dataset]:
    """Load an official split.

    Returns:
        What error messages call it, and its rows.

    Raises:
        HubUnreachableError: the hub does not answer.
        NotCachedError: the hub cannot be asked, and the cache does not hold this revision.
        DataError: the hub does not have the dataset, revision, configuration or split.
    """
    hub = task.hub
    origin = " ".join(part for part in (hub.path, hub.config, split) if part)
    try:
        rows = _load(task, split)
    except (*_REFUSALS, _HTTP_ERROR) as error:
        raise _hub_fault(task, origin, error) from error
    _require_revision(task, rows, origin)
    return origin, rows


def _load(task: Task, split: str) -> datasets.Dataset:
    try:
        return datasets.load_dataset(**task.hub.load_arguments(), split=split)
    except (*_REFUSALS, _HTTP_ERROR):
        files = _cached_files(task, split)
        if not files:
            raise
        return datasets.load_dataset("parquet", data_files={split: files}, split=split)


def _cached_files(task: Task, split: str) -> list[str]:
    """The downloaded files of a configuration of the parquet branch, as patterns.

    The library names what it made of them by their addresses on the hub, which it does not know
    without the hub; so it does not find its own cache again.
    """
    hub = task.hub
    if hub.revision != PARQUET_BRANCH or hub.config is None:
        return []
    try:
        folder = huggingface_hub.snapshot_download(
            hub.path, repo_type="dataset", revision=hub.revision, local_files_only=True
        )
    except huggingface_hub.errors.LocalEntryNotFoundError:
        return []
    files = Path(folder, hub.config, split).glob("*.parquet")
    return [glob.escape(str(file)) for file in sorted(files)]


def _hub_fault(task: Task, origin: str, error: Exception) -> DataError:
    """What to tell of a failed load."""
    folder = f"name a local folder of {task.name}/<split>.parquet files as the data"
    reason = one_line(root_cause(error))
    if offline():
        return NotCachedError(
            f"{origin} is not in the cache of this machine, and HF_HUB_OFFLINE is set: run "
            f"'bench data prefetch --task {task.name}' where there is network, or {folder} "
            f"({reason})"
        )
    if isinstance(error, ConnectionError) or not isinstance(error, _REFUSALS):
        return HubUnreachableError(
            f"cannot reach the hub for {origin}: {folder}, or fill the cache by 'bench data "
            f"prefetch' on a machine with network and set HF_HUB_OFFLINE=1 ({reason})"
        )
    return DataError(
        f"cannot load {origin} at revision {task.hub.revision} from the hub ({reason}): {folder}"
    )


def _require_revision(task: Task, rows: datasets.Dataset, origin: str) -> None:
    """Refuse another revision: the library takes any that it has cached if no hub answers.

    Raises:
        NotCachedError: the rows come from another commit than the pinned one.
    """
    pinned = task.hub.revision
    for file in rows.cache_files:
        folder = Path(file["filename"]).parent  # .../<configuration>/<version>/<commit>
        if pinned != PARQUET_BRANCH and folder.name != pinned:
            raise NotCachedError(
                f"the hub did not answer for {origin}, and the cache of this machine holds it at "
                f"revision {folder.name}, not at {pinned}: remove {folder} and run 'bench data "
                f"prefetch --task {task.name}' where there is network"
            )


def root_cause(error: BaseException) -> BaseException:
    """The innermost cause, which tells most."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
