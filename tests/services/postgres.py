"""A private PostgreSQL for the tests: found on this machine, started on a free port, gone afterwards."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg import sql

from medjobs.stack.ports import free_port


class NoPostgres(Exception):
    """No PostgreSQL can be started here; the text says why."""


def find_binaries() -> Path | None:
    """The folder that holds initdb: on PATH, or where Debian and others put it, the newest first."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    folders = [
        *Path("/usr/lib/postgresql").glob("*/bin"),
        *Path("/usr").glob("pgsql-*/bin"),
        Path("/usr/local/pgsql/bin"),
    ]
    found = [folder for folder in folders if (folder / "initdb").exists()]
    return max(found, key=_major, default=None)


def _major(folder: Path) -> int:
    digits = "".join(letter for letter in folder.parent.name if letter.isdigit())
    return int(digits or 0)


def _unprivileged() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: the user to be instead, or None where we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres("initdb refuses to run as root, and there is neither a user postgres nor nobody to run it as.")


class Postgres:
    """One server; `fresh()` makes a database, empty or cloned from a template.

    It does not sync to disk unless `durable`: tests kill processes, and only a power cut would show the difference.
    A `folder` that is named is kept when `halt` ends the server, and served again. `settings` are PostgreSQL's own.
    """

    def __init__(
        self, *, durable: bool = False, address: str = "127.0.0.1", folder: Path | None = None, **settings: str
    ) -> None:
        """`address`: where it listens besides the loopback; see `admit`."""
        self._durable = durable
        self._settings = settings
        self._addresses = ",".join(dict.fromkeys(["127.0.0.1", address]))
        binaries = find_binaries()
        if binaries is None:
            raise NoPostgres("no initdb found on PATH or under /usr/lib/postgresql; install postgresql to run this.")
        self.binaries = binaries
        self._user = _unprivileged()
        self.folder = folder or Path(tempfile.mkdtemp(prefix="medjobs-pg-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        if not (self.folder / "data" / "PG_VERSION").exists():
            self._make()
        self.start()

    def _make(self) -> None:
        initdb = [
            self.binaries / "initdb",
            "-D",
            self.folder / "data",
            "-U",
            "medjobs",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        made = subprocess.run([*initdb, "--locale=C"], capture_output=True, cwd=self.folder, **self._as_user())  # type: ignore[call-overload]
        if made.returncode != 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise NoPostgres(f"initdb failed: {made.stderr.decode(errors='replace').strip()[-300:]}")

    @property
    def pid(self) -> int:
        """Of the server's first process; the others are its children."""
        assert self._process is not None
        return self._process.pid

    def _as_user(self) -> dict[str, object]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def start(self) -> None:
        """Start the server on its port and wait until it answers."""
        options = {
            "listen_addresses": self._addresses, "port": str(self.port), "unix_socket_directories": str(self.folder),
            "max_connections": "200", "fsync": "on" if self._durable else "off", "shared_buffers": "64MB",
            **self._settings,
        }  # fmt: skip
        command = [str(self.binaries / "postgres"), "-D", str(self.folder / "data")]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **self._as_user())  # type: ignore[call-overload]
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self._dsn("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise NoPostgres(f"postgres did not start: {(self.folder / 'log').read_text()[-400:]}") from None
                time.sleep(0.05)

    def _dsn(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=medjobs dbname={database}"

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of one of the databases."""
        return f"postgresql+psycopg://medjobs@127.0.0.1:{self.port}/{database}"

    def fresh(self, template: str | None = None) -> str:
        """The name of a new database, empty or cloned from `template`."""
        name = f"test_{next(self._numbers)}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template or "template0")
        )
        self._command(create)
        return name

    def add_role(self, name: str) -> None:
        """A further user with every right."""
        self._command(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(sql.Identifier(name)))

    def admit(self, network: str, password: str) -> None:
        """Let the user `medjobs` in from a network ("10.1.0.0/16"), by a password that the loopback need not give."""
        with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all medjobs {network} scram-sha-256\n")
        self._command(sql.SQL("ALTER ROLE medjobs PASSWORD {}").format(sql.Literal(password)))
        self._command(sql.SQL("SELECT pg_reload_conf()"))

    def refuse(self, name: str, refused: bool) -> None:
        """Let a user in no more and cut its connections, as if the network failed one host; or let it in again."""
        self._command(sql.SQL("ALTER ROLE {} " + ("NOLOGIN" if refused else "LOGIN")).format(sql.Identifier(name)))
        if refused:
            self._command(
                sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {}").format(
                    sql.Literal(name)
                )
            )

    def drop(self, name: str) -> None:
        """Drop a database, cutting whoever is connected."""
        self._command(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def cut(self, name: str) -> None:
        """Cut every connection to a database, as a failing network would."""
        self._command(
            sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}").format(
                sql.Literal(name)
            )
        )

    def _command(self, statement: sql.Composable) -> None:
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def halt(self, *, immediately: bool = False) -> None:
        """Stop the server, keeping its data: fast (connections are cut), or as a power cut would."""
        process = self._process
        if process is None:
            return
        process.send_signal(3 if immediately else 2)  # SIGQUIT, SIGINT: PostgreSQL's immediate and fast shutdown
        process.wait(timeout=30)
        self._process = None

    def restart(self, *, immediately: bool = False) -> None:
        """Halt and start again on the same port."""
        self.halt(immediately=immediately)
        self.start()

    def stop(self) -> None:
        """Stop the server and delete its data."""
        self.halt(immediately=True)
        shutil.rmtree(self.folder, ignore_errors=True)
