"""Scores of extractive question answering, as SQuAD defines them (Rajpurkar et al. 2016)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalise_answer(text: str) -> str:
    """Lower the case; drop punctuation, articles and extra white space."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def token_f1(prediction: str, reference: str) -> float:
    """Harmonic mean of precision and recall over the tokens of two normalised answers, 0 to 1.

    0 where no token is shared, so also for two answers that normalise to nothing.
    """
    predicted, expected = prediction.split(), reference.split()
    shared = (Counter(predicted) & Counter(expected)).total()
    if shared == 0:
        return 0.0
    precision, recall = shared / len(predicted), shared / len(expected)
    return 2 * precision * recall / (precision + recall)


def exact_match(prediction: str, references: Sequence[str]) -> bool:
    """Whether a normalised answer is one of the normalised gold answers."""
    return normalise_answer(prediction) in map(normalise_answer, references)


def squad(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Exact match and token F1, in percent, each the best over an example's gold answers."""
    matches = 0.0
    overlap = 0.0
    for prediction, answers in zip(predictions, references, strict=True):
        bare = normalise_answer(prediction)
        expected = [normalise_answer(answer) for answer in answers]
        matches += bare in expected
        overlap += max(token_f1(bare, answer) for answer in expected)
    return {"f1": 100.0 * overlap / len(predictions), "em": 100.0 * matches / len(predictions)}
