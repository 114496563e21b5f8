"""Tasks and methods from files and packages: found, checked, run, and part of the digests."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import plugins
from bench.errors import PluginError
from bench.plugins import discover, use_files
from bench.protocol import Ingredients
from bench.registry import METHODS, method_entry, methods, parse_method
from bench.runs.code import method_digest
from bench.tasks import SUITES, get_suite, get_task, list_suites, list_tasks
from bench.tasks.task import PARQUET_BRANCH

Bench = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "extending"
PACKAGE = ROOT / "tests" / "plugin_package"
PAGE = (EXAMPLES / "index.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def no_plugins_left() -> Iterator[None]:
    yield
    use_files(())


def plugin(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def use_and(act: Callable[[], object], path: Path) -> None:
    use_files([path])
    act()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_the_page_shows_the_examples_as_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert f"```python\n{text}```" in PAGE
    assert f"({path.name})" in PAGE


def test_the_task_example_is_short_and_runs_to_a_table(
    bench: Bench, cell: tuple[object, ...]
) -> None:
    file = EXAMPLES / "reviews_task.py"
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 15
    answer = bench(*cell, "--plugin", file, "--task", "mrpc", "--suite", "shop", "--method", "pt")
    assert answer.code == 0, answer.err
    header = next(line for line in answer.out.splitlines() if line.startswith("| method"))
    # Six validation rows test; tasks of plugins stand after the built-in ones.
    assert [name.strip() for name in header.split("|")[2:-1]] == ["mrpc", "reviews", "average"]
    listed = bench("list", "tasks", "--plugin", file, "--json")
    last = json.loads(listed.out)[-1]
    assert (last["task"], last["suites"]) == ("reviews", ["shop"])
    assert last["plugin"] == "file reviews_task.py"
    # A table reads records alone, on any machine.
    assert bench("table", "out").out == answer.out


def test_the_method_example_runs_to_a_table(bench: Bench, cell: tuple[object, ...]) -> None:
    answer = bench(
        *(*cell, "--plugin", EXAMPLES / "residual_prompt.py", "--task", "mrpc"),
        *("--method", "residual:bottleneck=3", "--method", "pt"),
    )
    assert answer.code == 0, answer.err
    rows = [line.split("|")[1].strip() for line in answer.out.splitlines() if "|" in line]
    assert rows[3:5] == ["pt", "residual:bottleneck=3"]


def test_the_method_example_computes_its_formula() -> None:
    use_files([EXAMPLES / "residual_prompt.py"])
    spec = parse_method("residual:bottleneck=3", {})
    initial = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    module = spec.load().build(spec.settings, Ingredients(initial))
    down, up = module.network[0].weight, module.network[2].weight  # type: ignore[index]
    hidden = (initial @ down.T).clamp(min=0) @ up.T
    centred = hidden - hidden.mean(dim=1, keepdim=True)
    normal = centred / (centred.pow(2).mean(dim=1, keepdim=True) + 1e-5).sqrt()
    merged = module.merged_prompt()
    assert merged is not None
    torch.testing.assert_close(merged, initial + normal)
    # d is 8: prompt 5 x 8, network 2 x 3 x 8, norm 2 x 8.
    assert module.trainable_parameters() == 40 + 48 + 16


def install(target: Path, scratch: Path) -> None:
    """Put the example package into a folder as pip does, offline."""
    source = scratch / "package"
    shutil.copytree(PACKAGE, source)  # A build leaves files beside its source.
    if all(importlib.util.find_spec(name) for name in ("pip", "setuptools")):
        words = ("install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet")
        command = [sys.executable, "-m", "pip", *words, "--target", str(target), str(source)]
        subprocess.run(command, check=True, capture_output=True)
        return
    shutil.copytree(source / "toy_plugin", target / "toy_plugin")
    info = target / "toy_plugin-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-plugin\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[dtvg_bench.tasks]\ntoy-reviews = toy_plugin.tasks:REVIEWS\n\n"
        "[dtvg_bench.methods]\ntoy-offset = toy_plugin.method:OffsetPrompt\n"
    )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the example package is installed and found."""
    target = tmp_path / "site"
    install(target, tmp_path)
    monkeypatch.syspath_prepend(target)
    plugins._installed.cache_clear()
    yield target
    plugins._installed.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy_plugin"]:
        del sys.modules[name]


