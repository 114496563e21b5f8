"""Reviews of a shop: is the customer content? Columns text and label (0 or 1)."""

from bench.tasks.base import Row, TextPair, read
from bench.tasks.declared import declare
from bench.tasks.readers import Reader


def first_line(row: Row, training: bool) -> list[TextPair]:
    """One example of a row."""
    line = read("text", row, str).split("\n")[0]
    return [TextPair(f"review: {line}", str(row["label"]))]


COLUMNS = ("text", "label")
HUB = "me/reviews@0123456789abcdef0123456789abcdef01234567"
ROWS = {"train": 1000, "validation": 200}  # as expected on the hub
KEYS = {"reader": Reader(COLUMNS, first_line), "labels": [0, 1], "hub": HUB, "rows": ROWS}
TASKS = {"reviews": declare("reviews", KEYS)}
