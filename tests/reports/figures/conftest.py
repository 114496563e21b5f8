"""Result folders made to order, also outside the run: names that begin with a dot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.reports.frame import Results, load_results

MakeResults = Callable[..., Results]


@pytest.fixture
def make_results(make_results: MakeResults, tmp_path: Path) -> MakeResults:
    """As in the folder above; ``{".rows.notes": []}`` changes a part of the record."""

    def make(*variations: dict[str, Any]) -> Results:
        make_results(*({k: v for k, v in own.items() if k[0] != "."} for own in variations))
        for number, variation in enumerate(variations):
            path = tmp_path / "records" / f"{number:05d}.json"
            values = json.loads(path.read_text())
            for name, value in variation.items():
                _, *places, last = name.split(".") if name[0] == "." else ("", "")
                own = values
                for place in places:
                    own = own[place] if own is not None else None
                if last and own is not None:
                    own[last] = value
            path.write_text(json.dumps(values))
        return load_results(tmp_path)

    return make
