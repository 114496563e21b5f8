"""Scores of classification: answers are class indices as text, anything else is a wrong answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from bench.errors import DataError

_BINARY = ("0", "1")
_THREE_WAY = ("0", "1", "2")


def accuracy(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Share of predictions that equal their reference, in percent."""
    from sklearn.metrics import accuracy_score

    return {"accuracy": 100.0 * float(accuracy_score(references, predictions))}


def f1_with_invalid(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """F1 of class 1, in percent; a prediction that is neither 0 nor 1 counts as the wrong class.

    0 where neither predictions nor references hold a 1.
    """
    from sklearn.metrics import f1_score

    _require_classes(references, _BINARY)
    wrong = {"0": "1", "1": "0"}
    valid = [
        prediction if prediction in _BINARY else wrong[reference]
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    return {"f1": 100.0 * float(f1_score(references, valid, pos_label="1", zero_division=0.0))}


def f1_multiclass(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Mean over three classes of the class's F1, in percent; a class that never occurs counts 0."""
    from sklearn.metrics import f1_score

    _require_classes(references, _THREE_WAY)
    mean = f1_score(
        references, predictions, labels=list(_THREE_WAY), average="macro", zero_division=0.0
    )
    return {"f1_multiclass": 100.0 * float(mean)}


def matthews_correlation(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Matthews correlation, in percent; each distinct invalid answer is a class of its own.

    0 where predictions or references are constant.
    """
    from sklearn.metrics import matthews_corrcoef

    if len(set(predictions)) == 1 or len(set(references)) == 1:
        return {"matthews_correlation": 0.0}
    return {"matthews_correlation": 100.0 * float(matthews_corrcoef(references, predictions))}


def multirc(
    predictions: Sequence[str], references: Sequence[str], groups: Sequence[str]
) -> dict[str, float]:
    """The two scores of MultiRC (Khashabi et al. 2018), in percent.

    ``f1`` is :func:`f1_with_invalid` over all answers of all questions; ``em`` the share of
    questions (groups) all of whose answers are judged right.
    """
    right: defaultdict[str, bool] = defaultdict(lambda: True)
    for prediction, reference, group in zip(predictions, references, groups, strict=True):
        right[group] &= prediction == reference
    exact = 100.0 * sum(right.values()) / len(right)
    return {**f1_with_invalid(predictions, references), "em": exact}


def _require_classes(references: Sequence[str], classes: tuple[str, ...]) -> None:
    strange = sorted(set(references) - set(classes))
    if strange:
        raise DataError(
            f"references hold {strange[0]!r}, not one of {', '.join(classes)}; "
            "use a metric that fits the task"
        )
