"""All tables, figures and the page of a results folder, as files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from bench.files import atomic_write
from bench.reports.analyses import all_sheets
from bench.reports.figures import FILE_FORMATS, draw_figures, save_drawing
from bench.reports.html import save_report
from bench.reports.render import FORMATS, Format, render_tables
from bench.reports.results import Results
from bench.reports.sheets import render_sheets

_SUFFIXES: Mapping[Format, str] = {
    "markdown": "md",
    "latex": "tex",
    "csv": "csv",
    "json": "json",
}

SETTINGS = "all-tasks"
"""Name of the tables that hold all tasks of a setting."""

PAGE = "index.html"

CONTENTS = "contents.json"
"""Names all other files, each with the SHA-256 of what was written."""

_OWN: Final = re.compile(r"(?:tables|figures)/[\w-]+\.\w+")


def save_everything(
    results: Results, folder: Path, method_order: Sequence[str] = ()
) -> Iterator[Path]:
    """Write ``folder/tables``, ``folder/figures`` and the page; equal records give equal files.

    What the records do not suffice for is left out. Files of an earlier call that are not written
    now are removed in the end, unless they were changed since; no other file is.

    Args:
        results: the records.
        folder: is made if it is missing.
        method_order: names of methods in the order of rows and legends; others follow by name.

    Yields:
        Each file, once it is written.

    Raises:
        RecordError: there is no record to show.
        OutputError: a file cannot be written.
    """
    earlier = _read_contents(folder)
    contents: dict[str, str] = {}
    for path in _save(results, folder, method_order):
        contents[path.relative_to(folder).as_posix()] = _sha256(path)
        yield path
    text = json.dumps({"files": dict(sorted(contents.items()))}, indent=1)
    atomic_write(folder / CONTENTS, f"{text}\n".encode())
    yield folder / CONTENTS
    for name in earlier.keys() - contents.keys():
        with suppress(OSError):  # It is not there any more.
            if _sha256(folder / name) == earlier[name]:
                (folder / name).unlink()


def _save(results: Results, folder: Path, method_order: Sequence[str]) -> Iterator[Path]:
    analyses = all_sheets(results, method_order)
    for form in FORMATS:
        texts = {SETTINGS: render_tables(results, form, method_order=method_order)}
        texts |= {name: render_sheets(found, form) for name, found in analyses.sheets.items()}
        for name, text in texts.items():
            path = folder / "tables" / f"{name}.{_SUFFIXES[form]}"
            atomic_write(path, text.encode())
            yield path
    figures = draw_figures(results, method_order)
    for drawing in figures.drawings:
        for kind in FILE_FORMATS:
            yield save_drawing(drawing, folder / "figures", kind)
    save_report(results, folder / PAGE, method_order, analyses, figures)
    yield folder / PAGE


def _read_contents(folder: Path) -> dict[str, str]:
    """What an earlier call wrote into tables and figures: SHA-256 by name; empty if unknown."""
    try:
        files = json.loads((folder / CONTENTS).read_bytes())["files"]
        return {name: digest for name, digest in files.items() if _OWN.fullmatch(name)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


__all__ = ["CONTENTS", "PAGE", "SETTINGS", "save_everything"]
