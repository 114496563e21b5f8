"""Faulty command lines: one line that names the fault and the nearest name, and the exit code."""

import io
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from bench.commands.base import COMMANDS
from bench.errors import StopRequested
from tests.cli.conftest import ONE, Bench, call

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "transformers", "datasets", "evaluate", "sklearn", "scipy", "pandas", "numpy"}


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in another process, in the root of the project."""
    variables, command = {**os.environ, "PYTHONPATH": str(ROOT)}, [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=variables)


LIGHT = "--help", "run --help", "run --task cbb", "run --method dtvf", "data check --task cbb"


def test_nothing_heavy_is_imported() -> None:
    done = python(
        "import sys\n"
        "from bench.cli import main\n"
        f"for words in {LIGHT}:\n"
        "    sys.argv = ['bench', *words.split()]\n"
        "    try:\n        main()\n"
        "    except SystemExit:\n        pass\n"
        f"print('loaded:', sorted({HEAVY} & set(sys.modules)))"
    )
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stderr
    assert done.stderr.count("error: unknown") == 3


@pytest.mark.parametrize("module", ["click", "bench.config"])
def test_ctrl_c_while_modules_are_imported(module: str) -> None:
    done = python(
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder()); sys.argv = ['bench', 'run']\n"
        "from bench.cli import main\n"
        "main()"
    )
    assert done.returncode == 130
    assert done.stderr.strip() == "error: interrupted; give the same command again to continue"


def test_a_stop_names_what_continues(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.runner.run_grid", Mock(side_effect=StopRequested("SIGTERM", 15)))
    answer = bench(*ONE, "--out", "a b")
    assert answer.code == 128 + 15
    (line,) = answer.err.splitlines()
    assert line.startswith("error: stopped by SIGTERM; ")
    assert line.endswith("--out 'a b'")


TOO_LARGE = {
    "--seeds ": "seeds.0: expected a smaller number",
    "--shots ": "shots.0: expected a whole number",
    "--seeds 0-": "seeds.0: expected a whole number",
    "--set data_seed=": "--set data_seed=",
}
RATE = "learning_rate is a setting of pt, spot, attempt, mpt, dtvg: --method pt:learning_rate="
KEYS = {
    "steps": "unknown key 'steps': did you mean training.steps?",
    "grouping": "unknown key 'grouping': grouping is a setting of dtvg: --method dtvg:grouping=",
    **{key: f"unknown key '{key}': {RATE}" for key in ("learning_rate", "training.lr")},
    "method_options.pt.learning_rate": f"unknown key 'method_options.pt.learning_rate': {RATE}",
}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("rum", "unknown command 'rum': did you mean run?"),
        ("run --tsak cb", "No such option ... --tsak ... --task ... Usage: bench run "),
        ("run --task cbb", "unknown task 'cbb': did you mean cb?"),
        ("run --method dtvf", "unknown method 'dtvf': did you mean dtvg?"),
        ("run --preset papr", "unknown preset 'papr': did you mean paper?"),
        ("run --log tensorbord", "unknown logger 'tensorbord': did you mean tensorboard?"),
        ("run --shots 4,x", "shots.1: expected a whole number of at least 1, or 'full' (given: 'x"),
        ("run --seeds 44-42", "--seeds 44-42: expected FIRST-LAST, such as 42-44, of at most"),
        ("run --seeds 0-" + "9" * 19, "--seeds 0-" + "9" * 19 + ": expected FIRST-LAST"),
        *((f"run {option}{'9' * 5000}", fault) for option, fault in TOO_LARGE.items()),
        ("run --task cb,rt", "unknown task 'rt': did you mean rte?"),
        ("run --task=", "--task: a value is empty (given: '')"),
        ("run --task cb,", "--task: a value is empty (given: 'cb,')"),
        ("run --task MRPC", "unknown task 'MRPC': did you mean mrpc"),
        ("run --preset=", "unknown preset ''"),
        ("run --data=", "there is no data folder"),
        ("table out --layout=", "no result folder out"),
        ("report out --html=", "Invalid value for '--html': expected a path"),
        ("run --method pt:eps=1,eps=2", "method 'pt:eps=1,eps=2': eps is given twice"),
        ("list methods out", "DIR is for prompts"),
        *((f"run --set {key}=1", hint) for key, hint in KEYS.items()),
        ("run --config none.yaml", "configuration none.yaml: No such file"),
        ("run --data nowhere", "there is no data folder nowhere: name a folder of"),
        ("run --model ./nowhere", "no model folder at './nowhere': give a folder"),
        ("run --executor ray --workers 2", "--workers has no meaning with --executor ray"),
        ("run --gpus-per-run 0.5", "--gpus-per-run has no meaning with --executor local"),
        ("status nowhere", "no result folder nowhere: give the --out folder of a run"),
        ("report nowhere", "nothing to write: give --html FILE for one page, or --out FOLDER"),
        ("show rte --out out", "No such option ... --out ... Usage: bench show [OPTIONS] DIR RUN"),
        ("show out rte", "no record 'rte' in out/records"),
        ("export rte x", "nowhere to export to: give FOLDER or --push-to-hub ... Usage: "),
        ("export rte", "Missing argument ... Usage: bench export [OPTIONS] DIR RUN [FOLDER]"),
        ("plot groups .", "no result folder groups: "),
        ("list taks", "Invalid value for '{tasks|suites|methods|models|prompts}': 'taks' is not"),
        ("data check --task clola", "unknown task 'clola': did you mean cola?"),
        ("data prefetch --data bundled", "prefetch loads from the hub"),
        ("import x.bin --task cbb --model tiny", "unknown task 'cbb': did you mean cb?"),
        # Options that contradict each other.
        ("table out --standalone --json", "--standalone is for LaTeX"),
        ("show out mrpc --errors --json", "--errors prints text"),
        ("list models --suite glue", "--suite is for tasks"),
        ("list tasks --settings", "--settings is for methods"),
    ],
)
def test_a_faulty_command_line_is_one_line(words: str, message: str, bench: Bench) -> None:
    answer = bench(*words.split())
    start, *parts = message.split(" ... ")
    assert answer.error().startswith(start)
    assert all(part in answer.err for part in parts), answer.err
    assert len(answer.err.splitlines()) == 1
    assert not any(Path().iterdir())


@pytest.mark.parametrize(
    ("option", "place"),
    [("--out", "."), ("--prompts", "."), *(("--out", k) for k in ("records", "checkpoints"))],
)
def test_a_place_that_cannot_be_written(option: str, place: str, bench: Bench) -> None:
    path = Path("taken", place)
    path.parent.mkdir(exist_ok=True)
    path.write_text("a file")
    assert bench(*ONE, option, "taken").error().startswith("cannot write taken/")
    assert path.read_text() == "a file"


@pytest.mark.parametrize("encoding", ["latin-1", "shift_jis", "ascii"])
@pytest.mark.parametrize("command", ["table {}", "show {} mrpc", "run --help"])
def test_characters_that_the_terminal_lacks(
    encoding: str, command: str, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding, write_through=True))
    assert call(tuple(command.format(finished).split())) == 0
    assert raw.getvalue()


def test_home_is_known_everywhere(
    finished: Path, tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(finished.parent))
    (tmp_path / "own.yaml").write_text("data: ~/nowhere\n")
    assert bench("run", "--config", "own.yaml").error().startswith("there is no data folder /")
    answer = bench("run", "--data", "~no-such-user/x")
    assert answer.error().startswith("there is no data folder ~no-such-user/x")
    for words in (("status", "~/out"), (*ONE, "--out=~/out")):
        assert bench(*words).code == 0
    assert bench("export", "~/out", "mrpc-pt", "~/adapter").code == 0
    assert (finished.parent / "adapter").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]


def test_debug_shows_the_traceback(bench: Bench) -> None:
    with pytest.raises(Exception, match="unknown task"):
        bench("run", "--task", "cbb", "--debug")


def test_every_command_has_help(bench: Bench) -> None:
    for words in ((), ("--help",), ("-h",)):
        answer = bench(*words)
        assert (answer.code, answer.err) == (0, "")
        assert all(f"\n  {command} " in answer.out for command in COMMANDS)
    for command in COMMANDS:
        assert bench(command, "--help").out.startswith(f"Usage: bench {command} ")
