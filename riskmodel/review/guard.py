"""Who may speak to the review app: known host names, posts from its own pages, and reviewers with a name."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from riskmodel.review.decisions import reviewer_name

COOKIE = "riskmodel_session"
LARGEST_POST = 64 * 1024
_MOST_SESSIONS = 10_000
_HOURS = 12
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""Sent with every answer. No page has a script, and none would run.

`same-origin` keeps the Origin of a post, which `no-referrer` would turn to null."""


@dataclass
class Guard:
    """What the app asks of a request before it answers.

    Attributes
    ----------
    hosts
        Host names that the app answers to, lower case, without port.
    user_header
        Header in which a reverse proxy names the reviewer; without it reviewers enter a name, which nobody checks.
    proxies
        Addresses from which that header is believed.
    """

    hosts: frozenset[str]
    user_header: str | None = None
    proxies: frozenset[str] = frozenset({"127.0.0.1", "::1"})
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _names: OrderedDict[str, tuple[str, float]] = field(default_factory=OrderedDict, repr=False)

    def refusal(self, request: Request) -> tuple[int, str, str] | None:
        """Why a request is turned away: status and a sentence in both languages; None where it is not."""
        if _host_name(request.headers.get("host", "")) not in self.hosts:
            return 421, "This host name is not served here: see --allow-host.", "不受理该主机名，请见 --allow-host。"
        if request.method not in ("GET", "HEAD", "POST"):
            return 405, "Only reading and posting is possible.", "仅支持读取和提交。"
        if request.method == "POST":
            if not _same_site(request):
                return 403, "This post came from another site and was refused.", "请求来自其他网站，已拒绝。"
            length = request.headers.get("content-length", "")
            if not length.isdigit():
                return 411, "The length of the form is missing.", "缺少表单长度。"
            if int(length) > LARGEST_POST:
                return 413, "The form is too long.", "表单内容过长。"
        if self.user_header and not self.reviewer(request):
            return 403, "No reviewer was named by the proxy: sign in there.", "代理服务器未提供审核人身份，请先登录。"
        return None

    def reviewer(self, request: Request) -> str:
        """The reviewer who sent a request; empty where nobody signed in."""
        if not self.user_header:
            name, since = self._names.get(_token(request), ("", 0.0))
            return name if time.monotonic() - since < _HOURS * 3600 else ""
        given = request.headers.getlist(self.user_header)
        if len(given) != 1 or _client(request) not in self.proxies:
            return ""
        try:  # headers are read as Latin-1; names are sent as UTF-8
            return reviewer_name(given[0].encode("latin-1").decode("utf-8"))
        except UnicodeError:
            return reviewer_name(given[0])

    def session(self, request: Request) -> str:
        """The request's session; a new one where it has none."""
        return _token(request) or secrets.token_urlsafe(32)

    def keep(self, request: Request, response: Response, session: str) -> None:
        """Have the browser keep a session; the cookie goes with no request from another site."""
        forwarded = request.headers.get("x-forwarded-proto") if _client(request) in self.proxies else None
        secure = (forwarded or request.url.scheme) == "https"
        if session != _token(request):
            response.set_cookie(
                COOKIE, session, max_age=_HOURS * 3600, path="/", httponly=True, samesite="strict", secure=secure
            )

    def csrf(self, session: str) -> str:
        """What a form of this session must carry."""
        return hmac.new(self._secret, session.encode("ascii", "ignore"), hashlib.sha256).hexdigest()

    def is_ours(self, request: Request, given: str) -> bool:
        """Whether a posted form was made for the session that posts it."""
        return bool(_token(request)) and hmac.compare_digest(self.csrf(_token(request)).encode(), given.encode())

    def sign_in(self, request: Request, response: Response, name: str) -> None:
        """Give a reviewer a new session."""
        self._names.pop(_token(request), None)
        session = secrets.token_urlsafe(32)
        self._names[session] = reviewer_name(name), time.monotonic()
        self.keep(request, response, session)
        while len(self._names) > _MOST_SESSIONS:
            self._names.popitem(last=False)

    def sign_out(self, request: Request, response: Response) -> None:
        """End a reviewer's session."""
        self._names.pop(_token(request), None)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _same_site(request: Request) -> bool:
    """Whether a post comes from a page of this app: browsers say so in one of two headers that pages cannot set."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return site == "same-origin"
    return site == "same-origin" or urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()


def _host_name(given: str) -> str:
    """A Host header without its port.

    >>> _host_name("LocalHost:8000"), _host_name("[::1]:8000")
    ('localhost', '::1')
    """
    given = given.strip().lower()
    return given[1:].split("]")[0] if given.startswith("[") else given.rsplit(":", 1)[0]


def _token(request: Request) -> str:
    return request.cookies.get(COOKIE, "")


def _client(request: Request) -> str:
    return request.client.host if request.client else ""
