"""Every command in README and documentation is run, or says why not.

A comment above each block says how: ``<!-- test: run -->``, ``<!-- test: dry-run -->`` (adds
``--dry-run`` to ``bench run``), ``<!-- test: skip REASON -->``, or ``<!-- ci -->`` for the two that
``.ci/run`` runs. Options behind ``run`` or ``dry-run`` are added to every command of the block, to
make it cheap; they never replace what a command itself says. Commands within a sentence are not
run, but there are such commands and options.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import datasets
import pytest

from bench import plugins
from bench.cli import cli, main
from bench.data.sources import SAMPLES, bundled_rows
from bench.models.catalog import BUNDLED

ROOT = Path(__file__).resolve().parents[2]

REASONS = (
    *("installs packages", "needs the hub", "needs a GPU", "needs a Ray cluster"),
    *("takes an hour", "development tool"),
)
"""Why a block may be left out."""

_FENCE = re.compile(r"(?P<indent> *)```(?P<language>\w*).*")
_SPAN = re.compile(r"`(bench [^`]+)`")
_SHELL = ("bash", "sh", "shell", "console")
_MARKER = re.compile(r" *<!-- (?P<name>test|ci)(?:: (?P<how>.*\S))? *-->")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: path under the repository.
        line: of its fence.
        language: the word behind the fence, perhaps empty.
        marker: the words of the comment in the line above: ``ci``, or what follows ``test:``;
            empty if there is none.
        text: what stands in it.
    """

    page: str
    line: int
    language: str
    marker: str
    text: str

    @property
    def kind(self) -> str:
        """``run``, ``dry-run``, ``skip``, ``ci``, or something unknown."""
        return self.marker.partition(" ")[0]

    @property
    def rest(self) -> str:
        """Options to add, or the reason to skip."""
        return self.marker.partition(" ")[2]

    def commands(self) -> Iterator[tuple[list[str], str | None]]:
        """Its lines as words, and the file that takes the output, if one does.

        Raises:
            ValueError: a line is more than a command of ``bench``, perhaps with ``> FILE``.
        """
        for line in self.text.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.wordchars += "=,:+%@"
            words = list(lexer)
            if not words:
                continue
            target = None
            if ">" in words:
                place = words.index(">")
                (target,) = words[place + 1 :]
                words = words[:place]
            strange = {word for word in words if set(word) <= set("();<>|&")}
            if words[0] != "bench" or strange:
                raise ValueError(f"{self.page}:{self.line}: {line!r} is no plain bench command")
            yield words[1:], target


def pages() -> list[Path]:
    """README and documentation."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = _FENCE.fullmatch(lines[number])
        if fence is None:
            number += 1
            continue
        start = number
        number += 1
        while lines[number].strip() != "```":
            number += 1
        marker = _MARKER.fullmatch(lines[start - 1])
        how = "" if marker is None else marker["how"] or marker["name"]
        inside = [line.removeprefix(fence["indent"]) for line in lines[start + 1 : number]]
        name = page.relative_to(ROOT).as_posix()
        yield Block(name, start + 1, fence["language"], how, "\n".join(inside) + "\n")
        number += 1


def spans(page: Path) -> Iterator[str]:
    """The commands of ``bench`` within the sentences of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for block in blocks(page):
        for number in range(block.line - 1, block.line + block.text.count("\n") + 1):
            lines[number] = ""
    yield from (" ".join(span.split()) for span in _SPAN.findall("\n".join(lines)))


ALL_BLOCKS = [block for page in pages() for block in blocks(page)]
BLOCKS = [block for block in ALL_BLOCKS if block.language in _SHELL]
SPANS = sorted({(page.relative_to(ROOT).as_posix(), s) for page in pages() for s in spans(page)})

CHEAP = shlex.split("--task cb --method pt --shots 16 --seeds 42 --set training.steps=2")


def name(block: Block) -> str:
    return f"{block.page}:{block.line}"


