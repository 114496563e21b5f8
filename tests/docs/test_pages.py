"""README and documentation agree with the commands, the records and themselves."""

import json
import pkgutil
import re
import shlex
import subprocess
from pathlib import Path

import click
import pandas as pd
import pytest

from bench.commands.base import bench
from bench.config import load_config
from bench.errors import BenchError, lookup
from bench.record import Record, RunBlock
from bench.registry import METHODS, parse_method
from bench.reports.frame import load_results
from bench.reports.layouts import LAYOUTS, display
from bench.reports.tables import render_tables
from bench.tasks import get_suite, get_task
from bench.training.callbacks import make_callbacks
from tools.results.__main__ import fill

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
EXAMPLES = ROOT / "docs" / "extending"
SMOKE, SMOLLM2 = ROOT / "results" / "smoke", ROOT / "results" / "smollm2"

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`(bench \w[^`]*)`")
NAME = re.compile(r"(?:`|^::: )((?:bench|baselines|dtvg)\.[\w.]+)(?!\.?\w*/)", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)")


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def commands(page: Path) -> set[str]:
    """Commands of ``bench`` on a page, in its blocks and in its sentences."""
    text = read(page)
    found = set(SPAN.findall(" ".join(FENCE.sub("", text).split())))
    for language, block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines() if language == "bash" else ():
            for part in line.partition(" #")[0].split("&&"):
                found |= set(re.findall(r"(?:^|=\S+ | -- )\s*(bench .+)", part.strip()))
    return {command.partition(" > ")[0] for command in found}


def check(text: str) -> str:
    """Check that a command, its options, choices and names exist; returns its name."""
    name, *words = shlex.split(text)[1:]
    command = bench.get_command(click.Context(bench), name)
    # A bare name in a sentence names the command.
    given = command.make_context(name, words).params if words else {}
    if layout := given.get("layout"):
        lookup("layout", layout, LAYOUTS)
    keys = ("suites", "tasks", "methods")
    names = {key: [n for n in given.get(key) or () if not n.isupper()] for key in keys}
    items = [item for item in given.get("items") or () if not item.startswith("KEY=")]
    if name in ("run", "plan"):
        load_config(given.get("preset"), None, {k: v for k, v in names.items() if v}, items)
    for suite in names["suites"]:
        get_suite(suite)
    for task in names["tasks"]:
        get_task(task)
    return name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)  # --plugin imports the examples.
    for text in commands(page):
        try:
            check(text)
        except (click.UsageError, BenchError) as error:
            pytest.fail(f"{text}: {error}")


def test_all_commands_are_documented() -> None:
    found = {shlex.split(text)[1] for page in DOCS for text in commands(page)}
    assert {*bench.list_commands(click.Context(bench))} <= found


def test_dockerfile_runs_the_smoke_preset() -> None:
    text = read(ROOT / "Dockerfile")
    (words,) = re.findall(r"^CMD (.+)$", text, re.MULTILINE)
    assert check(f"bench {shlex.join(json.loads(words))}") == "run"
    copied = " ".join(re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE)).split()
    assert all((ROOT / name).exists() for name in copied)
    assert {*re.findall(r"torch==\S+", text)} < {*read(ROOT / "constraints.txt").splitlines()}


