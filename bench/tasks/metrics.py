"""Metrics in percent, as plain functions and as ``evaluate`` modules, and scores of a task.

An example has one predicted text and one or several reference texts. Nothing is downloaded.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.errors import DataError, lookup
from bench.tasks.generation import METRICS as GENERATION
from bench.tasks.generation import MetricUnavailableError, Scores, Texts

if TYPE_CHECKING:
    from bench.tasks.base import Task

Groups = Sequence[str | None] | None

UNPARSABLE = -1.0
"""Value used for non-numeric predictions."""

PART = " (part)"
"""Suffix of groups that have further examples outside the split."""


def accuracy(predictions: Texts, references: Texts) -> Scores:
    """Share of predictions equal to their reference."""
    from sklearn.metrics import accuracy_score

    return {"accuracy": 100.0 * float(accuracy_score(references, predictions))}


def f1_with_invalid(predictions: Texts, references: Texts) -> Scores:
    """F1 of class 1; a prediction that is neither 0 nor 1 counts as the wrong class."""
    wrong = {"0": "1", "1": "0"}
    pairs = zip(predictions, references, strict=True)
    answers = [answer if answer in wrong else wrong.get(label, "") for answer, label in pairs]
    return {"f1": _f1(answers, references, list(wrong), pos_label="1")}


def f1_multiclass(predictions: Texts, references: Texts) -> Scores:
    """Mean F1 of three classes; a class that never occurs counts 0."""
    classes = ["0", "1", "2"]
    return {"f1_multiclass": _f1(predictions, references, classes, labels=classes, average="macro")}


def _f1(predictions: Texts, references: Texts, classes: Texts, **options: Any) -> float:
    from sklearn.metrics import f1_score

    for label in set(references) - set(classes):
        names = ", ".join(classes)
        raise DataError(f"references hold {label!r}, not one of {names}; use another metric")
    return 100.0 * float(f1_score(references, predictions, zero_division=0.0, **options))


def matthews_correlation(predictions: Texts, references: Texts) -> Scores:
    """Matthews correlation, 0 if one side is constant; each invalid answer is its own class."""
    from sklearn.metrics import matthews_corrcoef

    if len(set(predictions)) == 1 or len(set(references)) == 1:
        return {"matthews_correlation": 0.0}
    return {"matthews_correlation": 100.0 * float(matthews_corrcoef(references, predictions))}


def multirc(predictions: Texts, references: Texts, groups: Texts) -> Scores:
    """F1 over all answers, and the share of complete groups (questions) with all answers right."""
    right: defaultdict[str, bool] = defaultdict(lambda: True)
    for prediction, reference, group in zip(predictions, references, groups, strict=True):
        right[group] &= prediction == reference
    complete = [correct for group, correct in right.items() if not group.endswith(PART)]
    scores = f1_with_invalid(predictions, references)
    return scores | {"em": 100.0 * sum(complete) / len(complete)} if complete else scores


def parse_number(text: str) -> float | None:
    """Parse a finite number; None for other texts."""
    with suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    return None


def same_number(prediction: str, references: Texts) -> bool:
    """Whether an answer and a reference are equal as numbers."""
    number = parse_number(prediction)
    return number is not None and number in map(parse_number, references)


def pearson(predictions: Texts, references: Texts) -> Scores:
    """Pearson correlation, 0 if one side is constant."""
    return {"pearson": _correlation("pearsonr", predictions, references)}


def spearmanr(predictions: Texts, references: Texts) -> Scores:
    """Spearman rank correlation, 0 if one side is constant."""
    return {"spearmanr": _correlation("spearmanr", predictions, references)}


def _correlation(function: str, predictions: Texts, references: Texts) -> float:
    from scipy import stats

    sides = []
    for texts in (references, predictions):
        numbers = map(parse_number, texts)
        sides.append([UNPARSABLE if number is None else number for number in numbers])
        if min(sides[-1]) == max(sides[-1]):
            return 0.0
    correlation = float(getattr(stats, function)(*sides)[0])
    # Very large numbers overflow when squared.
    return 100.0 * correlation if math.isfinite(correlation) else 0.0


def normalise_answer(text: str) -> str:
    """Lower-case text without punctuation, articles and extra white space."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def pad_punctuation(text: str) -> str:
    """Text with a space on both sides of each punctuation character, as in T5's preprocessing.

    Punctuation is any character but underscores, white space, digits, letters and accent marks;
    runs of white space become one space.
    """
    import regex  # Slow to import.

    padded: str = regex.sub(r"\s+", " ", regex.sub(r"([^_\s\p{N}\p{L}\p{M}])", r" \1 ", text))
    return padded


