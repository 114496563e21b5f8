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


@pytest.mark.parametrize(
    "words",
    ["--help", "run --help", "run --task cbb", "run --method dtvf", "data check --task cbb"],
)
def test_nothing_heavy_is_imported(words: str) -> None:
    done = python(
        f"import sys; sys.argv = ['bench', *{words.split()}]\n"
        "from bench.cli import main\n"
        "try:\n    main()\n"
        f"finally:\n    print('loaded:', sorted({HEAVY} & set(sys.modules)))"
    )
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stderr


@pytest.mark.parametrize("module", ["click", "bench.commands.base", "bench.config", "yaml"])
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
    "training.step": "unknown key 'training.step': did you mean training.steps",
    "grouping": "unknown key 'grouping': grouping is a setting of dtvg: --method dtvg:grouping=",
    "seed": "unknown key 'seed': did you mean seeds",
    **{key: f"unknown key '{key}': {RATE}" for key in ("learning_rate", "training.lr")},
    "method_options.pt.learning_rate": f"unknown key 'method_options.pt.learning_rate': {RATE}",
}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("rum", "unknown command 'rum': did you mean run?"),
        ("run --tsak cb", "unknown option '--tsak': did you mean --task"),
        ("run --task cbb", "unknown task 'cbb': did you mean cb?"),
        ("run --method dtvf", "unknown method 'dtvf': did you mean dtvg?"),
        ("run --method dtvg:groping=all", "unknown setting of dtvg 'groping': did you mean grou"),
        ("run --preset papr", "unknown preset 'papr': did you mean paper?"),
        ("run --log tensorbord", "unknown logger 'tensorbord': did you mean tensorboard?"),
        ("run --shots 0", "shots.0: expected a whole number of at least 1, or 'full' (given: 0)"),
        ("run --shots 4,x", "shots.1: expected a whole number of at least 1, or 'full' (given: 'x"),
        ("run --seeds 1,x", "seeds.1: expected a whole number"),
        ("run --seeds 44-42", "--seeds 44-42: expected FIRST-LAST, such as 42-44, of at most"),
        ("run --seeds 0-" + "9" * 19, "--seeds 0-" + "9" * 19 + ": expected FIRST-LAST"),
        *((f"run {option}{'9' * 5000}", fault) for option, fault in TOO_LARGE.items()),
        ("run --task cb,rt", "unknown task 'rt': did you mean rte?"),
        ("run --task=", "unknown task ''"),
        *((f"run --set {key}=1", hint) for key, hint in KEYS.items()),
        ("run --set training.steps", "--set training.steps: expected key=value"),
        ("run --config none.yaml", "configuration none.yaml: No such file"),
        ("run --data nowhere", "there is no data folder nowhere: name a folder of"),
        ("run --model ./nowhere", "no model folder at './nowhere': give a folder"),
        ("run --quiet --verbose", "--quiet and --verbose exclude each other: give one of them"),
        ("run --executor ray --workers 2", "--workers has no meaning with --executor ray"),
        ("run --gpus-per-run 0.5", "--gpus-per-run has no meaning with --executor local"),
        ("status nowhere", "no results folder nowhere: give the --out folder of a run"),
        ("report nowhere --html page.html", "no results folder nowhere"),
        ("report nowhere", "say what to write: --html FILE for one page, or --out FOLDER"),
        ("show rte", "name the result folder and the run: bench show DIR RUN"),
        ("show out rte", "no record 'rte' in out/records"),
        ("export rte", "name result folder, run and target: bench export DIR RUN FOLDER"),
        ("plot groups .", "the result folder comes first: bench plot DIR NAME"),
        ("list taks", "Invalid value for '{tasks|suites|methods|models|prompts}': 'taks' is not"),
        ("data check --task clola", "unknown task 'clola': did you mean cola?"),
        ("data prefetch --data bundled", "prefetch loads from the hub"),
        ("import x.bin --task cbb --model tiny", "unknown task 'cbb': did you mean cb?"),
    ],
)
def test_a_faulty_command_line_is_one_line(words: str, message: str, bench: Bench) -> None:
    answer = bench(*words.split())
    assert answer.error().startswith(message)
    assert len(answer.err.splitlines()) == 1
    assert not any(Path().iterdir())


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        ("compare out", "bench table DIR --layout transfer"),
        ("floors --task cb", "no_prompt"),
        ("verify out", "bench status DIR"),
        ("freeze out", "bench run --config DIR/configs/NAME.yaml"),
        ("prompts list", "bench list prompts DIR"),
        ("evaluate abcd --task cb", "fixed:prompt=ID"),
        ("completion bash", "_BENCH_COMPLETE=bash_source"),
        ("run --from bundle.yaml", "--config DIR/configs/NAME.yaml"),
        ("plan --budget 8h", "--seeds"),
        ("run --source-prompt mnli=abcd", "--set source_prompts.TASK=PROMPT"),
        ("run --tokenizer x", "a model folder that holds the tokenizer"),
        ("run --pack 2", "--workers"),
        ("run --address x", "RAY_ADDRESS"),
        ("run --retry-failed", "--overwrite failed"),
        ("run --cpus-per-cell 2", "--cpus-per-run"),
        ("run --gpus-per-cell 0.5", "--gpus-per-run"),
        ("show rte --out out", "bench show DIR RUN"),
    ],
)
def test_what_is_gone_names_its_replacement(words: str, instead: str, bench: Bench) -> None:
    answer = bench(*words.split())
    command, *rest = words.split()
    options = [word for word in rest if word.startswith("--")]
    gone = options[0] if command in COMMANDS else command
    line = answer.error()
    assert f" {gone} is gone: use " in line
    assert instead in line


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


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "shift_jis", "ascii", "koi8-r"])
@pytest.mark.parametrize("command", ["table {}", "show {} mrpc", "list tasks", "run --help"])
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
    for words in (("status", "~/out"), (*ONE, "--out=~/out")):
        assert bench(*words).code == 0
    assert bench("export", "~/out", "mrpc-pt", "~/adapter").code == 0
    assert (finished.parent / "adapter").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]


def test_debug_shows_the_traceback(bench: Bench) -> None:
    with pytest.raises(Exception, match="unknown task"):
        bench("run", "--task", "cbb", "--debug")


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_names_the_commands(words: tuple[str, ...], bench: Bench) -> None:
    answer = bench(*words)
    assert (answer.code, answer.err) == (0, "")
    assert all(f"\n  {command} " in answer.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, bench: Bench) -> None:
    answer = bench(command, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"Usage: bench {command} ")
