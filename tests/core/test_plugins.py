"""Methods, tasks and loggers from files and packages: found, checked, and refused in one line."""

import math
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from bench import plugins
from bench.data import open_source
from bench.errors import ConfigError, DataError, PluginError
from bench.plugins import discover, files_in_use, use_files
from bench.registry import METHODS, methods, parse_method
from bench.tasks import get_task, list_tasks

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
        ("x = 1", "cannot be used (give it METHODS or TASKS or LOGGERS = {name: object}); fix it"),
        ("1 / 0", "cannot be used (ZeroDivisionError: division by zero); fix it"),
        ("import sys; sys.exit(1)", "cannot be used (SystemExit: 1); fix it"),
        ("def", "cannot be used (SyntaxError: "),
        ("METHODS = [1]", "METHODS is not a mapping from name to method"),
        ("METHODS = {'a b': 1}", "a name has letters, digits"),
        ("METHODS = {'pt': 1}", "there is a built-in method of that name; rename the plugin"),
        (
            "from bench.tasks import get_task\nTASKS = {'a': get_task('rte')}",
            "has a Task named 'rte'",
        ),
        ("TASKS = {'mine': 1}", "is a int, not a bench.tasks.Task"),
        ("METHODS = {'x': 1}", "is not a subclass of bench.method.PromptMethod"),
        (BARE, "lacks build, forward, parameter_groups; define what bench.method asks for"),
        (METHOD + "Mine.Settings = int\n", "has no dataclass Settings; give it one"),
    ],
)
def test_what_cannot_be_used_is_one_line(text: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:  # noqa: PT012
        use_files([plugin(tmp_path, text)])
        for entry in methods().values():
            entry.load()
        list_tasks()
    assert fault in str(caught.value)
    assert "mine.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_needs_that_fail_are_one_line(tmp_path: Path) -> None:
    use_files([plugin(tmp_path, METHOD + "Mine.needs = staticmethod(lambda settings: {}['a'])\n")])
    with pytest.raises(ConfigError, match="method 'mine': KeyError: 'a'"):
        parse_method("mine", {})


def test_files_must_exist_and_agree(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="there is no such Python or YAML file"):
        use_files([tmp_path / "none.py"])
    use_files([plugin(tmp_path, METHOD), plugin(tmp_path, METHOD, "other.py")])
    with pytest.raises(PluginError, match=r"file mine\.py has one of that name too"):
        discover("method", METHODS)


def test_installed_plugins_are_imported_when_used(monkeypatch: pytest.MonkeyPatch) -> None:
    dist = SimpleNamespace(name="toy-plugin", version="1.2")
    load = partial(import_module, "no_such_module")
    entry = SimpleNamespace(name="toy", load=load, dist=dist)
    found = {"dtvg_bench.methods": [entry]}
    monkeypatch.setattr(metadata, "entry_points", lambda group: found.get(group, []))
    monkeypatch.setattr(plugins, "_installed", plugins._installed.__wrapped__)
    toy = discover("method", METHODS)["toy"]
    assert (toy.origin, discover("task", [])) == ("package toy-plugin 1.2", {})
    with pytest.raises(PluginError, match=r"method 'toy' of package .* cannot be loaded \(Mod"):
        toy.load()


def test_a_task_in_yaml(tmp_path: Path) -> None:
    text = "t: {template: 'a {b} | {b c}.', files: {train: x/a.csv, test: b.jsonl}, metric: rouge}"
    rule = text.replace("metric", "split_rule: hold-out-train, metric")  # As without it.
    use_files([plugin(tmp_path, rule, "rule.yaml")])
    assert get_task("t").splits == ("train", "test")
    use_files([plugin(tmp_path, text, "tasks.yaml")])
    task = get_task("t")
    (pair,) = task.to_text({"b": "{b}", "b c": 1.5, "label": "yes"}, training=True)
    assert (pair.source, pair.target) == ("t a {b} | 1.5.", "yes")
    assert (task.columns, task.split_rule) == (("b", "b c", "label"), "hold-out-train")
    assert task.files == {"train": tmp_path / "x/a.csv", "test": tmp_path / "b.jsonl"}
    for name in ("b.jsonl", "x/a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    first = open_source("bundled").fingerprint(task)
    swapped = text.replace("train:", "test :").replace("test: b", "train: b")
    use_files([plugin(tmp_path, swapped, "swapped.yaml")])
    assert open_source("bundled").fingerprint(get_task("t")) != first
    for value in (None, math.nan):
        with pytest.raises(DataError, match=f"column 'b' holds {value}, not a text or a number"):
            task.to_text({"b": value, "b c": 1, "label": 0}, training=True)


YAML = {"template": "{text}", "labels": ["no", "yes"], "hub": "me/reviews@" + "0123456789" * 4}
YAML |= {"rows": {"train": 9, "validation": 9}}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (None, "expected 'key: value' entries"),
        ({"templat": ""}, "unknown key 'templat': did you mean template or"),
        ({"template": "{text.__class__}"}, "template: {text.__class__} is not a plain column name"),
        *(
            ({"template": f"{{{x}}}"}, "is not a plain column name")
            for x in ("t[0]", "t!r", "t:>9999", "")
        ),
        ({"template": "text"}, "template: expected a column in braces, such as {text}"),
        ({"template": "{text"}, "template: expected '}' before end of string"),
        ({"labels": [False, True]}, "labels.0: expected text (given: False)"),
        ({"metric": ["acuracy"]}, "unknown metric 'acuracy': did you mean accuracy?"),
        ({"metric": "multirc"}, "unknown metric 'multirc': did you mean"),
        ({"metric": []}, "has no metric; choose from accuracy"),
        ({"selection": "f1"}, "selects by scores other than accuracy"),
        ({"reader": "squad"}, "give it either a template or a reader"),
        ({"template": None, "reader": "quad"}, "unknown reader 'quad': did you mean squad or qa?"),
        ({"split_rule": "thirds"}, "split_rule: expected 'halve-validation', 'hold-out-train',"),
        ({"split_rule": "official"}, "split rule official needs the splits train, validation, te"),
        *(({"hub": f"me/reviews@{x}"}, "hub revision may change; pin") for x in ("main", "0123ab")),
        ({"suites": "paper"}, "suites sources and paper are fixed"),
        ({"labels": ["1", 1]}, "has a label twice"),
        ({"references": "r"}, "give it either labels or references"),
        ({"template": None, "reader": "squad"}, "its reader reads no column 'label'; name the col"),
        ({"template": None, "reader": "wsc", "separator": ""}, "a reader ignores separator; leave"),
        ({"metric": ["squad", "qa"]}, "has two metrics with equal score names; choose one"),
        ({"hub": "@" + "0123456789" * 4}, "hub revision may change; pin"),
        ({"config": "../x"}, "config '../x' is no name"),
        ({"hub": ""}, "give it either files, or hub and rows"),
        ({"rows": {"train": 9, "dev": 9}}, "has the splits dev, train: give train, and validation"),
        ({"hub": "", "rows": {}, "files": {"train": "a", "test": "../b"}}, "its files must lie in"),
    ],
)
def test_faults_of_a_task_in_yaml(changes: Any, fault: str, tmp_path: Path) -> None:
    use_files([plugin(tmp_path, yaml.safe_dump({"own": YAML}), "good.yaml")])
    assert get_task("own").labels == ("0", "1")
    values = changes and YAML | changes
    bad = plugin(tmp_path, yaml.safe_dump({"own": values}), "bad.yml")
    with pytest.raises(PluginError) as caught:
        use_files([bad])
    assert str(caught.value).startswith(f"plugin file {bad}: cannot be used (task own: ")
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    path = plugin(tmp_path, yaml.safe_dump({"sources": YAML}), "name.yaml")
    with pytest.raises(PluginError, match="task sources: that name means all source tasks"):
        use_files([path])


def test_a_task_in_yaml_with_a_reader_or_lists(tmp_path: Path) -> None:
    lists = YAML | {"template": "words: {words}", "separator": "+", "labels": [], "references": "r"}
    reader = YAML | {"template": None, "reader": "squad", "labels": [], "metric": "squad"}
    use_files([plugin(tmp_path, yaml.safe_dump({"lists": lists, "mine": reader}), "two.yaml")])
    row = {"words": ["a", "b"], "label": "x", "r": ["x", "y"]}
    (pair,) = get_task("lists").to_text(row, training=False)
    assert (pair.source, pair.references) == ("lists words: a+b", ("x", "y"))
    assert get_task("lists").columns == ("words", "label", "r")
    row = {"question": "q", "context": "c", "answers": {"text": ["a"]}}
    assert get_task("mine").to_text(row, training=True)[0].source == "mine question: q context: c"
    digest = get_task("mine").version
    use_files([plugin(tmp_path, yaml.safe_dump({"mine": reader | {"metric": "qa"}}), "o.yaml")])
    assert 1 != get_task("mine").version != digest
