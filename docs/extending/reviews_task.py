"""Reviews of a shop: is the customer content? Columns text and label (0 or 1)."""

from bench.tasks.catalog.common import Repository, classification

REVIEWS = classification(
    "reviews",
    suite="shop",
    repository=Repository("me/reviews", "0123456789abcdef0123456789abcdef01234567"),
    config=None,
    rows={"train": 1000, "validation": 200},
    split_rule="halve-validation",
    fields={"review": "text"},
)
TASKS = {"reviews": REVIEWS}
