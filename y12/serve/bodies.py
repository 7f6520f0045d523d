"""A request's body, read as far as it may go: in bytes, in time, and inflated.

All requests together hold so many bytes and no more; what has no room is refused rather than held.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from y12.serve.refusals import Reason, Refusal, bad, busy, too_large

__all__ = ["Bodies", "ClosingResponse", "was_read"]

_EITHER = 32 + zlib.MAX_WBITS  # gzip's header, or zlib's, which HTTP calls deflate
_INFLATED_AT_ONCE = 1 << 20  # between two looks at other requests
_DRAINED_S = 2.0


class Bodies:
    """Reads bodies within limits.

    Args:
        max_bytes: of one body, as it comes and as it is inflated.
        max_buffered: of all that are held.
        timeout_s: how long one may take to come.
    """

    def __init__(self, max_bytes: int, max_buffered: int, timeout_s: float) -> None:
        self._max_bytes, self._max_buffered, self._timeout_s = max_bytes, max_buffered, timeout_s
        self._buffered = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """Read a body and hold it as long as the block lasts.

        Raises:
            Refusal: it is too large, too slow, of an unknown encoding or damaged, or there is no room for it.
            ClientDisconnect: the client left.
        """
        body = bytearray()
        try:
            await self._fill(body, request)
            request.state.was_read = True
            yield body
        finally:
            self._buffered -= len(body)

    async def _fill(self, body: bytearray, request: Request) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                async for piece in self._pieces(request):
                    body += piece
                    self._buffered += len(piece)
                    self._check(len(body))
        except TimeoutError:
            late = f"expected the whole request within {self._timeout_s:g} s, found one that takes longer"
            raise Refusal(408, Reason.SLOW, late, is_unread=True) from None

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise too_large(self._max_bytes)
        if self._buffered > self._max_buffered:
            refusal = busy(Reason.MEMORY, f"expected room for the body within {self._max_buffered} bytes, found none")
            refusal.is_unread = True
            raise refusal

    def _pieces(self, request: Request) -> AsyncIterator[bytes]:
        """Return the body's pieces as they come, inflated where they are deflated."""
        said = request.headers.get("content-length", "")
        if said.isdecimal() and (len(said) > 15 or int(said) > self._max_bytes):
            raise too_large(self._max_bytes)
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding == "identity":
            return request.stream()
        if encoding in ("gzip", "x-gzip", "deflate"):
            return self._inflated(request)
        raise Refusal(
            415, Reason.ENCODING, f"Content-Encoding: expected gzip, deflate or none, found {encoding}", is_unread=True
        )

    async def _inflated(self, request: Request) -> AsyncIterator[bytes]:
        """Yield a deflated body's pieces, each of bounded size, whatever a byte of it stands for."""
        inflater = zlib.decompressobj(_EITHER)
        received = 0
        async for piece in request.stream():
            received += len(piece)
            if received > self._max_bytes:
                raise too_large(self._max_bytes)
            rest = piece
            while rest:
                try:
                    inflated = inflater.decompress(rest, _INFLATED_AT_ONCE)
                except zlib.error as error:
                    raise bad(
                        f"expected a body of gzip or deflate, as its header says, found another ({error})"
                    ) from None
                if inflater.unused_data:
                    raise bad("expected a body that ends with its compressed data, found more behind it")
                yield inflated
                rest = inflater.unconsumed_tail
                if rest:
                    await asyncio.sleep(0)
        while not inflater.eof and (inflated := inflater.decompress(inflater.unconsumed_tail, _INFLATED_AT_ONCE)):
            yield inflated
        if not inflater.eof:
            raise bad("expected compressed data to the end, found data that was cut short")


def was_read(request: Request) -> bool:
    """Return whether a request's body was read to its end."""
    return getattr(request.state, "was_read", False)


class ClosingResponse(JSONResponse):
    """An answer to a request that is not read to its end; the connection is closed behind it.

    For a while what still comes is thrown away, as a client that is cut off while it sends may not read the answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        headers = [*self.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        try:
            async with asyncio.timeout(_DRAINED_S):
                while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                    pass
        except (TimeoutError, ClientDisconnect):
            pass
        await send({"type": "http.response.body", "body": b""})
