"""Scores of generated text in percent, from libraries and as in the published code."""

# ruff: noqa: RUF001 (the published tokenizer knows several quotes and dashes)

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise, zip_longest
from types import SimpleNamespace
from typing import Any
from zipfile import BadZipFile

from bench.errors import BenchError

Texts = Sequence[str]
Scores = dict[str, float]

ROUGE = ("rougeL", "rouge1", "rouge2")
PUBLISHED = ("bleu_published", "rouge1_published", "rouge2_published", "rougeL_published")
FIRST = tuple(f"{name}_first" for name in PUBLISHED)


class MetricUnavailableError(BenchError):
    """A metric cannot be computed, as a resource is missing."""


def bleu(predictions: Texts, references: Sequence[Texts]) -> Scores:
    """Corpus BLEU with sacrebleu's defaults (Post 2018)."""
    from sacrebleu.metrics import BLEU

    # The n-th references of all examples, or None; ``force`` silences a warning about tokens.
    score = float(
        BLEU(force=True).corpus_score(list(predictions), [*zip_longest(*references)]).score
    )
    return {"bleu": min(score, 100.0)}  # Equal texts round to 100.00000000000004.


def bleu_published(predictions: Texts, references: Sequence[Texts]) -> Scores:
    """Corpus BLEU of the published code: its tokenizer, shortest reference length, unsmoothed."""
    from sacrebleu.metrics import BLEU

    answers = [published_tokens(text) for text in predictions]
    expected = [[published_tokens(text) for text in texts] for texts in references]
    scorer = BLEU(tokenize="none", force=True, smooth_method="none")
    joined = [[_joined(tokens) for tokens in texts] for texts in expected]
    matches = scorer.corpus_score([*map(_joined, answers)], [*zip_longest(*joined)])
    lengths = sum(map(len, answers)), sum(min(map(len, lists)) for lists in expected)
    score = BLEU.compute_bleu(matches.counts, matches.totals, *lengths, smooth_method="none").score
    return {"bleu_published": min(float(score), 100.0)}


def _joined(tokens: list[str]) -> str:
    """Text of tokens for sacrebleu, which ignores the empty token of an empty text."""
    return " ".join(tokens) or "<>"  # No published token, as "<" and ">" are tokens each.


# Words that the published BLEU splits in two.
SPLIT_WORDS = (
    *(("[Cc]an", "not"), ("[Dd]'", "ye"), ("[Gg]im", "me"), ("[Gg]on", "na"), ("[Gg]ot", "ta")),
    *(("[Ll]em", "me"), ("[Mm]ore", "'n"), ("'[Tt]", "is"), ("'[Tt]", "was"), ("[Ww]an", "na")),
)
# The published BLEU's tokenizer, as in GEM's scripts: patterns and their replacements, in order.
PUBLISHED_RULES = (
    (r"([][\"<>{}“”«»–|—„‚‘^;!()?#$£%&*…]|``|''|--)", r" \1 "),
    (r"([^-\w])-([^-0-9])", r"\1 - \2"),
    (r"([0-9]\s+)-([0-9])", r"\1 - \2"),
    (r"([^-])-([^-\w])", r"\1 - \2"),
    (r"(\w)\+(\w)", r"\1 + \2"),
    (r"([0-9]\s*)\+([0-9])", r"\1 + \2"),
    (r"\+([^\w+])", r"+ \1"),
    (r"([^'’\w])(['’])([^'’\d])", r"\1 \2 \3"),
    (r"([^'’])(['’])([^'’\w])", r"\1 \2 \3"),
    (r"(\D|^)([.,:/])", r"\1 \2"),
    (r"([.,:/])(\D|$)", r"\1 \2"),
    (r"\.\s*\.\s*\.", "..."),
    (r"(['’´])(s|m|d|ll|re|ve)\s", r" \1\2 "),
    (r"(n['’´]t\s)", r" \1 "),
    *((rf" ({first})({second})\s", r" \1 \2 ") for first, second in SPLIT_WORDS),
    (r"\s+", " "),
)


def published_tokens(text: str) -> list[str]:
    """Lower-case tokens of the published BLEU; an empty text has one empty token."""
    for pattern, replacement in PUBLISHED_RULES:
        text = re.sub(pattern, replacement, text)
    return text.strip().lower().split(" ")


def rouge(predictions: Texts, references: Sequence[Texts]) -> Scores:
    """Mean ROUGE-L, -1 and -2 F-measure without stemming (Lin 2004), the best over references.

    Words are runs of letters, digits and accent marks of any script, not of English alone.
    """
    import regex  # Slow to import.

    def words(text: str) -> list[str]:
        return list(regex.findall(r"[\p{L}\p{N}\p{M}]+", text.lower()))

    return dict(zip(ROUGE, _rouge(words, ROUGE, predictions, references), strict=True))


def rouge_published(predictions: Texts, references: Sequence[Texts]) -> Scores:
    """Mean ROUGE of the published code: split at spaces, sets of n-grams, best over references."""

    def words(text: str) -> list[str]:
        return text.lower().split(" ")

    tokenizers: list[tuple[Callable[[str], Any], str]] = [
        (lambda text: list(set(words(text))), "rouge1"),
        (lambda text: list(set(pairwise(words(text)))), "rouge1"),
        (words, "rougeL"),
    ]
    scores = (_rouge(tokens, [name], predictions, references)[0] for tokens, name in tokenizers)
    return dict(zip(PUBLISHED[1:], scores, strict=True))


def _rouge(
    tokenize: Callable[[str], Any], names: Texts, predictions: Texts, references: Sequence[Texts]
) -> list[float]:
    """Mean F-measures of rouge_score with another tokenizer, the best over references."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([*names], tokenizer=SimpleNamespace(tokenize=tokenize))
    pairs = zip(predictions, references, strict=True)
    scores = [scorer.score_multi(list(texts), prediction) for prediction, texts in pairs]
    sums = (sum(float(example[name].fmeasure) for example in scores) for name in names)
    return [100.0 * total / len(scores) for total in sums]


def published_first(predictions: Texts, references: Sequence[Texts]) -> Scores:
    """BLEU and ROUGE of the published code against the first reference alone."""
    first = [texts[:1] for texts in references]
    scores = bleu_published(predictions, first) | rouge_published(predictions, first)
    return dict(zip(FIRST, scores.values(), strict=True))


def meteor(predictions: Texts, references: Sequence[Texts]) -> Scores:
    """Mean METEOR (Banerjee and Lavie 2005) of nltk on published tokens, best over references."""
    from nltk.corpus import wordnet
    from nltk.translate.meteor_score import meteor_score

    try:
        wordnet.ensure_loaded()
    except (LookupError, OSError, BadZipFile):
        raise MetricUnavailableError(
            "meteor needs WordNet, which nltk cannot read: run python -m nltk.downloader wordnet"
        ) from None
    scores = []
    for prediction, texts in zip(predictions, references, strict=True):
        answer, *expected = map(published_tokens, (prediction, *texts))
        scores.append(float(meteor_score(expected, answer, wordnet=wordnet)))
    return {"meteor": 100.0 * sum(scores) / len(scores)}


METRICS = (
    (bleu, ("bleu",)),
    (rouge, ROUGE),
    (meteor, ("meteor",)),
    (bleu_published, PUBLISHED[:1]),
    (rouge_published, PUBLISHED[1:]),
    (published_first, FIRST),
)
"""Metric functions with the names of their scores."""
