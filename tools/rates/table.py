"""Mean validation score of each value that was tried, as Markdown tables.

Reads a result folder whose methods have values to choose from, such as
``pt:learning_rate=0.1|0.3``. The highest mean of a method is bold; ties go to the value named
first.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from bench.record import read_records


def tables(folder: Path) -> list[str]:
    """A table for all methods that vary the same settings; the last setting fills the columns."""
    records, warnings = read_records(folder / "records")
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    told: dict[tuple[str, ...], list[dict[str, object]]] = {}
    for record in records:
        shots = "full" if record.run.shots is None else record.run.shots
        for each in record.tries:
            settings = {
                k: f"{v:g}" if isinstance(v, float) else str(v) for k, v in each.settings.items()
            }
            row = {"method": record.run.method, **settings, "shots": shots}
            told.setdefault(tuple(each.settings), []).append(row | {"score": each.score})
    return [_table(pd.DataFrame(rows), keys) for keys, rows in told.items()]


def _table(frame: pd.DataFrame, keys: tuple[str, ...]) -> str:
    rows = ["method", *keys[:-1]]
    means = frame.pivot_table("score", [*rows, "shots"], keys[-1], sort=False)
    mean = pd.concat({"mean": means.groupby(rows).mean()}, names=["shots"])
    means = pd.concat([means, mean.reorder_levels(means.index.names)]).sort_index()
    best = {name: own.max(axis=None) for name, own in mean.groupby("method")}
    shown = means.map("{:.1f}".format).where(means.notna(), "-")
    for place in means.index[means.index.get_level_values("shots") == "mean"]:
        for value in means.columns[means.loc[place] == best[place[0]]][:1]:
            shown.loc[place, value] = f"**{shown.loc[place, value]}**"
    head = [*means.index.names, *means.columns]
    lines = [head, ["---"] * len(head)]
    lines += [
        [*map(str, place), *row] for place, row in zip(shown.index, shown.to_numpy(), strict=True)
    ]
    return "\n".join(f"|{'|'.join(line)}|" for line in lines) + f"\n\nColumns: `{keys[-1]}`."


if __name__ == "__main__":
    print("\n\n".join(tables(Path(sys.argv[1]))))
