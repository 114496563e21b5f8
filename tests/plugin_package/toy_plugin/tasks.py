"""Reviews with a label; imports nothing heavy."""

from bench.tasks.catalog.common import Repository, classification

REVIEWS = classification(
    "toy-reviews",
    suite="toys",
    repository=Repository("me/reviews", "0123456789abcdef0123456789abcdef01234567"),
    config=None,
    rows={"train": 20, "validation": 20},
    split_rule="halve-validation",
    fields={"review": "text"},
)
