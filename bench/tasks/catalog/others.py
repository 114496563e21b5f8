"""Classification tasks outside the suites: winogrande, yelp_polarity, scitail, paws."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from bench.tasks.catalog.common import Repository, classification
from bench.tasks.task import PARQUET_BRANCH
from bench.tasks.text import named_index

WINOGRANDE = classification(
    "winogrande",
    suite="others",
    repository=Repository("allenai/winogrande", "01e74176c63542e6b0bcb004dcdea22d94fb67b5"),
    config="winogrande_xl",
    rows={"train": 40398, "validation": 1267, "test": 1767},
    split_rule="hold-out-train",
    # The published code shows option1 twice; that defect is not repeated.
    fields={"sentence": "sentence", "option0": "option1", "option1": "option2"},
    label_column="answer",
    label_of=partial(named_index, "answer", ("1", "2")),
)

_YELP = classification(
    "yelp_polarity",
    suite="others",
    repository=Repository("fancyzhx/yelp_polarity", "bbf1c97a1f0cf005e5aded43839fd814654a1557"),
    config=None,
    rows={"train": 560000, "test": 38000},
    split_rule="hold-out-train",
    fields={"sentence": "text"},
)
YELP_POLARITY = replace(
    _YELP,
    # There is no official validation split: the test split is public and tests.
    hub=replace(_YELP.hub, splits=("train", "test")),
    max_training_rows=100_000,
)

SCITAIL = classification(
    "scitail",
    suite="others",
    repository=Repository("allenai/scitail", PARQUET_BRANCH),
    config="snli_format",
    rows={"train": 23097, "validation": 1304, "test": 2126},
    # It has a public test split and over 10,000 training rows, but the published code halves.
    split_rule="halve-validation",
    fields={"premise": "sentence1", "hypothesis": "sentence2"},
    label_column="gold_label",
    label_of=partial(named_index, "gold_label", ("entailment", "neutral")),
)

PAWS = classification(
    "paws",
    suite="others",
    repository=Repository(
        "google-research-datasets/paws", "161ece9501cf0a11f3e48bd356eaa82de46d6a09"
    ),
    config="labeled_final",
    rows={"train": 49401, "validation": 8000, "test": 8000},
    split_rule="official",
    fields={"sentence1": "sentence1", "sentence2": "sentence2"},
)

TASKS = (WINOGRANDE, YELP_POLARITY, SCITAIL, PAWS)
