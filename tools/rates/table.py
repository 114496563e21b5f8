"""Mean validation score of each value that was tried, as a Markdown table.

Reads a result folder whose methods have values to choose from, such as
``pt:learning_rate=0.1|0.3``. The highest mean of a row is bold; ties go to the value named first.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean

from bench.record import Record, read_records


def scores_by_value(records: list[Record]) -> dict[tuple[str, str], dict[str, list[float]]]:
    """Validation scores by (method, shots) and by value."""
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        shots = "full" if record.run.shots is None else str(record.run.shots)
        for each in record.tries:
            value = ", ".join(f"{key} {number:g}" for key, number in sorted(each.settings.items()))
            if each.score is not None:
                found[record.run.method, shots][value].append(each.score)
    return found


def main(folder: str) -> None:
    """Print one table per method."""
    records, warnings = read_records(Path(folder) / "records")
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    found = scores_by_value(records)
    for method in dict.fromkeys(method for method, _ in found):
        means = {
            shots: {value: mean(scores) for value, scores in values.items()}
            for (own, shots), values in found.items()
            if own == method
        }
        first = next(iter(means.values()))
        means["mean"] = {value: mean(own[value] for own in means.values()) for value in first}
        print(f"\n{method}\n")
        print("| value | " + " | ".join(means) + " |\n|:--|" + "--:|" * len(means))
        for value in first:
            cells = []
            for own in means.values():
                best = max(own, key=own.__getitem__)
                shown = f"{own[value]:.1f}"
                cells.append(f"**{shown}**" if value == best else shown)
            print(f"| {value} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(*sys.argv[1:])
