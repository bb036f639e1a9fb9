"""A PostgreSQL server of the tests' own, from the binaries of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

PASSWORD = "p@ss/w0rd:密#?"


def binaries() -> Path | None:
    """The folder of `initdb` and `pg_ctl`; None where the machine has none."""
    places = [Path(found).parent for found in [shutil.which("initdb")] if found]
    if shutil.which("pg_config"):
        told = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True)
        places.append(Path(told.stdout.strip()))
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((p for p in places if (p / "initdb").exists() and (p / "pg_ctl").exists()), None)


class Server:
    """A server on a free port of 127.0.0.1 that asks for a password; it lives in a folder that goes with it.

    Clocks stand at Asia/Shanghai. The server refuses to run as root, so that root hands it to another user.
    """

    def __init__(self, bin_folder: Path) -> None:
        self.bin = bin_folder
        self.folder = Path(tempfile.mkdtemp(prefix="riskmodel-pg-"))
        self.as_user: dict[str, Any] = {}
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            import pwd

            known = {entry.pw_name: entry for entry in pwd.getpwall()}
            user = known.get("postgres") or known["nobody"]
            self.as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            shutil.chown(self.folder, user.pw_uid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        secret = self.folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        secret.chmod(0o644)
        data = str(self.folder / "data")
        self._run("initdb", "-D", data, "-U", "office", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8",
                  "--locale=C", "--no-sync")  # fmt: skip
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder,
                    "fsync": "off", "timezone": "Asia/Shanghai"}  # fmt: skip
        told = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._run("pg_ctl", "-D", data, "-w", "-l", str(self.folder / "data" / "log"), "-o", told, "start")

    def url(self, name: str = "postgres", user: str = "office", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@{self.label(name)}"

    def label(self, name: str = "postgres") -> str:
        return f"127.0.0.1:{self.port}/{name}"

    def run(self, name: str, *statements: str) -> list[tuple]:
        """Run statements in a database; gives the rows of the last one."""
        import adbc_driver_postgresql.dbapi as driver

        with driver.connect(self.url(name), autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def load(self, name: str, tables: dict[str, Any]) -> None:
        """Create tables from Arrow tables."""
        import adbc_driver_postgresql.dbapi as driver

        with driver.connect(self.url(name), autocommit=True) as connection, connection.cursor() as cursor:
            for table, rows in tables.items():
                cursor.adbc_ingest(table, rows)

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        command: Sequence[str] = [str(self.bin / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self.as_user)
