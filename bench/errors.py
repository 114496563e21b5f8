"""Errors that users can fix; each message is one line: what is wrong, where, and what to do.

The command line prints them without a traceback and exits with code 2. Any other exception is a
bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")


def one_line(error: BaseException) -> str:
    """Format any exception as one line: its type and message."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def counted(number: int, noun: str) -> str:
    """Format a number with its noun: ``1 run``, ``2 runs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def plain_fault(fault: ErrorDetails) -> str:
    """Message for a pydantic error: what was expected, and the given value."""
    messages = {
        **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "expected a whole number"),
        "int_parsing_size": "expected a smaller number",
        **dict.fromkeys(("float_type", "float_parsing"), "expected a number"),
        **dict.fromkeys(("bool_type", "bool_parsing"), "expected true or false"),
        **dict.fromkeys(("tuple_type", "list_type"), "expected a list"),
        **dict.fromkeys(("dict_type", "model_type"), "expected 'key: value' entries"),
        "string_type": "expected text",
        "missing": "missing; give a value",
        "too_short": "expected at least one",
        "finite_number": "expected a finite number",
        "literal_error": "expected {expected}",
        "greater_than_equal": "expected at least {ge}",
        "greater_than": "expected more than {gt}",
        "less_than": "expected less than {lt}",
    }
    if fault["type"] in messages:
        message = messages[fault["type"]].format(**fault.get("ctx", {}))
    else:
        message = fault["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
    if isinstance(fault["input"], Mapping) or not fault["loc"]:
        return message
    return f"{message} (given: {fault['input']!r})"


class BenchError(Exception):
    """Base class of errors that a change of input, configuration or environment can fix."""


class ConfigError(BenchError):
    """A preset, configuration file, ``--set`` item or command-line option cannot be used."""

    def __init__(self, faults: str | Iterable[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("; ".join(self.faults))


class UnknownNameError(ConfigError, ValueError):
    """A task, suite, method, model, layout or key that does not exist; offers the nearest names."""

    def __init__(self, kind: str, name: str, choices: Iterable[str]) -> None:
        names, key = sorted(choices), name.rpartition(".")[2]
        near = [choice for choice in names if choice.rpartition(".")[2] == key]  # Moved key.
        near = near or difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(names)}"
        super().__init__(f"unknown {kind} {name!r}: {hint}")


def lookup(kind: str, name: str, choices: Mapping[str, T]) -> T:
    """Value of a name; UnknownNameError if there is none."""
    if name not in choices:
        raise UnknownNameError(kind, name, choices)
    return choices[name]


class PluginError(BenchError):
    """A plugin (method, task or logger) cannot be loaded, or its name is taken."""


class DataError(BenchError):
    """Rows, columns, labels or splits of a dataset are missing or differ from the declaration."""


class ModelError(BenchError):
    """A language model or its tokenizer cannot be loaded or used."""


class PromptError(BenchError):
    """A stored soft prompt is missing, damaged, or does not fit the run that needs it."""


class RecordError(BenchError):
    """A record or another file of a run is missing, damaged or does not follow the schema."""


class OutputError(BenchError):
    """The output folder or a file in it cannot be written."""


class RunError(BenchError):
    """One run failed; it is recorded as failed, and the other runs continue."""


class StopRequested(BaseException):
    """A signal such as ``SIGTERM`` requested a stop; unfinished runs can be resumed."""

    def __init__(self, signal: str, number: int) -> None:
        self.signal, self.exit_code = signal, 128 + number
        super().__init__(f"stopped by {signal}")