@pytest.fixture(scope="module", autouse=True)
def no_plugins() -> Iterator[None]:
    """What the commands of the pages make known is forgotten."""
    yield
    plugins.use_files([])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, quiet_machine: Path) -> Path:
    """A results folder, as the pages' readers have one after their first run."""
    folder = tmp_path_factory.mktemp("results") / "out"
    assert bench(["run", *CHEAP, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, results: Path) -> Path:
    """Where the commands run: later ones of a page find the files of earlier ones."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(results, folder / "out")
    for example in (ROOT / "docs" / "extending").glob("*.py"):
        shutil.copy(example, folder)
    for part in BUNDLED["tiny"].load():  # Network and tokenizer.
        part.save_pretrained(folder / "my-t5")
    for task in ("cb", "mrpc", "boolq"):
        for file in (SAMPLES / task).iterdir():
            save(bundled_rows(task, file.stem).take(100), folder / "my-data" / task / file.name)
    for split in ("train", "validation"):
        reviews = [{"text": f"{split} {i}: well made", "label": i % 2} for i in range(40)]
        rows = datasets.Dataset.from_list(reviews)
        save(rows, folder / "my-data" / "reviews" / f"{split}.parquet")
    return folder


def save(rows: datasets.Dataset, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(file)


def bench(arguments: list[str]) -> int:
    """Run the command line in this process; returns its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["bench", *arguments])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def test_there_are_blocks() -> None:
    assert {block.page for block in BLOCKS} >= {"README.md", "docs/quick-start.md"}


@pytest.mark.parametrize("block", ALL_BLOCKS, ids=name)
def test_every_fence_names_its_language(block: Block) -> None:
    """So that no command hides in a block that is not taken for one."""
    assert block.language
    if block.language not in _SHELL:
        assert not re.search(r"^\s*(\$ )?(bench|python -m) ", block.text, re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS, ids=name)
def test_marked_and_well_formed(block: Block) -> None:
    assert block.kind in ("run", "dry-run", "skip", "ci"), f"{name(block)} has no test marker"
    if block.kind == "skip":
        assert block.rest in REASONS
    if block.kind == "ci":
        assert block.page == "README.md"
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    marked = [block.text for block in BLOCKS if block.kind == "ci"]
    assert len(marked) == 2
    assert "bench run --suite glue --shots 16" in marked[0]
    assert "python -m pytest" in marked[1]


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind in ("run", "dry-run")], ids=name)
def test_runs(
    block: Block,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    added = shlex.split(block.rest)
    for words, target in block.commands():
        said = {word for word in words if word.startswith("--")}
        assert said.isdisjoint(added), "the marker replaces what the command says"
        arguments = [*words, *added]
        if block.kind == "dry-run" and words[0] == "run" and "--dry-run" not in words:
            arguments.append("--dry-run")
        code = bench(arguments)
        captured = capsys.readouterr()
        assert code == 0, f"bench {shlex.join(arguments)}: {captured.err}"
        if target is not None:
            assert captured.out
            Path(target).write_text(captured.out, encoding="utf-8")


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind == "skip"], ids=name)
def test_skipped_commands_exist(block: Block) -> None:
    """What cannot run here at least names commands, modules and options that there are."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.partition(" > ")[0], comments=True)
        while words and "=" in words[0]:
            words.pop(0)
        match words:
            case ["bench", *rest]:
                command, context, rest = find(rest)
                command.make_context(command.name, rest, parent=context.parent)
            case ["python", "-m", module, *_]:
                assert importlib.util.find_spec(module) is not None
            case ["hf", "download", _, *rest]:
                # A second pattern behind one --include would be taken for the name of a file.
                assert all(word.startswith("--") for word in rest[::2])
                assert not any(word.startswith("--") for word in rest[1::2])


@pytest.mark.parametrize(("page", "span"), SPANS)
def test_commands_in_sentences_exist(page: str, span: str) -> None:
    """Its options are there and its choices can be chosen; files and arguments may be left out."""
    words = shlex.split(span.partition(" > ")[0])[1:]
    command, context, rest = find(words)
    values, left, _ = command.make_parser(context).parse_args(rest)
    assert left == [], f"{page}: {span}"
    for parameter in command.params:
        value = values.get(parameter.name)
        if isinstance(parameter.type, click.Choice) and isinstance(value, str):
            parameter.type.convert(value, parameter, context)


@pytest.mark.parametrize(
    "span",
    ["bench rum", "bench list taks", "bench run --shot 16", "bench table a b", "bench data chek"],
)
def test_a_wrong_command_in_a_sentence_is_found(span: str) -> None:
    with pytest.raises((click.UsageError, AssertionError)):
        test_commands_in_sentences_exist("page", span)


def find(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """The command that words name, its context, and the words behind its name."""
    command: click.Command = cli
    context = click.Context(cli, info_name="bench")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]}"
        context = click.Context(found, info_name=words[0], parent=context)
        command, words = found, words[1:]
    return command, context, list(words)
