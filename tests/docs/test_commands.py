"""Every command in README and documentation is run, or says why not.

A comment above each block says how: ``<!-- test: run -->``, ``<!-- test: dry-run -->`` (adds
``--dry-run`` to ``bench run``), ``<!-- test: skip REASON -->``, or ``<!-- ci -->`` for the two that
``.ci/run`` runs. Options behind ``run`` or ``dry-run`` are added to every command of the block, to
make it cheap.
"""

from __future__ import annotations

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
import torch

from bench import plugins
from bench.cli import cli, main

ROOT = Path(__file__).resolve().parents[2]

REASONS = ("installs packages", "needs the hub", "needs a GPU", "development tool")
"""Why a block may be left out."""

_FENCE = re.compile(r"(?P<indent> *)```(?P<language>\w*).*")
_MARKER = re.compile(r" *<!-- (?P<name>test|ci)(?:: (?P<how>.*\S))? *-->")


@dataclass(frozen=True)
class Block:
    """One fenced block of bash.

    Attributes:
        page: path under the repository.
        line: of its fence.
        marker: the words of the comment in the line above: ``ci``, or what follows ``test:``;
            empty if there is none.
        text: what stands in it.
    """

    page: str
    line: int
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
    """The bash blocks of a page."""
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
        if fence["language"] in ("bash", "sh", "shell", "console"):
            marker = _MARKER.fullmatch(lines[start - 1])
            how = "" if marker is None else marker["how"] or marker["name"]
            inside = [line.removeprefix(fence["indent"]) for line in lines[start + 1 : number]]
            name = page.relative_to(ROOT).as_posix()
            yield Block(name, start + 1, how, "\n".join(inside) + "\n")
        number += 1


BLOCKS = [block for page in pages() for block in blocks(page)]

CHEAP = shlex.split("--task cb --method pt --shots 16 --seeds 42 --set training.steps=2")


def name(block: Block) -> str:
    return f"{block.page}:{block.line}"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
        yield folder
    torch.set_num_threads(threads)
    plugins.use_files([])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
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
    return folder


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
    """What cannot run here at least names commands and options that there are."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and "=" in words[0]:
            words.pop(0)
        if words[:1] == ["bench"]:
            parse(words[1:])


def parse(words: list[str]) -> None:
    """Let click read a command without running it.

    Raises:
        click.UsageError: it cannot.
    """
    command: click.Command = cli
    context = click.Context(cli, info_name="bench")
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]}"
        context = click.Context(found, info_name=words[0], parent=context)
        command, words = found, words[1:]
    command.make_context(command.name, list(words), parent=context.parent)
