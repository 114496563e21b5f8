"""Classification outside the suites: winogrande, yelp_polarity, scitail and paws."""

from __future__ import annotations

from functools import partial

from bench.tasks.base import PARQUET_BRANCH, classification

others = partial(classification, suites=("others",))

# Name, columns of the source text, split rule, rows of train, validation and test.
TASKS = (
    others(
        "winogrande",
        # The published code shows option1 twice by mistake.
        {"sentence": "sentence", "option0": "option1", "option1": "option2"},
        "hold-out-train",
        (40398, 1267, 1767),
        label="answer",
        classes=("1", "2"),
        repository="allenai/winogrande@01e74176c63542e6b0bcb004dcdea22d94fb67b5",
        config="winogrande_xl",
    ),
    others(
        "yelp_polarity",
        {"sentence": "text"},
        "hold-out-train",
        {"train": 560000, "test": 38000},
        splits=("train", "test"),  # no official validation split, but public test labels
        max_training_rows=100_000,
        repository="fancyzhx/yelp_polarity@bbf1c97a1f0cf005e5aded43839fd814654a1557",
    ),
    others(
        "scitail",
        {"premise": "sentence1", "hypothesis": "sentence2"},
        "halve-validation",  # as in the published code, although test labels are public
        (23596, 1304, 2126),
        label="gold_label",
        classes=("entailment", "neutral"),
        repository=f"allenai/scitail@{PARQUET_BRANCH}",
        config="snli_format",
    ),
    others(
        "paws",
        ("sentence1", "sentence2"),
        "official",
        (49401, 8000, 8000),
        repository="google-research-datasets/paws@161ece9501cf0a11f3e48bd356eaa82de46d6a09",
        config="labeled_final",
    ),
)
