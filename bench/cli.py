"""Entry point of the ``bench`` command; imports late, so that Ctrl-C prints no traceback."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys


def main() -> None:
    """Run the command in ``sys.argv`` and exit.

    Exit codes: 1 if runs failed or a check found faults, 2 for an error that the user can fix,
    128 + n after signal n.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # Prints characters outside the encoding as "?".
        sys.stdout.reconfigure(errors="replace")
    try:
        sys.exit(_run(sys.argv[1:] or ["--help"]))
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted; give the same command again to continue", 130))


def _run(words: list[str]) -> int:
    import click

    from bench.commands.base import bench
    from bench.errors import BenchError, StopRequested

    try:
        return bench.main(words, prog_name="bench", standalone_mode=False) or 0
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except click.UsageError as error:
        usage = error.ctx.get_usage() if error.ctx else ""
        return _fail(" ".join(f"{error.format_message()} {usage}".split()))
    except BenchError as error:
        if "--debug" in words:
            raise
        return _fail(str(error))
    except StopRequested as stop:
        command = shlex.join(["bench", *words])
        return _fail(f"{stop}; finished runs are kept, to continue: {command}", stop.exit_code)


def _fail(message: str, code: int = 2) -> int:
    with contextlib.suppress(OSError):  # The terminal may be closed.
        print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
