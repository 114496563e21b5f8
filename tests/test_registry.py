"""Methods by name, their variants, and what their modules may know."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ConfigError, UnknownNameError
from bench.protocol import PromptMethod
from bench.registry import METHODS, method_entry, parse_method


@pytest.mark.parametrize(
    ("text", "options", "label", "values"),
    [
        ("pt", {}, "pt", {"learning_rate": 0.3}),
        ("pt:learning_rate=0.1", {}, "pt:learning_rate=0.1", {"learning_rate": 0.1}),
        ("pt:learning_rate=1e-3", {}, "pt:learning_rate=0.001", {"learning_rate": 0.001}),
        ("dtvg:grouping=all", {}, "dtvg:grouping=all", {"grouping": "all", "scales": "on"}),
        # What is the default anyway is no variant.
        ("dtvg:grouping=full,solver=greedy", {}, "dtvg", {"grouping": "full"}),
        # The order in which settings are written does not matter.
        (
            "dtvg:solver=exact,grouping=all",
            {},
            "dtvg:grouping=all,solver=exact",
            {"grouping": "all", "solver": "exact"},
        ),
        ("dtvg:scales=off", {}, "dtvg:scales=off", {"scales": "off"}),
        ("dtvg:scales=on", {"scales": "off"}, "dtvg:scales=on", {"scales": "on"}),
        # Settings of the configuration count, but are no part of the name.
        ("dtvg", {"scales": False}, "dtvg", {"scales": "off"}),
        ("dtvg:grouping=all", {"scales": "off"}, "dtvg:grouping=all", {"scales": "off"}),
        ("spot:source=qnli", {}, "spot:source=qnli", {"source": "qnli"}),
        (
            "attempt:temperature=null",
            {"temperature": 2.0},
            "attempt:temperature=null",
            {"temperature": None},
        ),
        ("attempt:train_norm=false", {}, "attempt:train_norm=False", {"train_norm": False}),
        ("mpt:rank=2", {"rank": 3}, "mpt:rank=2", {"rank": 2}),
    ],
)
def test_variants(text: str, options: dict[str, Any], label: str, values: dict[str, Any]) -> None:
    spec = parse_method(text, options)
    assert spec.name == text.partition(":")[0]
    assert spec.label == label
    assert values.items() <= spec.values().items()
    assert isinstance(spec.settings, spec.load().Settings)
    if not options:  # A label names the very same method again.
        assert parse_method(label, {}) == spec


def test_options_stay_as_they_are() -> None:
    options = {"scales": False}
    parse_method("dtvg:grouping=all", options)
    assert options == {"scales": False}


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("dtvf", ["unknown method 'dtvf': did you mean dtvg?"]),
        (":rank=2", ["unknown method '': choose from attempt, dtvg, mpt, pt, spot"]),
        ("dtvg:groping=all", ["unknown setting of dtvg 'groping': did you mean grouping?"]),
        ("mpt:rank=two", ["method 'mpt:rank=two': rank: input should be a valid integer"]),
        ("mpt:rank=0", ["method 'mpt:rank=0': rank and sampling_cap must be at least 1"]),
        ("dtvg:grouping=fll", ["method 'dtvg:grouping=fll': grouping: input should be 'full'"]),
        ("dtvg:", ["method 'dtvg:': expected dtvg:key=value, got ''"]),
        ("pt:learning_rate", ["method 'pt:learning_rate': expected pt:key=value, got 'learn"]),
        ("pt:learning_rate=[", ["method 'pt:learning_rate=[': learning_rate: no valid YAML"]),
        ("pt:learning_rate=inf", ["method 'pt:learning_rate=inf': learning_rate: expected a fin"]),
        ("pt:learning_rate=.inf", ["method 'pt:learning_rate=.inf': learning_rate: expected a f"]),
        ("pt:learning_rate=-1", ["method 'pt:learning_rate=-1': learning_rate must be above 0"]),
        ("pt:learning_rate=.nan", ["method 'pt:learning_rate=.nan': learning_rate must be abov"]),
        (
            "mpt:rnk=2,=3,x",
            [
                "method 'mpt:rnk=2,=3,x': expected mpt:key=value, got '=3'",
                "method 'mpt:rnk=2,=3,x': expected mpt:key=value, got 'x'",
                "unknown setting of mpt 'rnk': did you mean rank?",
            ],
        ),
        (
            "mpt:rank=a,distillation=b",
            [
                "method 'mpt:rank=a,distillation=b': rank: input",
                "method 'mpt:rank=a,distillation=b': distillation: input",
            ],
        ),
    ],
)
def test_faults_are_named_one_line_each(text: str, faults: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_method(text, {})
    found = caught.value.faults
    assert len(found) == len(faults)
    assert "\n" not in str(caught.value)
    assert all(line.startswith(start) for line, start in zip(found, faults, strict=True))


def test_entries_are_found_by_name_or_variant() -> None:
    assert method_entry("dtvg:grouping=all") is METHODS["dtvg"]
    with pytest.raises(UnknownNameError):
        method_entry("dtvg2")


@pytest.mark.parametrize("name", METHODS)
def test_entries_load_methods(name: str) -> None:
    assert issubclass(METHODS[name].load(), PromptMethod)
    assert METHODS[name].title


@pytest.mark.parametrize("name", METHODS)
def test_a_method_knows_torch_and_the_protocol_alone(name: str) -> None:
    """Together with the modules of its own package that it imports."""
    package = METHODS[name].module.partition(".")[0]
    spec = importlib.util.find_spec(METHODS[name].module)
    assert spec is not None
    assert spec.origin is not None
    for path in Path(spec.origin).parent.glob("*.py"):
        for module in imports(path):
            root = module.partition(".")[0]
            known = root in {package, "baselines", "torch"} or root in sys.stdlib_module_names
            assert known or module in {"bench.protocol", "bench.errors"}, (path, module)


def imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