def test_python_on_pages_exists() -> None:
    for page in PAGES:
        text = read(page)
        for name in NAME.findall(text):
            pkgutil.resolve_name(name.rstrip("."))
        for language, block in FENCE.findall(text):
            if language == "python":
                compile(block, page.name, "exec")


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as mkdocs and GitHub make them."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", read(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for target, anchor in LINK.findall(FENCE.sub("", read(page))):
        if not target.startswith("http"):
            other = page.parent / target if target else page
            assert other.exists(), target
            assert not anchor or anchor in anchors(other), (target, anchor)


def test_navigation_has_all_pages() -> None:
    nav = read(ROOT / "mkdocs.yml").partition("\nnav:\n")[2]
    found = [ROOT / "docs" / page for page in re.findall(r": (\S+\.md)$", nav, re.MULTILINE)]
    assert sorted(found) == DOCS


def test_pages_are_short() -> None:
    assert len(read(ROOT / "README.md").split()) <= 700
    assert sum(len(read(page).split()) for page in DOCS) <= 7_000


def test_no_path_of_a_machine() -> None:
    names = ("CHANGELOG.md", "Dockerfile", "tox.ini", "mkdocs.yml", "pyproject.toml", ".ci/run")
    others = [*EXAMPLES.glob("*.py"), *ROOT.glob("constraints*.txt"), *(ROOT / n for n in names)]
    for path in (*PAGES, *others, *(ROOT / "results").rglob("*.json")):
        assert not re.findall(r"(?:^|[\s`\"'=(])/(?:work|tmp|home|root|Users)\b", read(path)), path


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    (program,) = re.findall(r"awk '(.*?)' README", read(ROOT / ".ci" / "run"), re.DOTALL)
    command = ["awk", program, str(ROOT / "README.md")]
    install = "pip install -c constraints.txt -e"
    assert subprocess.check_output(command, text=True).splitlines() == [
        f"{install} . && bench run --suite glue --shots 16 --seeds 42 --workers 2",
        f"{install} '.[test]' && python -m pytest",
    ]


def averages(folder: Path) -> dict[str, list[str]]:
    """Mean score of each suite with 16 shots by row, and its standard deviation over seeds."""
    frame = load_results(folder).frame
    frame = frame[frame["shown"].eq(True) & (frame["shots"] == 16)]
    own = frame[frame["method"] == "pt"]
    frame = pd.concat([frame, own.assign(method="majority class", score=own["majority"])])
    found: dict[str, list[str]] = {}
    for tasks in LAYOUTS["parameters"].groups.values():
        means = frame[frame["task"].isin(tasks)].groupby(["method", "seed"])["score"].mean()
        for method, values in means.groupby("method"):
            spread = f"±{values.std():.1f}" if values.std() > 0 else ""
            found.setdefault(str(method), []).append(f"{values.mean():.1f}{spread}")
    return found


def test_readme_shows_the_averages_of_the_records() -> None:
    """The table of the README, from the test scores of the records alone."""
    bundled, real = averages(SMOKE), averages(SMOLLM2)
    lines = re.findall(r"^\|(.*\d\.\d.*)\|$", read(ROOT / "README.md"), re.MULTILINE)
    found = [[cell.strip() for cell in line.split("|")] for line in lines]
    methods = ("pt", "spot", "attempt", "mpt", "dtvg")
    expected = [[display(method), *bundled[method], *real[method]] for method in methods]
    assert found == [*expected, ["Majority", *["-"] * 4, *real["majority class"]]]


def test_tables_of_result_pages_are_those_of_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text behind a command is replaced by its output, up to the next heading."""
    monkeypatch.chdir(ROOT)
    command = "bench table results/smollm2 --layout parameters"
    page = f"# A\n\n```bash\n{command}\n```\n\n{{}}\n\n# B\n\nend\n"
    table = render_tables(load_results(SMOLLM2), "markdown", "parameters")
    assert fill(page.format("old")) == page.format(table.strip("\n"))
    with pytest.raises(click.UsageError):
        fill(page.replace("--layout", "--layot"))
    committed = read(SMOLLM2 / "README.md")
    assert fill(committed) == committed


def test_readme_counts_the_runs_of_the_paper() -> None:
    config = load_config("paper")
    text = " ".join(read(ROOT / "README.md").split())
    runs = len(config.task_names()) * len(config.methods) * len(config.seeds)
    assert f"{runs} target runs" in text
    prompts, steps = len(config.sources) * len(config.seeds), config.source_training.steps
    assert f"{prompts} source prompts of {steps:,} steps" in text


def test_every_method_and_setting_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    text = read(ROOT / "docs" / "methods.md")
    assert {name for name in METHODS if f"`{name}" not in text} == set()
    trained = [name for name, entry in METHODS.items() if entry.load().trained]
    assert re.findall("<!-- settings: (.+) -->", text) == trained  # Tables made by mkdocs.
    bench.main(["list", "methods", "--settings", "--json"], standalone_mode=False)
    rows = json.loads(capsys.readouterr().out)
    assert {row["method"] for row in rows} == METHODS.keys() - {"no_prompt"}  # It has none.
    assert [row["setting"] for row in rows if not row["what"]] == []


def test_every_key_of_a_record_is_explained() -> None:
    text = read(ROOT / "docs" / "reference" / "records.md")
    keys = {field.serialization_alias or name for name, field in Record.model_fields.items()}
    keys = {*keys, *RunBlock.model_fields} - {"prompt"}  # Of stored prompts only.
    assert {key for key in keys if f"`{key}`" not in text} == set()


def test_example_plugins_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugins = [option for path in EXAMPLES.glob("*.[py]*") for option in ("--plugin", str(path))]
    bench.main(["list", "methods", *plugins], standalone_mode=False)
    assert re.search("residual +plugin of file residual_prompt.py", capsys.readouterr().out)
    bench.main(["list", "tasks", "--verbose", *plugins], standalone_mode=False)
    assert "me/reviews" in capsys.readouterr().out
    assert parse_method("residual:bottleneck=32", {}).values()["bottleneck"] == 32
    assert type(make_callbacks(["json-lines"], tmp_path)[0]).__name__ == "JsonLines"
    blocks = [block for _, block in FENCE.findall(read(EXAMPLES / "index.md"))]
    for name in ("reviews_task.py", "sentiment.yaml"):
        assert any(block in read(EXAMPLES / name) for block in blocks)
