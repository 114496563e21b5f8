"""Imports go one way, modules are small, other packages are used through public names."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT, OWN = Path(__file__).resolve().parents[1], ("bench", "baselines", "dtvg")
FILES = {path: path.read_text("utf-8") for own in OWN for path in (ROOT / own).rglob("*.py")}
NAMES = {p: ".".join(p.relative_to(ROOT).with_suffix("").parts) for p in FILES}
TREES = {NAMES[p].removesuffix(".__init__"): ast.parse(text) for p, text in FILES.items()}
METHOD = {"bench.errors", "bench.method"}
TASKS = {"bench.errors", "bench.files", "bench.plugins", "bench.tasks"}
BELOW = METHOD | {"bench.record", "bench.tasks", "bench.seeding", "bench.files", "bench.provenance"}
RECORDS = TASKS | {"bench.record", "bench.predictions", "bench.store", "bench.files"}
ARROWS = {"baselines": METHOD, "dtvg": METHOD, "bench.method": METHOD, "bench.tasks": TASKS}
ARROWS |= {"bench.data": BELOW, "bench.models": BELOW, "bench.reports": RECORDS}
ARROWS["bench.training"] = BELOW | {"bench.data", "bench.models", "bench.plugins", "bench.config"}


def imported(nodes: list[ast.stmt] | list[ast.AST]) -> set[str]:
    plain = {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
    parts = [(node.module, node.names) for node in nodes if isinstance(node, ast.ImportFrom)]
    return plain | {f"{module}.{alias.name}" for module, names in parts for alias in names}


def test_imports_go_one_way_and_modules_are_small() -> None:
    before: dict[str, set[str]] = {}
    for name, tree in TREES.items():
        everything = imported(list(ast.walk(tree)))
        own = {each for each in everything if each.split(".")[0] in OWN}
        assert {each for each in everything - own if "._" in each} == set(), name
        for room in (room for room in ARROWS if f"{name}.".startswith(f"{room}.")):
            allowed = tuple(f"{other}." for other in ARROWS[room] | {room})
            assert {each for each in own if not f"{each}.".startswith(allowed)} == set(), name
        found = imported(tree.body)
        found |= {each.rpartition(".")[0] for each in found}
        before[name] = found & TREES.keys() - {name}
    TopologicalSorter(before).prepare()  # Raises on a circle.
    assert {path for path, text in FILES.items() if text.count("\n") > 400} == set()
