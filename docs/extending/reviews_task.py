"""Reviews of a shop: is the customer content? Columns text and label (0 or 1)."""

from bench.tasks.base import classification

REVIEWS = classification(
    "reviews",
    {"review": "text"},  # shown name: column
    "halve-validation",
    (1000, 200),  # expected training and validation rows
    suites=("shop",),
    repository="me/reviews@0123456789abcdef0123456789abcdef01234567",
)
TASKS = {"reviews": REVIEWS}
