"""A PostgreSQL server of the tests' own: on loopback, on a free port, in a temporary folder, gone when they end."""

import contextlib
import glob
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass

import pytest

_USER = "stillsky"


@dataclass(frozen=True)
class PostgresServer:
    """A running server with the database ``night``, whose owner has made the extension btree_gist.

    The password is in the credentials file that the environment variable LSST_DB_AUTH names, so URLs carry none.
    """

    port: int

    @property
    def url(self):
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/night"


def findServer():
    """Folder of the server's programs: that of the path, or the newest of those where Debian and Red Hat keep them."""
    found = shutil.which("initdb")
    if found:
        return os.path.dirname(os.path.realpath(found))
    places = glob.glob("/usr/lib/postgresql/*/bin/initdb") + glob.glob("/usr/pgsql-*/bin/initdb")
    return os.path.dirname(max(places, key=_version)) if places else None


def _version(path):
    return int("".join(c for c in path.split("/bin/")[0].rsplit("/", 1)[-1] if c.isdigit()) or 0)


@contextlib.contextmanager
def runningServer():
    """Start a server, yield `PostgresServer`, stop it; skips, and says why, where none can be started."""
    pytest.importorskip("psycopg", reason="no PostgreSQL driver: pip install 'stillsky[postgres]'")
    programs = findServer()
    if programs is None:
        pytest.skip("no PostgreSQL server here (initdb is neither on the path nor in /usr/lib/postgresql)")
    asRoot = os.geteuid() == 0  # the server refuses to be run by root
    if asRoot and (
        shutil.which("runuser") is None
        or subprocess.call(["id", "-u", "postgres"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ):
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres to run it as")
    # the other user must reach it, which a private TMPDIR would not allow
    folder = tempfile.mkdtemp(prefix="stillsky-pg-", dir="/tmp" if asRoot else None)
    try:
        yield from _serve(programs, folder, ["runuser", "-u", "postgres", "--"] if asRoot else [])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve(programs, folder, prefix):
    password = secrets.token_hex(16)
    words = os.path.join(folder, "password")
    with open(os.open(words, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        file.write(password + "\n")
    if prefix:
        shutil.chown(folder, "postgres")
        shutil.chown(words, "postgres")
    data = os.path.join(folder, "data")

    def call(program, *arguments):
        done = subprocess.run(
            [*prefix, os.path.join(programs, program), *arguments], cwd="/", capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")

    call(
        "initdb", "-D", data, "-U", _USER, f"--pwfile={words}", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "-N"
    )
    port = _start(call, data, folder)
    try:
        _prepare(port, password)
        with _credentials(folder, port, password):
            yield PostgresServer(port)
    finally:
        call("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _start(call, data, folder):
    """Start on a free port; another program may take it in between, so a few are tried."""
    for attempt in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        try:
            # its output goes to a file: a pipe would stay open for as long as the server runs
            call("pg_ctl", "-D", data, "-o", options, "-l", os.path.join(folder, "log"), "-w", "start")
        except RuntimeError:
            if attempt == 4:
                raise
        else:
            return port
    raise AssertionError("unreachable")


def _prepare(port, password):
    import psycopg

    def connect(name):
        return psycopg.connect(host="127.0.0.1", port=port, user=_USER, password=password, dbname=name, autocommit=True)

    with connect("postgres") as connection:
        connection.execute("CREATE DATABASE night")
        connection.execute("CREATE DATABASE bare")
    with connect("night") as connection:
        connection.execute("CREATE EXTENSION btree_gist")


@contextlib.contextmanager
def _credentials(folder, port, password):
    """The credentials file of Rubin's butler, and the environment variable that names it."""
    path = os.path.join(folder, "db-auth.yaml")
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        for name in ("night", "bare"):
            file.write(f"- url: postgresql://127.0.0.1:{port}/{name}\n  username: {_USER}\n  password: {password}\n")
    before = os.environ.get("LSST_DB_AUTH")
    os.environ["LSST_DB_AUTH"] = path
    try:
        yield
    finally:
        if before is None:
            del os.environ["LSST_DB_AUTH"]
        else:
            os.environ["LSST_DB_AUTH"] = before