def test_an_installed_package_is_listed_and_runs_to_a_table(
    installed: Path, bench: Bench, cell: tuple[object, ...]
) -> None:
    paths = os.pathsep.join([str(installed), str(ROOT)])
    command = [sys.executable, "-m", "bench.cli", "list", "tasks", "--json"]
    outside = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, check=True
    )
    tasks = json.loads(outside.stdout)
    assert len(tasks) == 27
    assert tasks[-1]["plugin"] == "package toy-plugin 1.2"
    assert tasks[-1]["suites"] == ["toys"]
    listed = json.loads(bench("list", "methods", "--json").out)
    assert listed[-1]["method"] == "toy-offset"
    answer = bench(*cell, "--suite", "toys", "--method", "toy-offset", "--method", "pt")
    assert answer.code == 0, answer.err
    rows = [line.split("|")[1].strip() for line in answer.out.splitlines() if "|" in line]
    assert "toy-reviews" in answer.out
    assert rows[3:5] == ["pt", "toy-offset"]


def test_a_broken_package_is_named(installed: Path, bench: Bench) -> None:
    (installed / "toy_plugin" / "tasks.py").write_text("1 / 0\n")
    answer = bench("list", "tasks")
    assert answer.code == 2
    assert answer.err == (
        "error: task 'toy-reviews' of package toy-plugin 1.2: cannot be loaded "
        "(ZeroDivisionError: division by zero); mend or uninstall it\n"
    )
    assert bench("list", "methods").code == 0  # Other things go on.


def test_without_plugins_there_is_what_is_built_in() -> None:
    assert methods() == dict(METHODS)
    assert list_suites() == dict(SUITES)
    assert len(list_tasks()) == 26


def test_a_task_joins_a_suite(tmp_path: Path) -> None:
    text = (EXAMPLES / "reviews_task.py").read_text(encoding="utf-8")
    use_files([plugin(tmp_path, text.replace('suite="shop"', 'suite="glue"'))])
    assert get_suite("glue") == (*SUITES["glue"], "reviews")
    assert get_task("reviews").published_name == "reviews"
    assert "reviews" not in get_suite("paper")


TASK = """
from dataclasses import replace
from bench.tasks import get_task
TASKS = {"mine": replace(get_task("mrpc"), name="mine", suites=(), **CHANGES)}
"""

REVISION = """
from dataclasses import replace
from bench.tasks import get_task
CHANGES = {{"hub": replace(get_task("mrpc").hub, revision="{}")}}
"""


@pytest.mark.parametrize("revision", ["0123456789abcdef" * 2 + "01234567", PARQUET_BRANCH])
def test_a_task_may_pin_a_commit_or_the_parquet_branch(tmp_path: Path, revision: str) -> None:
    use_files([plugin(tmp_path, REVISION.format(revision) + TASK)])
    assert get_task("mine").hub.revision == revision


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import missing_thing", r"mine\.py: cannot be loaded \(ModuleNotFoundError"),
        ("x = 1", "holds no plugin; give it METHODS or TASKS or LOGGERS"),
        ("TASKS = [1]", "TASKS is no mapping from name to task"),
        ("TASKS = {'mine': 1}", "task 'mine' of file mine.py: is a int, not a bench.tasks.Task"),
        ("TASKS = {'../up': 1}", "task '../up' of file mine.py: its name may have letters"),
        ("TASKS = {'mrpc': 1}", "there is a built-in task of that name; rename the plugin"),
        ("TASKS = {'mine': None}", "is a NoneType, not a bench.tasks.Task"),
        ("x = missing", r"\(NameError: name 'missing' is not defined\); mend it"),
        ("CHANGES = {'metrics': ('acc',), 'scorers': ()}" + TASK, "unknown metric acc; choose"),
        ("CHANGES = {'metrics': ('em',)}" + TASK, "scorers compute accuracy, f1; name those"),
        (REVISION.format("main") + TASK, "hub revision 'main' may come to mean .* pin a commit"),
        (REVISION.format("v1.0") + TASK, "hub revision 'v1.0' may come to mean .* pin a commit"),
        (REVISION.format("0123abc") + TASK, "hub revision '0123abc' may come to mean other"),
        ("CHANGES = {'split_rule': 'thirds'}" + TASK, "unknown split rule 'thirds'; choose"),
        ("CHANGES = {}" + TASK.replace('name="mine"', 'name="x"'), "calls itself 'x'"),
        ("CHANGES = {}" + TASK.replace("suites=()", "suites=('paper',)"), "suite 'paper' is fixed"),
    ],
)
def test_a_broken_task_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = plugin(tmp_path, text)
    with pytest.raises(PluginError, match=message) as caught:
        use_and(list_tasks, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("METHODS = {'mine': int}", "is no subclass of bench.protocol.PromptMethod"),
        (
            "from bench.protocol import PromptMethod\n"
            "class Half(PromptMethod): pass\nMETHODS = {'mine': Half}",
            "lacks build, forward, merged_prompt, needs, parameter_groups; write",
        ),
        (
            "from baselines.pt import PromptTuning\n"
            "class Odd(PromptTuning): Settings = dict\nMETHODS = {'mine': Odd}",
            "has no dataclass Settings; give it one",
        ),
        ("METHODS = {'pt': int}", "there is a built-in method of that name"),
    ],
)
def test_a_broken_method_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = plugin(tmp_path, text)
    with pytest.raises(PluginError, match=message):
        use_and(lambda: method_entry("mine").load(), path)


