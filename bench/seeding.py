"""Seeds derived from their purpose, so that no random draw depends on the order of calls."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(*parts: str | int | None) -> int:
    """Seed in ``[0, 2**63)``: a hash of ``parts``, the purpose and its coordinates."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: str | int | None) -> torch.Generator:
    """A CPU generator seeded by :func:`derive_seed`."""
    import torch

    return torch.Generator().manual_seed(derive_seed(*parts))
