"""Versions of the packages that results rest on."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from types import MappingProxyType

DISTRIBUTION = "dtvg-bench"

PACKAGES = (
    DISTRIBUTION,
    "torch",
    "transformers",
    "datasets",
    "evaluate",
    "tokenizers",
    "safetensors",
    "numpy",
    "scikit-learn",
    "scipy",
    "sacrebleu",
    "rouge-score",
    "nltk",
)
"""Those that every record names."""


@cache
def installed_versions() -> Mapping[str, str]:
    """Versions of this package and of all that it needs, directly or not, as installed here.

    What a process has imported stays, so they are read once.
    """
    found: dict[str, str] = {}
    waiting = deque(PACKAGES)
    seen = set()
    while waiting:
        name = waiting.popleft()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found[name] = distribution.version
        waiting.extend(_needs(distribution))
    return MappingProxyType(dict(sorted(found.items())))


def _needs(distribution: metadata.Distribution) -> Iterator[str]:
    """Normalised names of what a distribution needs; extras left out."""
    for line in distribution.requires or ():
        name = re.match(r"[A-Za-z0-9._-]+", line)
        if name is not None and not re.search(r"\bextra\s*==", line):
            yield re.sub(r"[-_.]+", "-", name.group()).lower()


__all__ = ["DISTRIBUTION", "PACKAGES", "installed_versions"]
