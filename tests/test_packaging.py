"""The wheel, built and installed as a stranger would; this asks the package registry."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from pgledger.migrate import pending

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # By way of the source distribution, so that one is known to be whole, too.
    target = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", target, ROOT)
    (wheel,) = target.glob("*.whl")
    return wheel


def run(*command: str | Path, **environment: str) -> str:
    # From elsewhere and without PYTHONPATH, so that nothing of the checkout is found by accident.
    outside = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        command,
        cwd="/",
        env=outside | environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def test_a_wheel_carries_the_sources_and_the_migrations(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [*ROOT.glob("sql/**/*.sql"), *ROOT.glob("migrations/*")]
    assert {f"pgledger/{file.relative_to(ROOT)}" for file in files} <= names
    assert "pgledger/py.typed" in names
    assert not [name for name in names if not name.startswith(("pgledger/", "pgledger-"))]


def test_a_wheel_installed_alone_migrates_a_database(
    wheel: Path, tmp_path: Path, empty_database: str
) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", f"{wheel}[cli]")
    run(programs / "pgledger", "--database-url", empty_database, "migrate")
    assert pending(empty_database) == []
