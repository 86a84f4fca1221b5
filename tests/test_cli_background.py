"""The commands that go on and on."""

import pytest

from tests.cli_tools import Run, runner


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(database_url, monkeypatch)
