"""Starting the review app on an address of this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from pathlib import Path

from riskmodel.alerts.history import ScoredMonth
from riskmodel.errors import UsageError
from riskmodel.review.decisions import Decisions

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    folder: Path,
    decisions_at: str,
    say: Callable[[str], None],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    user_header: str | None = None,
    proxies: Collection[str] = (),
    hosts: Collection[str] = (),
    blind_half: bool = False,
) -> None:
    """Serve the alerts of a month for review until the process is stopped.

    Parameters
    ----------
    folder
        From `riskmodel score`.
    decisions_at
        File or URL of the decisions; a file is made where there is none, once all else is there.
    say
        Takes the address and the warnings.
    host, port
        Address to listen on; port 0 takes a free one.
    user_header, proxies
        Header in which a reverse proxy names the reviewer, and the addresses from which it is believed; loopback by
        default.
    hosts
        Further host names under which the app is reached.
    blind_half
        Whether the proposed verdict of half of the alerts is hidden until somebody has judged the cause.

    Raises
    ------
    UsageError
        If the extra `review` is not installed, or the address cannot be listened on.
    """
    try:
        import python_multipart  # noqa: F401 -- FastAPI reads forms with it
        import uvicorn

        from riskmodel.review.app import create_app
        from riskmodel.review.guard import Guard, is_loopback
        from riskmodel.review.worklist import Worklist
    except ModuleNotFoundError as fault:
        raise UsageError(f"{fault.name} is missing: pip install 'household-riskmodel[review]'.") from None
    ScoredMonth.open(folder)
    worklist = Worklist(folder, Decisions.open(decisions_at), blind_half)
    known = {*LOOPBACK, *(name.lower() for name in hosts)} | ({host.lower()} if host not in ("0.0.0.0", "::") else set())
    guard = Guard(frozenset(known), user_header, frozenset(proxies or {"127.0.0.1", "::1"}))
    if not is_loopback(host):
        say(f"warning: {host} can be reached by other machines. Nothing is encrypted here: put a proxy with TLS before it.")
        if not user_header:
            say("warning: reviewers enter their names, and nobody checks them: see --user-header.")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as fault:
        raise UsageError(f"--host {host} --port {port}: cannot be listened on ({fault.strerror}). Choose another.") from None
    shown = f"[{host}]" if ":" in host else host
    say(f"{len(worklist):,} alerts of {worklist.manifest['about']['as_of']}: http://{shown}:{listening.getsockname()[1]}/")
    config = uvicorn.Config(
        create_app(worklist, guard), access_log=False, log_level="warning", proxy_headers=False, server_header=False
    )
    uvicorn.Server(config).run(sockets=[listening])
