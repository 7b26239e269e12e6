"""The entry point ``nodulus``: parse, call, and end with a code of `pipelines.exit_codes`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from cyclopts import App, CycloptsError, Group

from pipelines.cli.table import COMMANDS
from pipelines.exit_codes import MEANINGS, Exit
from pipelines.silence import silence_libraries

_CODES = "\n".join(f"{int(code):>3}  {meaning}" for code, meaning in MEANINGS.items())


def _version() -> str:
    from imaging.provenance import software_version

    return software_version()


def make_app() -> App:
    """The application: every row of `COMMANDS`, none of them imported yet."""
    app = App(
        name="nodulus",
        help="A CT goes in; lung nodule coordinates, heat maps and a report come out. For research, not for diagnosis.",
        help_epilogue=f"Exit codes:\n{_CODES}",
        help_format="plaintext",
        version=_version,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for number, group in enumerate(dict.fromkeys(command.group for command in COMMANDS)):
        shown = Group(group, sort_key=number)
        for order, command in enumerate(COMMANDS):
            if command.group == group:
                app.command(command.target, name=command.name, help=command.summary, group=shown, sort_key=order)
    return app


def _refuse_empty_words(tokens: Sequence[str]) -> None:
    """An unset variable of a script must not become the current folder, which is what an empty path means."""
    for before, word in zip(["", *tokens], tokens, strict=False):
        if (not word and before != "--prompt") or (word.startswith("--") and word.endswith("=")):
            from imaging.errors import UsageError

            name = word.rstrip("=") or (before if before.startswith("-") else "a path")
            raise UsageError("usage.option", f"{name} is empty; perhaps a variable of a script is not set")


def _called_by_a_program(tokens: Sequence[str]) -> Any:
    """Run a command line; what is wrong with it becomes an error like any other, not a panel for a person."""
    try:
        return make_app()(list(tokens), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        from imaging.errors import UsageError

        raise UsageError("usage.option", str(error)) from error


def run(tokens: Sequence[str]) -> int:
    """Run one command line and return its exit code; only a bug with ``--debug`` shows a traceback."""
    options = tokens[: tokens.index("--")] if "--" in tokens else tokens
    debug = "--debug" in options
    if not debug:
        silence_libraries()
    try:
        _refuse_empty_words(options)
        if not {"--json", "--events"} & set(options):
            return int(make_app()(list(tokens)) or 0)
        return int(_called_by_a_program(tokens) or 0)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(Exit.USAGE)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the reader is gone; nothing more can be said
        return int(Exit.OK)
    except (Exception, KeyboardInterrupt) as error:
        from pipelines.cli.speak import tell_error

        return tell_error(error, as_json="--json" in options, as_event="--events" in options, debug=debug)


def _stop(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> NoReturn:
    """What the installed script calls."""
    signal.signal(signal.SIGTERM, _stop)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller, as services do
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 - for the rest of the process
    if sys.stdout.errors == "strict":  # a name of a file in no encoding, or a terminal without "…", is no bug
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:  # the disk behind it is full: what was to be said is lost
        code = code or int(Exit.BUG)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
