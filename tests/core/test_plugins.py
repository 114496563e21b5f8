"""Methods, tasks and loggers from files and packages: found, checked, and refused in one line."""

from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import plugins
from bench.errors import PluginError
from bench.plugins import discover, files_in_use, use_files
from bench.registry import METHODS, methods, parse_method

METHOD = """
from dataclasses import dataclass
from baselines.pt import PromptTuning

@dataclass(frozen=True)
class Settings:
    learning_rate: float = 0.3
    weight_decay: float = 0.0
    places: tuple[int, ...] = (1, 2)

class Mine(PromptTuning):
    Settings = Settings
    version = 3

METHODS = {"mine": Mine}
"""
BARE = "from bench.method import PromptMethod\nclass A(PromptMethod): ...\nMETHODS = {'x': A}"


def plugin(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_method_of_a_file(tmp_path: Path) -> None:
    path = plugin(tmp_path, METHOD)
    use_files([path])
    assert files_in_use() == (path,)
    assert list(methods()) == [*METHODS, "mine"]
    assert methods()["mine"].title == "plugin of file mine.py"
    spec = parse_method("mine:learning_rate=0.1", {})
    assert (spec.label, spec.load().version) == ("mine:learning_rate=0.1", 3)
    assert spec.values()["places"] == [1, 2]  # As records hold it.
    use_files([])
    assert "mine" not in methods()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x = 1", "cannot be used (give it METHODS or TASKS or LOGGERS = {name: object}); mend it"),
        ("1 / 0", "cannot be used (ZeroDivisionError: division by zero); mend it"),
        ("import sys; sys.exit(1)", "cannot be used (SystemExit: 1); mend it"),
        ("def", "cannot be used (SyntaxError: "),
        ("METHODS = [1]", "METHODS is no mapping from name to method"),
        ("METHODS = {'a b': 1}", "a name has letters, digits"),
        ("METHODS = {'pt': 1}", "there is a built-in method of that name; rename the plugin"),
        ("METHODS = {'x': 1}", "is no subclass of bench.method.PromptMethod"),
        (BARE, "lacks build, forward, parameter_groups; define what bench.method asks for"),
        (METHOD + "Mine.Settings = int\n", "has no dataclass Settings; give it one"),
    ],
)
def test_what_cannot_be_used_is_one_line(text: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:  # noqa: PT012
        use_files([plugin(tmp_path, text)])
        for entry in methods().values():
            entry.load()
    assert fault in str(caught.value)
    assert "mine.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_must_exist_and_agree(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="there is no such Python file; check the path"):
        use_files([tmp_path / "none.py"])
    use_files([plugin(tmp_path, METHOD), plugin(tmp_path, METHOD, "other.py")])
    with pytest.raises(PluginError, match=r"file mine\.py has one of that name too"):
        discover("method", METHODS)


def test_installed_plugins_are_imported_when_used(monkeypatch: pytest.MonkeyPatch) -> None:
    dist = SimpleNamespace(name="toy-plugin", version="1.2")
    entry = SimpleNamespace(name="toy", module="no_such_module", attr="Toy", dist=dist)
    found = {"dtvg_bench.methods": [entry]}
    monkeypatch.setattr(metadata, "entry_points", lambda group: found.get(group, []))
    monkeypatch.setattr(plugins, "_installed", plugins._installed.__wrapped__)
    toy = discover("method", METHODS)["toy"]
    assert (toy.origin, discover("task", [])) == ("package toy-plugin 1.2", {})
    with pytest.raises(PluginError, match=r"method 'toy' of package .* cannot be loaded \(Mod"):
        toy.load()
