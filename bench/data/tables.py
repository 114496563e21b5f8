"""Files of a dataset split, read as an Arrow table.

Files are read without ``datasets``, which copies them and reads ``::`` in a path as a URL.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import DataError, one_line

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = r"\.(parquet|arrow|(jsonl?|csv|tsv)(\.gz)?)"
OTHER_NAMES = {"validation": "validation|valid|val|dev"}


def split_files(folder: Path, split: str, config: str | None = None) -> list[Path]:
    """Files below a folder that hold a split, in order; empty if there are none.

    Recognises names of the hub (``<split>-00000-of-00002.parquet``, ``<split>/0000.parquet``) and
    of ``save_to_disk``. Among several configurations, ``config`` is used.
    """
    name = OTHER_NAMES.get(split, re.escape(split))
    in_folder = rf"({name})/((data(set)?|part|{name})\b.*|\d[^/]*)"
    pattern = re.compile(rf"(.*/)?(({name})([-_.]?\d[^/]*)?|{in_folder}){FORMATS}")
    files = [file for file in files_below(folder) if pattern.fullmatch(file)]
    if config and any("/" in file for file in files):
        files = [file for file in files if config in file.split("/")] or files
    copies = {re.sub(rf"\d[^/]*(?={FORMATS}$)", "", file) for file in files}
    totals = {int(total) for file in files for total in re.findall(r"\d-of-(\d+)", file)}
    if len(copies) > 1 or totals - {len(files)}:
        raise DataError(
            f"{folder} must hold one complete copy of the split {split}, but has "
            f"{', '.join(files[:6])}: add missing files, remove others"
        )
    # Natural order: train-2 before train-10.
    files.sort(key=lambda file: re.sub(r"\d+", lambda number: number[0].zfill(20), file))
    return [folder / file for file in files]


def files_below(folder: Path) -> list[str]:
    """Relative paths of all files that are not hidden."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in files]
    return [name for name in names if "/." not in f"/{name}"]


def read_tables(files: Sequence[Path], columns: Sequence[str]) -> pa.Table:
    """Concatenated rows of files; columns that no file has are left out."""
    import pyarrow as pa

    tables = list[pa.Table]()
    for file in files:
        try:
            table = _read(file, columns)
            table = table.select([name for name in columns if name in table.column_names])
            fields = [pa.field(column.name, _plain(column.type)) for column in table.schema]
            tables.append(table.cast(pa.schema(fields)))
            tables = [pa.concat_tables(tables, promote_options="permissive")]
        except Exception as error:  # the libraries' errors have no common base
            raise DataError(
                f"cannot read {file} ({one_line(error)}): it must be readable and whole, in UTF-8, "
                "with one type a column"
            ) from error
    return tables[0]


def _read(file: Path, columns: Sequence[str]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv, parquet

    suffix = file.name.removesuffix(".gz").rpartition(".")[2]
    if suffix == "parquet":
        return parquet.ParquetFile(file).read(columns=list(columns))
    if suffix == "arrow":
        return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
    if suffix in ("csv", "tsv"):
        delimiter = "\t" if suffix == "tsv" else ","
        read = csv.ReadOptions(block_size=1 << 26)  # Types follow from the first block.
        parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        convert = csv.ConvertOptions(include_columns=list(columns), include_missing_columns=True)
        table = csv.read_csv(file, read, parse, convert)
        return table.select([field.name for field in table.schema if field.type != pa.null()])
    content = file.read_bytes()
    text = (gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8-sig")
    lines, is_array = filter(str.strip, text.split("\n")), text.lstrip().startswith("[")
    rows = json.loads(text) if is_array else list(map(json.loads, lines))
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is {row!r}, not an object")
    present = [name for name in columns if any(name in row for row in rows)]
    return pa.table({name: [row.get(name) for row in rows] for name in present})


def _plain(arrow_type: pa.DataType) -> pa.DataType:
    """Arrow type without dictionary or view encoding; bytes become UTF-8 text."""
    import pyarrow as pa

    if pa.types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    if arrow_type == pa.large_binary():
        return pa.large_string()
    return pa.string() if arrow_type in (pa.binary(), pa.string_view()) else arrow_type
