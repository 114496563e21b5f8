"""Who imports whom: the arrows of the design, checked on the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BASE = {"bench.errors"}
PROTOCOL = BASE | {"bench.protocol"}

# Room -> the rooms and modules of this project it may import, apart from itself.
ARROWS = {
    "baselines": PROTOCOL,
    "dtvg": PROTOCOL,
    "bench.errors": set(),
    "bench.protocol": BASE,
    "bench.seeding": set(),
    "bench.files": BASE,
    "bench.plugins": BASE,
    # Methods are named there as text and imported when one is used.
    "bench.registry": PROTOCOL | {"bench.plugins"},
    "bench.tasks": BASE | {"bench.plugins"},
    "bench.data": PROTOCOL | {"bench.tasks", "bench.seeding", "bench.files"},
    "bench.models": PROTOCOL | {"bench.seeding"},
    "bench.training": PROTOCOL
    | {"bench.tasks", "bench.data", "bench.models", "bench.seeding", "bench.files"},
    "bench.devices": BASE,
    "bench.config": BASE
    | {
        "bench.config_values",
        "bench.devices",
        "bench.registry",
        "bench.tasks",
        "bench.training.settings",
    }
    # What a preset says may depend on the kind of the model.
    | {"bench.models.info", "bench.models.loading"},
    "bench.config_values": BASE | {"bench.tasks"},
    "bench.record_blocks": set(),
    "bench.records": BASE | {"bench.files", "bench.record_blocks"},
    # What runs write, reports read from records alone; neither knows the command line.
    "bench.runs": PROTOCOL
    | {"bench.tasks", "bench.data", "bench.models", "bench.training", "bench.seeding"}
    | {"bench.config", "bench.registry", "bench.plugins"}
    | {"bench.records", "bench.record_blocks", "bench.predictions", "bench.files"},
    "bench.predictions": BASE | {"bench.files", "bench.records", "bench.tasks"},
    "bench.reports": BASE
    | {"bench.records", "bench.record_blocks", "bench.predictions", "bench.tasks", "bench.files"},
    "bench.interchange": PROTOCOL
    | {"bench.runs", "bench.training", "bench.models", "bench.tasks"}
    | {"bench.records", "bench.record_blocks", "bench.files"},
    "bench.listing": BASE
    | {"bench.models.catalog", "bench.plugins", "bench.registry", "bench.tasks"},
    # The command line comes last: it may use every room, but no method by name.
    "bench.commands": PROTOCOL
    | {"bench.tasks", "bench.data", "bench.models", "bench.training", "bench.runs"}
    | {"bench.config", "bench.devices", "bench.listing", "bench.plugins", "bench.registry"}
    | {"bench.records", "bench.predictions", "bench.reports", "bench.interchange"},
    "bench.cli": BASE | {"bench.commands"},
}


def modules_of(room: str) -> list[Path]:
    """The modules of a room, without those of rooms inside it that have their own arrows."""
    path = ROOT.joinpath(*room.split("."))
    if not path.is_dir():
        return [path.with_suffix(".py")]
    inner = [ROOT.joinpath(*other.split(".")) for other in ARROWS if other.startswith(room + ".")]
    return [p for p in sorted(path.rglob("*.py")) if not any(i in p.parents for i in inner)]


def own_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module]
            if node.module == "bench":
                names = [f"bench.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (
            n for n in names if n.partition(".")[0] in ("bench", "baselines", "dtvg", "tools")
        )


def allowed(name: str, rooms: set[str]) -> bool:
    """``import bench`` alone gives the place of the package, and no module of it."""
    return name == "bench" or any(name == room or name.startswith(room + ".") for room in rooms)


@pytest.mark.parametrize("room", ARROWS)
def test_imports_go_one_way(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules_of(room)
        for name in own_imports(path)
        if not allowed(name, ARROWS[room] | {room})
    ]
    assert modules_of(room)
    assert wrong == []


def test_every_module_has_its_arrows() -> None:
    found = {f"bench.{path.stem}" for path in (ROOT / "bench").glob("*.py")} | {
        f"bench.{path.parent.name}" for path in (ROOT / "bench").glob("*/__init__.py")
    }
    assert found - {"bench.__init__"} == {room for room in ARROWS if room.count(".") == 1}


def test_nothing_unpickles_or_runs_remote_code() -> None:
    found: list[tuple[str, ast.expr]] = []
    restricted: list[ast.expr] = []
    forbidden = ("pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal")
    for path in [
        p for top in ("bench", "baselines", "dtvg") for p in ROOT.joinpath(top).rglob("*.py")
    ]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not [a.name for a in node.names if a.name in forbidden], path
            if isinstance(node, ast.ImportFrom):
                assert node.module not in forbidden, path
                assert (node.module, "load") not in {("torch", a.name) for a in node.names}, path
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                assert getattr(node.value, "value", None) is False, path
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load":
                found.append((path.relative_to(ROOT).as_posix(), node))
            if isinstance(node, ast.Call) and "weights_only=True" in map(
                ast.unparse, node.keywords
            ):
                restricted.append(node.func)
    # Prompts of others come as PyTorch files too: read in one place, by the restricted unpickler.
    assert [place for place, _ in found] == ["bench/interchange/tensors.py"]
    assert found[0][1] in restricted
