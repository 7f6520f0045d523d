"""A file over HTTP: one request, its redirects, and the rest of what was broken off (RFC 9110, 13.1.5 and 14).

The standard library's client does the talking. Redirects are followed here, as each of them is checked; what comes
is never inflated, and nothing that is said of it is trusted but its length, to which the bytes are held.
"""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from ipaddress import ip_address
from string import ascii_letters, digits, punctuation
from time import monotonic
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from y12.errors import AddressError
from y12.remote.options import FetchOptions
from y12.remote.reply import CHUNK, BrokenOffError, Have, Origin, Reply, StaleError, Validator
from y12.text import one_line, shown, visible

__all__ = ["check_private_way", "http_origin"]

MAX_REDIRECTS = 5
_REDIRECTS, _TRY_AGAIN = (301, 302, 303, 307, 308), (429, 502, 503, 504)
_LEAST_RATE = 1024  # bytes a second, over `timeout_s`: what gives less is as good as silent
_WRITTEN = ascii_letters + digits + punctuation  # what may stand in an address as it is
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")
_LENGTH = re.compile(r"\d{1,15}")
_BROKEN = (OSError, http.client.HTTPException)


def http_origin(where: str, url: str, options: FetchOptions, headers: Mapping[str, str] | None = None) -> Origin:
    """Return what asks for a file by its URL.

    Args:
        where: the address, for messages.
        url: of the file.
        options: how it is fetched.
        headers: sent to that host too, and to no other.
    """

    @contextmanager
    def asked(have: Have) -> Iterator[Reply | None]:
        try:
            response = _response(where, url, options, {**_headers(have), **(headers or {})}, headers or {})
        except urllib.error.URLError as error:
            raise BrokenOffError(one_line(str(error.reason), 200)) from error
        except (*_BROKEN, ValueError) as error:  # a host that no name can have
            raise BrokenOffError(_in_words(error)) from error
        with response:
            yield _reply(where, response, have, options.timeout_s)

    return asked


def check_private_way(where: str, url: str, *, plain_http: bool) -> None:
    """Refuse plain HTTP to another machine, unless it is asked for.

    Raises:
        AddressError: it is.
    """
    if urlsplit(url).scheme == "http" and not plain_http and not _is_here(url):
        raise AddressError(
            f"{where}: expected https:// beyond this machine, found http:// to {urlsplit(url).hostname}: whoever is on "
            "the way could change the model; --plain-http allows it"
        )


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _headers(have: Have) -> dict[str, str]:
    """Return what asks for the file, for its rest, or whether it is still the one that is kept."""
    headers = {"User-Agent": f"y12/{metadata.version('y12')}", "Accept": "*/*", "Accept-Encoding": "identity"}
    if have.may_resume:
        headers["Range"] = f"bytes={have.start}-"
        etag, modified = have.part.etag, have.part.modified
        if same := etag if etag and not etag.startswith("W/") else modified:
            headers["If-Range"] = same
    elif have.kept.etag:
        headers["If-None-Match"] = have.kept.etag
    elif have.kept.modified:
        headers["If-Modified-Since"] = have.kept.modified
    return headers


def _response(
    where: str, url: str, options: FetchOptions, headers: Mapping[str, str], secret: Mapping[str, str]
) -> http.client.HTTPResponse:
    """Ask, and follow redirects, each of which is checked as the address was."""
    for _ in range(MAX_REDIRECTS + 1):
        check_private_way(where, url, plain_http=options.plain_http)
        request = urllib.request.Request(quote(url, safe=_WRITTEN), headers=dict(headers))
        response: http.client.HTTPResponse = _opener(url).open(request, timeout=options.timeout_s)
        if response.status not in _REDIRECTS:
            return response
        response.close()
        target = _target(where, url, response.headers.get("Location", "").strip())
        if _host_of(target) != _host_of(url):
            headers = {name: value for name, value in headers.items() if name not in secret}
        url = target
    raise AddressError(f"{where}: expected a file, found more than {MAX_REDIRECTS} redirects in a row")