def test_two_plugins_of_one_name_clash(tmp_path: Path) -> None:
    first = plugin(tmp_path, "METHODS = {'twin': int}", "first.py")
    second = plugin(tmp_path, "METHODS = {'twin': int}", "second.py")
    use_files([first, second, first])  # The same file twice is no clash with itself.
    with pytest.raises(PluginError, match=r"'twin' of file second\.py: file first\.py has one"):
        discover("method", ())


def test_faults_reach_the_user_in_one_line(bench: Bench, tmp_path: Path) -> None:
    answer = bench("list", "tasks", "--plugin", tmp_path / "none.py")
    assert answer.code == 2
    assert answer.err.startswith("error: plugin file")
    assert answer.err.count("\n") == 1
    answer = bench("run", "--plugin", EXAMPLES / "reviews_task.py", "--task", "reviews")
    assert answer.code == 2
    assert "there are no bundled samples of reviews: use the hub or a folder" in answer.err


def test_code_digest_of_a_file_covers_it_and_the_methods_it_builds_on(tmp_path: Path) -> None:
    text = "from baselines.pt import PromptTuning\nMETHODS = {'one': PromptTuning}\n"
    path = plugin(tmp_path, text)
    use_files([path])
    entry = method_entry("one")
    assert entry.module not in ("baselines.pt", "")
    digest = method_digest.__wrapped__
    before = digest(entry.module)
    assert before != digest("baselines.pt")
    path.write_text(text + "# changed\n", encoding="utf-8")
    assert digest(entry.module) != before
    other = plugin(tmp_path, "METHODS = {'one': 1}\n", "other.py")
    other.write_text("from baselines.spot import SPoT\nMETHODS = {'one': SPoT}\n")
    assert digest(entry.module) != before


def test_code_digest_follows_relative_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "relative_toy"
    shutil.copytree(PACKAGE / "toy_plugin", package)
    monkeypatch.syspath_prepend(tmp_path)
    digest = method_digest.__wrapped__
    before = digest("relative_toy.method")
    (package / "tasks.py").write_text("x = 1\n")
    assert digest("relative_toy.method") == before
    (package / "settings.py").write_text("x = 1\n")
    assert digest("relative_toy.method") != before


def test_code_of_a_task_counts_as_its_data(bench: Bench, data: Path, tmp_path: Path) -> None:
    text = (EXAMPLES / "reviews_task.py").read_text(encoding="utf-8")
    prompts = []
    for name, content in {"a.py": text, "b.py": text + "# changed\n"}.items():
        words = ("run", "--plugin", plugin(tmp_path, content, name), "--data", data)
        answer = bench(*words, "--task", "reviews", "--method", "pt", "--dry-run", "--json")
        prompts.append(json.loads(answer.out)["cells"][0]["prompt"])
    assert prompts[0] != prompts[1]


def test_listing_tasks_stays_light(tmp_path: Path) -> None:
    heavy = {"torch", "transformers", "datasets", "sklearn", "numpy"}
    code = (
        "import sys; from bench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {sorted(heavy)} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, "list", "tasks"]
    command += ["--plugin", str(EXAMPLES / "reviews_task.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "reviews" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
