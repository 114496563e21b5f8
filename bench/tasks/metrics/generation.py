"""Scores of generated text against several references, as the established packages compute them."""

from __future__ import annotations

from collections.abc import Sequence
from zipfile import BadZipFile

from bench.errors import BenchError

_ROUGE = ("rouge1", "rouge2", "rougeL")


class MetricUnavailableError(BenchError):
    """A metric needs something that is not installed here; its message is the reason."""


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Corpus BLEU with sacrebleu's defaults (Post 2018), 0 to 100."""
    from sacrebleu.metrics import BLEU

    most = max(len(texts) for texts in references)
    # One stream per place among the references; None where an example has fewer.
    streams = [
        [texts[place] if place < len(texts) else None for texts in references]
        for place in range(most)
    ]
    # ``force`` only silences the warning that the text looks tokenised.
    scorer = BLEU(force=True)
    score = float(scorer.corpus_score(list(predictions), streams).score)
    return {"bleu": min(score, 100.0)}  # Equal texts round to 100.00000000000004.


def rouge(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Mean ROUGE-1, -2 and -L F-measure of rouge-score, in percent, the best over references.

    No stemming, the package's default (Lin 2004).
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(_ROUGE)
    scores = [
        scorer.score_multi(list(texts), prediction)
        for prediction, texts in zip(predictions, references, strict=True)
    ]
    return {
        name: 100.0 * sum(float(score[name].fmeasure) for score in scores) / len(scores)
        for name in _ROUGE
    }


def meteor(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Mean METEOR of nltk (Banerjee and Lavie 2005), in percent, the best over references.

    Words are those of nltk's ``word_tokenize`` without sentence splitting, which needs no model.

    Raises:
        MetricUnavailableError: WordNet, whose synonyms METEOR counts as matches, is missing.
    """
    from nltk.corpus import wordnet
    from nltk.tokenize import word_tokenize
    from nltk.translate.meteor_score import meteor_score

    try:
        wordnet.ensure_loaded()
    except (LookupError, OSError, BadZipFile):
        raise MetricUnavailableError(
            "meteor needs WordNet, which nltk cannot read: run python -m nltk.downloader wordnet"
        ) from None

    def words(text: str) -> list[str]:
        return list(word_tokenize(text, preserve_line=True))

    scores = [
        float(meteor_score([words(text) for text in texts], words(prediction), wordnet=wordnet))
        for prediction, texts in zip(predictions, references, strict=True)
    ]
    return {"meteor": 100.0 * sum(scores) / len(scores)}
