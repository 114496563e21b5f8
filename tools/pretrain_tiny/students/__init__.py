"""The models that can be pretrained: what the recipe needs to know of each architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.models.loading import Architecture
from tools.pretrain_tiny.recipe import Recipe
from tools.pretrain_tiny.students.base import IdPair, Student
from tools.pretrain_tiny.students.decoder_only import DecoderOnlyStudent
from tools.pretrain_tiny.students.encoder_decoder import EncoderDecoderStudent

__all__ = ["IdPair", "Student", "student_of"]

_KINDS: Mapping[Architecture, type[Student]] = {
    "encoder-decoder": EncoderDecoderStudent,
    "decoder-only": DecoderOnlyStudent,
}


def student_of(recipe: Recipe, tokenizer: Any) -> Student:
    """What a recipe trains, with the tokenizer that it reads by."""
    return _KINDS[recipe.kind](recipe, tokenizer)