def token_f1(prediction: str, reference: str, empty: float) -> float:
    """F1 over the tokens of two normalised answers, 0 to 1; ``empty`` if neither has a token."""
    if not prediction and not reference:
        return empty
    predicted, expected = prediction.split(), reference.split()
    shared = (Counter(predicted) & Counter(expected)).total()
    if shared == 0:
        return 0.0
    precision, recall = shared / len(predicted), shared / len(expected)
    return 2 * precision * recall / (precision + recall)


def exact_match(prediction: str, references: Texts) -> bool:
    """Whether a normalised answer is a normalised reference."""
    return normalise_answer(prediction) in map(normalise_answer, references)


def squad(predictions: Texts, references: Sequence[Texts], empty: float = 0.0) -> Scores:
    """Token F1 and exact match of SQuAD (Rajpurkar et al. 2016), the best over all answers."""
    matches = overlap = 0.0
    for prediction, answers in zip(predictions, references, strict=True):
        bare = normalise_answer(prediction)
        expected = [normalise_answer(answer) for answer in answers]
        matches += bare in expected
        overlap += max(token_f1(bare, answer, empty) for answer in expected)
    return {"f1": 100.0 * overlap / len(predictions), "em": 100.0 * matches / len(predictions)}


def qa(predictions: Texts, references: Sequence[Texts]) -> Scores:
    """Token F1 and exact match against the first answer, and the best over all (``_any``).

    Answers are padded like targets. Unlike in SQuAD, two texts without a word agree.
    """
    padded = [[pad_punctuation(text) for text in texts] for texts in references]
    first = squad(predictions, [texts[:1] for texts in padded], empty=1.0)
    best = squad(predictions, padded, empty=1.0)
    return first | {f"{name}_any": value for name, value in best.items()}


def first_answer(prediction: str, references: Texts) -> bool:
    """Whether a normalised answer is the first reference, padded and normalised."""
    return exact_match(prediction, [pad_punctuation(references[0])])


def same_text(prediction: str, references: Texts) -> bool:
    """Whether an answer equals a reference."""
    return prediction in references


@dataclass(frozen=True)
class Metric:
    """A metric function with its inputs and score names."""

    function: Callable[..., Scores]
    outputs: tuple[str, ...]  # score names
    several_references: bool = False  # takes several references per example
    grouped: bool = False  # takes groups of examples scored together
    right: Callable[[str, Texts], bool] = same_text  # whether an answer is correct
    rule: str = ""  # suffix in captions, where other metrics have equal score names

    def compute(
        self, predictions: Texts, references: Sequence[str | Texts], groups: Groups = None
    ) -> Scores:
        """Scores in percent by name; references are a text or several per example."""
        answers = [[texts] if isinstance(texts, str) else texts for texts in references]
        inputs: dict[str, Sequence[Any]] = {"references": answers}
        if self.grouped:
            inputs["groups"] = groups if groups and None not in groups else ()
        size, several = len(predictions), any(len(texts) > 1 for texts in answers)
        sizes = [f"{len(values)} {name}" for name, values in inputs.items() if len(values) != size]
        for failed, message in (
            (not size, "there are no predictions to score; give at least one"),
            (sizes, f"{size} predictions but {', '.join(sizes)}; give one of each per example"),
            (not all(answers), "an example has no reference; give it at least one"),
            (several > self.several_references, "takes one reference per example; give only one"),
        ):
            if failed:
                raise DataError(f"{self.function.__name__}: {message}")
        if not self.several_references:
            inputs["references"] = [texts[0] for texts in answers]
        return self.function(predictions, **inputs)


QA = ("f1", "em", "f1_any", "em_any")
_several = partial(Metric, several_references=True)

