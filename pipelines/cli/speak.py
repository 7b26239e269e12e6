"""What the command says: progress while it works, then one result, for people or for programs; errors the same way."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from imaging.errors import ImagingError, OutputError
from pipelines.cli.options import Voice
from pipelines.exit_codes import Exit, exit_code_of
from pipelines.progress import Reporter, choose_reporter
from pipelines.strict_json import encodable, strict_json


@contextmanager
def progress(voice: Voice) -> Iterator[Reporter]:
    """The reporter for this terminal and these options, closed at the end whatever happens."""
    reporter = choose_reporter(quiet=voice.quiet, events=voice.events)
    try:
        yield reporter
    finally:
        reporter.close()


def tell(voice: Voice, result: dict[str, Any], text: str | Callable[[], str]) -> None:
    """The result: as JSON with ``--json``, as the last event with ``--events``, else as text unless ``--quiet``."""
    words = None
    if voice.events:
        words = strict_json({"event": "result", **result})
    elif voice.json:
        words = strict_json(result, indent=2)
    elif not voice.quiet:
        words = text() if callable(text) else text
    try:
        if words is not None:
            print(encodable(words))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        from imaging.io.atomic import output_error

        raise output_error(error, Path("standard output")) from error


def tell_error(error: BaseException, *, as_json: bool, as_event: bool, debug: bool) -> int:
    """Say what went wrong and what to do next, on standard error and for programs; return the exit code."""
    code = exit_code_of(error)
    facts = _facts_of(error, debug=debug)
    with suppress(OSError):  # where standard output is lost, standard error still says why
        if as_event:
            print(strict_json({"event": "error", "error": facts, "exit_code": int(code)}), flush=True)
        elif as_json:
            print(strict_json({"error": facts, "exit_code": int(code)}, indent=2), flush=True)
    lines = [f"nodulus: {facts['code']}: {facts['message']}"]
    lines += [f"  where: {facts['where']}"] if facts["where"] else []
    lines += [f"  next:  {facts['remedy']}"] if facts["remedy"] else []
    print("\n".join(lines), file=sys.stderr, flush=True)
    return int(code)


def _facts_of(error: BaseException, *, debug: bool) -> dict[str, str | None]:
    if isinstance(error, ImagingError):
        return error.to_json()
    if isinstance(error, KeyboardInterrupt):
        return {
            "code": "stopped",
            "message": "stopped on request",
            "where": None,
            "remedy": "run the same command again",
        }
    if debug:
        traceback.print_exception(error)
    if isinstance(error, MemoryError):
        return OutputError("batch.memory", "there was not enough memory").to_json()
    last = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    place = f" in {Path(last.filename).name}, line {last.lineno}" if last else ""
    log = _write_log(error)
    return {
        "code": "bug",
        "message": f"{type(error).__name__}{place}: this is a bug in nodulus, not in your data",
        "where": None,
        "remedy": f"report it with the log {log} (read it first: it may quote the input), or run again with --debug",
    }


def _write_log(error: BaseException) -> str:
    """The traceback in a file that only its owner can read; its path, or a word if no file could be written."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "nodulus"
    for folder in (home, Path(tempfile.gettempdir())):
        path = folder / f"nodulus-bug-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", errors="backslashreplace") as stream:
                traceback.print_exception(error, file=stream)
        except OSError:
            continue
        return str(path)
    return "(which could not be written)"


__all__ = ["Exit", "progress", "tell", "tell_error"]
