"""What the service does not do for a request: a status of HTTP, and one line."""

from enum import StrEnum

from y12.text import MESSAGE, visible

__all__ = ["Reason", "Refusal", "bad", "busy", "failed", "too_large"]


class Reason(StrEnum):
    """Why a request was refused; a label of the metrics, so that there are few."""

    BAD_REQUEST = "bad_request"
    BAD_IMAGE = "bad_image"
    TOO_LARGE = "too_large"
    ENCODING = "encoding"
    SLOW = "slow"
    QUEUE = "queue"
    MEMORY = "memory"
    NETWORK = "network"
    STOPPING = "stopping"
    UNEXPECTED = "unexpected"


class Refusal(Exception):
    """A request that is refused.

    Args:
        status: of HTTP.
        reason: for the metrics.
        message: for the client; shown as one printable line of bounded length.
        retry_after_s: when to ask again, where that may help.
        is_unread: the body was not read to its end: the connection is closed behind the answer.
    """

    def __init__(
        self,
        status: int,
        reason: Reason,
        message: str,
        *,
        retry_after_s: int | None = None,
        is_unread: bool = False,
    ) -> None:
        super().__init__(visible(message, MESSAGE))
        self.status, self.reason = status, reason
        self.retry_after_s, self.is_unread = retry_after_s, is_unread


def bad(message: str, reason: Reason = Reason.BAD_REQUEST) -> Refusal:
    """Return the refusal of a request that is wrong in itself."""
    return Refusal(400, reason, message)


def too_large(limit: int) -> Refusal:
    """Return the refusal of a body that is larger than it may be; the rest of it is not read."""
    message = f"expected a body of at most {limit} bytes, found more: send a smaller image, or see --max-upload"
    return Refusal(413, Reason.TOO_LARGE, message, is_unread=True)


def busy(reason: Reason, message: str, retry_after_s: int = 1) -> Refusal:
    """Return the refusal of a request that may be taken later."""
    return Refusal(503, reason, message, retry_after_s=retry_after_s)


def failed(message: str) -> Refusal:
    """Return the refusal of what the network failed on, though it runs."""
    return Refusal(500, Reason.NETWORK, message)