def _target(where: str, url: str, location: str) -> str:
    """Return what a redirect leads to, by the scheme that the address has."""
    scheme = urlsplit(url).scheme
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        found, _, _ = parts.scheme, parts.hostname, parts.port
    except ValueError:
        target, found = location, ""
    if found != scheme:
        raise AddressError(
            f"{where}: expected {scheme}:// all the way, found a redirect to {shown(target)}: it is not followed"
        )
    return target


def _host_of(url: str) -> tuple[str | None, int | None]:
    return urlsplit(url).hostname, urlsplit(url).port


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Return what speaks HTTP and nothing else; this machine is not asked through a proxy."""
    opener = urllib.request.OpenerDirector()
    handlers: list[Any] = [urllib.request.HTTPHandler(), urllib.request.HTTPSHandler()]
    for handler in handlers if _is_here(url) else [urllib.request.ProxyHandler(), *handlers]:
        opener.add_handler(handler)
    return opener


def _reply(where: str, response: http.client.HTTPResponse, have: Have, timeout_s: float) -> Reply | None:
    status, headers = response.status, response.headers
    if status == 304 and have.kept and not have.may_resume:
        return None
    if status in _TRY_AGAIN:
        raise BrokenOffError(f"the server says {status} {visible(response.reason, 60)}")
    if status == 416 and have.may_resume:
        raise StaleError("the server has no such rest of it")
    if status not in (200, 206):
        raise AddressError(
            f"{where}: expected a file, found that the server says {status} {visible(response.reason, 60)}"
        )
    if (encoding := headers.get("Content-Encoding", "identity").strip().lower()) not in ("identity", ""):
        raise AddressError(
            f"{where}: expected the file's own bytes, found them packed by the server ({shown(encoding)}), though that "
            "was not asked for: download it by other means and give its path"
        )
    validator = Validator(_mark(headers.get("ETag")), _mark(headers.get("Last-Modified")))
    start, total = 0, _length(headers)
    if status == 206:
        start, total = _range(where, headers.get("Content-Range", ""), have)
    return Reply(start, total, validator, _chunks(response, timeout_s))


def _length(headers: http.client.HTTPMessage) -> int | None:
    """Return how long what comes is; None where that is not said, or not by one number."""
    text = headers.get("Content-Length", "")
    return int(text) if _LENGTH.fullmatch(text) and "Transfer-Encoding" not in headers else None


def _range(where: str, text: str, have: Have) -> tuple[int, int]:
    """Return where what comes begins, and how long all of it is."""
    found = _RANGE.fullmatch(text.strip())
    numbers = (-1, -1, -1) if found is None else tuple(map(int, found.groups()))
    if not have.may_resume or numbers[0] != have.start or numbers[1] + 1 != numbers[2]:
        raise AddressError(
            f"{where}: expected the file{f' from byte {have.start} on' if have.may_resume else ''}, found another part "
            f"of it ({shown(text)})"
        )
    return numbers[0], numbers[2]


def _mark(text: str | None) -> str:
    """Return a validator that can be sent back as it is."""
    return text if text and len(text) <= 256 and text.isascii() and text.isprintable() else ""


def _chunks(response: http.client.HTTPResponse, timeout_s: float) -> Iterator[bytes]:
    """Yield what comes as it comes; a server that gives next to nothing is not waited for without end."""
    began, taken = monotonic(), 0
    try:
        while chunk := response.read1(CHUNK):
            yield chunk
            taken += len(chunk)
            if (passed := monotonic() - began) >= timeout_s:
                if taken < _LEAST_RATE * timeout_s:
                    raise BrokenOffError(f"{taken} bytes in {passed:.0f} s")
                began, taken = monotonic(), 0
    except _BROKEN as error:
        raise BrokenOffError(_in_words(error)) from error


def _in_words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the server is silent"
    return one_line(f"{type(error).__name__} {error}", 200)
