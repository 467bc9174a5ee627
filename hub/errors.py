"""Errors named by what happens next. A connector raises these; the hub decides when and whether to try again."""

from __future__ import annotations


class HubError(Exception):
    """Anything the hub can explain. ``str()`` of it is a sentence for a person: what happened, what to do next."""


class ConnectorError(HubError):
    """Something went wrong between a connector and its vendor."""


class AuthError(ConnectorError):
    """The vendor refused the credentials: the connection is paused and the merchant asked to reconnect."""


class RateLimited(ConnectorError):
    """The vendor asks us to slow down. Nothing was done; ``retry_after`` is in seconds, None if it did not say.

    With ``operation`` only that one is meant, which has a rate budget of its own: everything else goes on.
    """

    def __init__(self, message: str, retry_after: float | None = None, operation: str = "") -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.operation = operation


class Unavailable(ConnectorError):
    """The vendor could not be reached, or gave an answer that tells nothing: tried again later.

    ``sent`` is False only when it is certain that the request never reached the vendor (no connection). Where it is
    True the outcome is unclear, and an effect is settled by its settlement class before it is sent again.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class Rejected(ConnectorError):
    """The vendor understood the request and refused it: trying the same again is useless, so an Issue is raised.

    ``code`` is the vendor's own code where it has one.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class NotFound(Rejected):
    """The vendor says that the thing does not exist (any more)."""


class Unverified(ConnectorError):
    """A webhook whose signature, sender or shop does not fit the connection: answered 401, nothing stored."""


class Unreadable(ConnectorError):
    """A record that cannot be read into the model: it is quarantined alone, its bytes kept."""


class BadInput(HubError):
    """Input of a person or a client that cannot be accepted. ``fields`` maps a field's name to its messages."""

    def __init__(self, message: str, fields: dict[str, list[str]] | None = None) -> None:
        super().__init__(message)
        self.fields = fields or {}


class Conflict(HubError):
    """The thing has changed meanwhile, or exists already: look at it again, then decide."""
