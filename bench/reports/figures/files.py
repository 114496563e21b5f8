"""Figures as files: equal drawings give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from bench.files import atomic_write
from bench.reports.figures.drawing import Drawing
from bench.reports.figures.style import house_style

FileFormat = Literal["pdf", "png"]

FILE_FORMATS: tuple[FileFormat, ...] = ("pdf", "png")

_METADATA: Mapping[str, Mapping[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None},
    "png": {"Software": None},
}
"""Without the time of writing."""


def save_drawing(drawing: Drawing, folder: Path, format: FileFormat) -> Path:
    """Write a drawing as ``folder / name.format``.

    Raises:
        OutputError: the file cannot be written.
    """
    path = folder / f"{drawing.name}.{format}"
    atomic_write(path, _render(drawing, format))
    return path


def small_png(drawing: Drawing, dots_per_inch: int = 150, colours: int = 128) -> bytes:
    """A drawing as a PNG file for pages: a fifth of the size of that for print."""
    from PIL import Image

    with Image.open(io.BytesIO(_render(drawing, "png", dpi=dots_per_inch))) as image:
        reduced = image.convert("RGB").quantize(colours)
    data = io.BytesIO()
    reduced.save(data, "png", optimize=True)
    return data.getvalue()


def _render(drawing: Drawing, format: FileFormat, **options: Any) -> bytes:
    data = io.BytesIO()
    metadata = {"Title": drawing.title, **_METADATA[format]}
    with house_style():
        drawing.figure.savefig(data, format=format, metadata=metadata, **options)
    return data.getvalue()


__all__ = ["FILE_FORMATS", "FileFormat", "save_drawing", "small_png"]
