"""The prompt store: what trainings gave, addressed by digest and shared by all that need it.

``DIGEST.safetensors`` holds the tensors, ``DIGEST.json`` says what they are. The JSON file is
written last and names the SHA-256 of the tensors, so a prompt is either whole or not there.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from bench.config import DIGEST_PREFIX
from bench.errors import PromptError, one_line
from bench.files import UNSEALED, atomic_write, seal_holds, sealed
from bench.runs.claims import Claims

Form = Literal["prompt", "module", "shared"]
"""One merged matrix; a module's state (the prompt depends on the instance); a source stage."""

MERGED = "prompt"
"""Name of the tensor of a merged prompt."""


@dataclass(frozen=True)
class PromptCard:
    """What the store says of a prompt; JSON-ready.

    Attributes:
        digest: of the training that gave it.
        form: what the tensors are.
        training: the training in words and numbers (method, task, model, seed, settings, data).
        initial_digest: of the ``P_init`` it started from; None if unknown.
        trainable_parameters: how many scalars the optimiser moved.
        rows: training and validation row counts, few-shot rows and notes.
        result: steps, best step and score, learning curve and diagnostics.
        timing: seconds, examples per second, peak memory: what differs between equal runs.
        provenance: commit, versions and machine that trained it.
        imported: whether it was trained elsewhere; then ``training`` says where it comes from, and
            ``rows`` and ``result`` are empty.
        sha256: of the tensors file; filled by the store.
        seal: of the card itself (:func:`bench.files.seal_holds`); filled by the store.
    """

    digest: str
    form: Form
    training: dict[str, Any]
    initial_digest: str | None
    trainable_parameters: int
    rows: dict[str, Any]
    result: dict[str, Any]
    timing: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    imported: bool = False
    sha256: str = ""
    seal: str = field(default="", compare=False)

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True)
class StoredPrompt:
    """A prompt as read from the store: its card and its tensors by name."""

    card: PromptCard
    tensors: dict[str, Tensor]

    @property
    def matrix(self) -> Tensor:
        """``(r, d)``, the merged prompt.

        Raises:
            PromptError: this is no merged prompt.
        """
        if self.card.form != "prompt":
            raise PromptError(f"prompt {self.card.digest[:12]} is a {self.card.form}, no matrix")
        return self.tensors[MERGED]


class PromptStore:
    """Prompts in one folder; ``claims`` says which are being trained, and by whom."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.claims = Claims(folder / "claims", results=folder)

    def has(self, digest: str) -> bool:
        """Whether a prompt is stored; its files are checked when it is loaded."""
        return self._card(digest).is_file()

    def stamp(self, digest: str) -> str | None:
        """Tells one storing of a prompt from the next; None: it is not stored."""
        try:
            return hashlib.sha256(self._card(digest).read_bytes()).hexdigest()
        except OSError:
            return None

    def save(self, card: PromptCard, tensors: dict[str, Tensor]) -> None:
        """Store a prompt, replacing one of the same digest."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        data = safetensors.torch.save(plain)
        values = {
            "seal": UNSEALED,  # First, so that nothing else in the file can be taken for it.
            **asdict(replace(card, sha256=hashlib.sha256(data).hexdigest(), seal=UNSEALED)),
        }
        atomic_write(self._tensors(card.digest), data)
        text = json.dumps(values, indent=1, allow_nan=False)
        atomic_write(self._card(card.digest), sealed(text.encode()))

    def load(self, digest: str) -> StoredPrompt:
        """Read a prompt and check it against its card.

        Raises:
            PromptError: it is missing or damaged.
        """
        path = self._tensors(digest)
        try:
            card = _read_card(self._card(digest))
            data = path.read_bytes()
        except (OSError, ValueError) as error:
            raise PromptError(
                f"prompt {self._card(digest)}: cannot be read ({error}); train or import it anew"
            ) from error
        if hashlib.sha256(data).hexdigest() != card.sha256:
            raise PromptError(f"prompt {path}: damaged (digest differs); train or import it anew")
        try:
            tensors = safetensors.torch.load(data)
        except Exception as error:  # What a damaged header leads to is left open by the library.
            raise PromptError(
                f"prompt {path}: no valid safetensors file ({one_line(error)[:100]}); train or "
                "import it anew"
            ) from error
        if card.form == "prompt" and (MERGED not in tensors or tensors[MERGED].ndim != 2):
            raise PromptError(f"prompt {path}: there is no matrix in it; train or import it anew")
        return StoredPrompt(card, tensors)

    def find(self, prefix: str) -> str:
        """The full digest of the one stored prompt whose digest begins so.

        Raises:
            PromptError: none does, or several do, or this cannot begin a digest.
        """
        if not re.fullmatch(DIGEST_PREFIX, prefix):
            raise PromptError(
                f"prompt {prefix!r}: expected 4 to 64 of the characters 0-9 and a-f, the beginning "
                "of a digest that 'bench prompts list' shows"
            )
        found = sorted(path.stem for path in self.folder.glob(f"{prefix}*.json"))
        if not found:
            raise PromptError(
                f"no prompt begins with {prefix!r} in {self.folder}: see 'bench prompts list', or "
                "name the store that holds it by --prompts"
            )
        if len(found) > 1:
            raise PromptError(
                f"{len(found)} prompts begin with {prefix!r} in {self.folder}: give more of the "
                "digest, which 'bench prompts list --json' shows"
            )
        return found[0]

    def cards(self) -> tuple[list[PromptCard], list[str]]:
        """The cards of all prompts in the order of their digests, and a warning for each that
        cannot be read."""
        cards, warnings = [], []
        for path in sorted(self.folder.glob("*.json")):
            try:
                cards.append(_read_card(path))
            except (OSError, ValueError) as error:
                warnings.append(f"{path} is no card of a prompt: {error} (file kept, ignored)")
        return cards, warnings

    def remove(self, digest: str) -> None:
        """Forget a prompt; the card goes first, as it vouches for the tensors."""
        self._card(digest).unlink(missing_ok=True)
        self._tensors(digest).unlink(missing_ok=True)

    def _card(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"

    def _tensors(self, digest: str) -> Path:
        return self.folder / f"{digest}.safetensors"


@cache
def _adapter() -> TypeAdapter[PromptCard]:
    return TypeAdapter(PromptCard)


def _read_card(path: Path) -> PromptCard:
    """A card; OSError or ValueError if it cannot be read or is damaged."""
    data = path.read_bytes()
    try:
        card = _adapter().validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise ValueError(f"{place}: {fault['msg']}" if place else fault["msg"]) from error
    if not seal_holds(data):
        raise ValueError("it was changed after it was written")
    return card