METRICS: Mapping[str, Metric] = {
    metric.function.__name__: metric
    for metric in (
        Metric(accuracy, ("accuracy",)),
        Metric(f1_with_invalid, ("f1",), rule=" of class 1"),
        Metric(f1_multiclass, ("f1_multiclass",)),
        Metric(matthews_correlation, ("matthews_correlation",)),
        Metric(multirc, ("f1", "em"), grouped=True, rule=" over all answers"),
        Metric(pearson, ("pearson",), right=same_number),
        Metric(spearmanr, ("spearmanr",), right=same_number),
        _several(squad, ("f1", "em"), right=exact_match, rule=" with the best answer"),
        _several(qa, QA, right=first_answer, rule=" with the first answer"),
        *(_several(function, outputs) for function, outputs in GENERATION),
    )
}


def score(
    metric: str, predictions: Texts, references: Sequence[str | Texts], groups: Groups = None
) -> Scores:
    """Scores of one metric in percent; references are a text or several per example."""
    return lookup("metric", metric, METRICS).compute(predictions, references, groups)


def load(name: str) -> Any:
    """A metric as an ``evaluate.Metric``, to be used like one from the hub."""
    from tempfile import TemporaryDirectory

    import evaluate
    from datasets import Features, Sequence, Value

    metric = lookup("metric", name, METRICS)

    class Module(evaluate.Metric):  # type: ignore[misc]
        def _info(self) -> evaluate.MetricInfo:
            text = Value("string")
            columns = {"predictions": text} | ({"groups": text} if metric.grouped else {})
            references = (text, Sequence(text))
            features = [Features(columns | {"references": value}) for value in references]
            return evaluate.MetricInfo(
                description=metric.function.__doc__, citation="", features=features
            )

        def _compute(self, predictions: Any, references: Any, **groups: Any) -> Scores:
            return metric.compute(predictions, references, **groups)

    # The base class creates a folder even with keep_in_memory.
    with TemporaryDirectory() as folder:
        module = Module(keep_in_memory=True, cache_dir=folder)
    module.info.module_name = name
    return module


@dataclass(frozen=True)
class TaskScores:
    """All scores of a task on one split."""

    metrics: Scores  # percent, in the order of the task's metrics
    valid_label_share: float | None  # predictions that are a label or number; None for free text
    left_out: dict[str, str] = field(default_factory=dict)  # reason by name of a missing score


def score_task(
    task: Task, predictions: Texts, references: Sequence[Texts], groups: Groups = None
) -> TaskScores:
    """All scores of a task; white space around predictions is ignored."""
    answers = [prediction.strip() for prediction in predictions]
    scores: Scores = {}
    left_out: dict[str, str] = {}
    scorers = [METRICS[name] for name in task.scorers]
    for scorer in scorers:
        computed, reason = Scores(), "no question has all its answers in the split"
        try:
            computed = scorer.compute(answers, references, groups)
        except MetricUnavailableError as error:
            reason = str(error)
        scores |= computed
        left_out |= {name: reason for name in scorer.outputs if name not in computed}
    valid: list[bool] = []
    if task.labels is not None:
        valid = [answer in task.labels for answer in answers]
    elif any(scorer.right is same_number for scorer in scorers):
        valid = [parse_number(answer) is not None for answer in answers]
    if task.table_metric in left_out:
        raise DataError(
            f"task {task.name}: no {task.table_metric} ({left_out[task.table_metric]}); "
            "make it possible, or name another metric first"
        )
    metrics = {name: scores[name] for name in task.metrics if name in scores}
    return TaskScores(metrics, sum(valid) / len(valid) if valid else None, left_out)


def majority_scores(
    task: Task, training_labels: Texts, references: Sequence[Texts], groups: Groups = None
) -> tuple[str, Scores] | None:
    """The most frequent training label, the lowest on a tie, and its scores; None if no labels."""
    if task.labels is None:
        return None
    counts = Counter(training_labels)
    majority = max(task.labels, key=lambda label: counts[label])
    if not counts[majority]:
        raise DataError(f"task {task.name}: the training rows have no labels; give labelled rows")
    return majority, score_task(task, [majority] * len(references), references, groups).metrics
