"""Which commit of a model on the Hugging Face hub a revision stands for."""

from __future__ import annotations

import functools
import re
from pathlib import Path

COMMIT = re.compile(r"[0-9a-f]{40}")


@functools.cache
def commit_of(source: str, revision: str) -> str:
    """The commit; asked for once, so that a process describes and loads the same one.

    A file is fetched under the revision's own name, so that the cache learns what the name stands
    for: without the hub, this is what is taken.

    Args:
        source: hub id.
        revision: branch, tag, reference such as ``refs/pr/2``, or commit.
    """
    if COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import hf_hub_download

    # The cache keeps a file as .../snapshots/<commit>/<file>.
    return Path(hf_hub_download(source, "config.json", revision=revision)).parent.name
