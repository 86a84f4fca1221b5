"""What the tests of the command line share."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from click.testing import CliRunner, Result

from pgledger import embedded
from pgledger.cli import cli

Run = Callable[..., Result]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PGLEDGER_DATABASE_URL"},
    "PYTHONPATH": str(Path(embedded.__file__).parents[1]),
}


def runner(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs a command on a database, which the environment names."""
    monkeypatch.setenv("PGLEDGER_DATABASE_URL", database_url)
    return lambda *words: CliRunner().invoke(cli, words)


def program(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401
    """Run a command as a process of its own."""
    options = {"env": ENVIRONMENT, "capture_output": True, **options}
    return subprocess.run(
        [sys.executable, "-m", "pgledger", *words], text=True, check=False, **options
    )


def on_terminal(database_url: str, *words: str) -> str:
    """Run a command as on a terminal of 80 columns, and return what it shows, without bold."""
    reader, writer = os.openpty()
    environment = {**ENVIRONMENT, "PGLEDGER_DATABASE_URL": database_url, "TERM": "xterm"}
    with os.fdopen(reader, "rb", buffering=0) as shown, os.fdopen(writer, "wb") as terminal:
        program(*words, env={**environment, "COLUMNS": "80"}, capture_output=False, stdout=terminal)
        told = shown.read(1 << 16).decode().replace("\r\n", "\n")
    return re.sub("\x1b\\[[0-9;]*m", "", told)


@contextmanager
def started(database_url: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command that goes on and on; it is killed when the test is done with it."""
    with subprocess.Popen(
        [sys.executable, "-m", "pgledger", *words],
        env={**ENVIRONMENT, "PGLEDGER_DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(stream: IO[str] | None) -> str:
    """Wait for the next line that a command writes."""
    assert stream
    read = stream.readline()
    assert read.endswith("\n"), "the command ended"
    return read


def interrupted(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Press Ctrl-C, and return what the command still writes; it ends well."""
    process.send_signal(signal.SIGINT)
    rest = process.communicate()
    assert process.returncode == 0, rest
    return rest


def error(result: Result, code: int) -> dict[str, Any]:
    """Return the error that a command told as JSON, the only thing that it said."""
    assert (result.exit_code, result.stderr) == (code, "")
    told = json.loads(result.stdout)
    assert set(told) == {"error"}
    assert set(told["error"]) == {"sqlstate", "message", "details", "hint"}
    return told["error"]  # type: ignore[no-any-return]


def failed(result: Result, code: int) -> str:
    """Return the words of a command that failed; its stdout is empty."""
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("error: ")
    return result.stderr
