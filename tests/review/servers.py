"""A PostgreSQL server of the test's own, on a socket in a folder, gone with the test."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest


def _programs() -> Path | None:
    found = shutil.which("pg_ctl")
    places = [Path(found).parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").is_file() and (place / "pg_ctl").is_file()), None)


@contextmanager
def postgres() -> Iterator[str]:
    """URL of an empty database; the test is skipped where PostgreSQL is not installed."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not installed: decisions were not tried on it")
    user: dict[str, object] = {}
    folder = Path(tempfile.mkdtemp(prefix="decisions-"))
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            someone = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        user = {"user": someone.pw_uid, "group": someone.pw_gid, "extra_groups": []}
        os.chown(folder, someone.pw_uid, someone.pw_gid)

    def run(name: str, *arguments: str) -> None:
        done = subprocess.run(
            [programs / name, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60, **user
        )
        assert done.returncode == 0, done.stderr.decode()

    data = folder / "data"
    try:
        run("initdb", "-D", str(data), "-U", "office", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        run("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://office@/postgres?host={quote(str(folder), safe='')}"
        finally:
            run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
