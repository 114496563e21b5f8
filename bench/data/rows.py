"""Dataset rows that know where they come from.

Every official split that a source hands out carries the number of each row in a column of its own,
a description of its origin and a fingerprint of its content. The numbers survive shuffling,
splitting and sampling, so errors and stored predictions can name the official row; the fingerprint
is what the cache of encoded examples goes by.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DataError

if TYPE_CHECKING:
    import datasets

OFFICIAL_ROW = "official_row"
"""Column that numbers the rows of an official split."""


@functools.lru_cache(maxsize=1)
def quiet_datasets() -> None:
    """Leave the terminal to the harness: no progress bars or retry messages of the libraries."""
    import datasets
    import huggingface_hub.utils

    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity_error()
    huggingface_hub.utils.disable_progress_bars()
    huggingface_hub.utils.logging.set_verbosity_error()


def cache_folder(*names: str) -> Path:
    """Make and find a folder in our part of the cache of ``datasets`` (HF_DATASETS_CACHE).

    Raises:
        DataError: it cannot be written.
    """
    import datasets

    folder = Path(datasets.config.HF_DATASETS_CACHE).joinpath("dtvg-bench", *names)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise DataError(
            f"cannot write the cache folder {folder} ({error.strerror}): "
            f"set HF_DATASETS_CACHE to a folder that can be written"
        ) from error
    return folder


def digest(*parts: object) -> str:
    """SHA-256 over the text of ``parts``, as 64 hexadecimal digits."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()


def with_origin(rows: datasets.Dataset, origin: str, fingerprint: str) -> datasets.Dataset:
    """Number the rows of an official split and note their origin.

    Args:
        rows: the whole split.
        origin: what an error message calls it, such as the path of its file.
        fingerprint: digest of its content.
    """
    import datasets

    info = rows.info.copy()
    info.description = origin
    stamped = datasets.Dataset(rows.data, info=info, split=rows.split, fingerprint=fingerprint)
    return number_rows(stamped)


def number_rows(rows: datasets.Dataset) -> datasets.Dataset:
    """Add the column :data:`OFFICIAL_ROW`, unless it is there."""
    if OFFICIAL_ROW in rows.column_names:
        return rows
    return rows.add_column(OFFICIAL_ROW, range(len(rows)))


def rows_of(columns: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """The rows of a batch that ``datasets`` hands out as columns."""
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


@contextmanager
def blaming(origin: str, row: int) -> Iterator[None]:
    """Name the row in any :class:`DataError` raised within."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{origin}, row {row}: {error}") from None
