"""Messages in a queue of Amazon SQS: receiving them and deleting them, at one queue and nowhere else.

boto3 signs the requests and reads the answers; they go out through ``hub.http.Client``, so that the same guard stands
before every address and the same log behind it.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hub.connector import QueueAddress
from hub.errors import AuthError, ConnectorError, HubError, NotFound, RateLimited, Rejected, Unavailable
from hub.http import Client, Exchange

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse

__all__ = ["MOST_AT_ONCE", "Message", "Queue"]

MOST_AT_ONCE = 10  # what a queue gives in one answer, and takes back in one request
HIDDEN_SECONDS = 60  # a message that was received, but not deleted, comes again after so long
_SENT_BY_BOTO = ("user-agent", "amz-sdk-invocation-id", "amz-sdk-request")  # of no use to a queue
# What a queue may answer, all of which boto3 reads: a redirect or an error page among it.
_ANY_STATUS = range(100, 600)
_TOO_FAST = {"RequestThrottled", "ThrottlingException", "Throttling", "TooManyRequestsException", "OverLimit"}
_REFUSED = {
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "InvalidSecurity",
    "InvalidAccessKeyId",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "OptInRequired",
    "RequestExpired",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the queue gave it out.

    ``receipt`` is what it is deleted with, good for this delivery. ``deliveries`` counts how often it was given out,
    this time among them.
    """

    id: str
    body: bytes = field(repr=False)
    receipt: str = field(repr=False)
    deliveries: int
    sent_at: datetime | None


class Queue:
    """The queue of one connection.

    ``routes`` and ``private_networks`` as with ``hub.Client``; a route leads the origin of the queue's address
    elsewhere (a simulator). Raises the errors of ``hub.errors``; never tries again.
    """

    def __init__(
        self,
        address: QueueAddress,
        *,
        routes: Mapping[str, str] | None = None,
        private_networks: Sequence[str] = (),
        on_exchange: Callable[[Exchange], None] | None = None,
        timeout: tuple[float, float] = (5.0, 20.0),
    ) -> None:
        parts = urlsplit(address.url)
        self._url = address.url
        self._host = parts.hostname or "The queue"
        origin = f"{parts.scheme}://{parts.netloc}"
        self._client = Client(
            hosts=[origin],
            routes=routes,
            private_networks=private_networks,
            on_exchange=on_exchange,
            timeout=timeout,
        )
        self._client.redact(address.secret)
        self._sqs = _signer(address, origin)
        self._sqs.meta.events.register("before-send.sqs", self._send)

    def close(self) -> None:
        """Close the connection to the queue."""
        self._client.close()

    def receive(self, *, wait_seconds: int = 0) -> list[Message]:
        """Up to ``MOST_AT_ONCE`` messages, in whatever order; none where none came within ``wait_seconds``.

        They stay in the queue, hidden for ``HIDDEN_SECONDS``, until they are deleted.
        """
        answer = self._call(
            self._sqs.receive_message,
            MaxNumberOfMessages=MOST_AT_ONCE,
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=HIDDEN_SECONDS,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
        )
        try:
            return [_message(each) for each in answer.get("Messages", [])]
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise self._senseless() from error

    def delete(self, messages: Sequence[Message]) -> None:
        """Delete at most ``MOST_AT_ONCE`` messages. One that the queue keeps all the same comes again."""
        self._call(
            self._sqs.delete_message_batch,
            Entries=[{"Id": str(place), "ReceiptHandle": each.receipt} for place, each in enumerate(messages)],
        )

    # --- one request

    def _call(self, method: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
        import botocore.exceptions

        try:
            return method(QueueUrl=self._url, **arguments)
        except HubError:
            raise
        except botocore.exceptions.ClientError as error:
            raise self._refusal(error.response) from error
        except Exception as error:  # boto3's own, and whatever it stumbles over in an answer that is none
            raise self._senseless() from error

    def _senseless(self) -> Unavailable:
        return Unavailable(f"{self._host} gave an answer that makes no sense. It will be asked again.")

    def _send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """What boto3 asks instead of sending by itself."""
        from botocore.awsrequest import AWSResponse

        headers = {
            name: value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
            if name.lower() not in _SENT_BY_BOTO
        }
        answer = self._client.request(
            request.method, request.url, data=request.body, headers=headers, expect=_ANY_STATUS
        )
        if answer.status < 300:
            answer.object()  # to boto3 the page of a proxy is a queue without messages
        return AWSResponse(request.url, answer.status, dict(answer.headers), _Body(answer.body))

    def _refusal(self, answer: Mapping[str, Any]) -> ConnectorError:
        said = answer.get("Error", {})
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        # Both spellings occur: "AWS.SimpleQueueService.NonExistentQueue", "com.amazonaws.sqs#QueueDoesNotExist".
        code = str(said.get("Code", "")).rpartition("#")[2].rpartition(".")[2]
        words = f"{status}: {code} {said.get('Message', '')}".strip()[:300]
        if code in ("NonExistentQueue", "QueueDoesNotExist"):
            return NotFound(f"There is no such queue at {self._host}. Correct its address, and reconnect.", code=code)
        if code in _TOO_FAST or status == 429:
            return RateLimited(f"{self._host} asks to slow down ({words}).")
        if code in _REFUSED or code.startswith("AccessDenied") or status in (401, 403):
            return AuthError(
                f"{self._host} does not let this key read the queue ({words}). Correct the key or what it may do, "
                "and reconnect."
            )
        if status >= 500 or status < 400:
            return Unavailable(f"{self._host} failed ({words}). It will be tried again.")
        return Rejected(f"{self._host} refused the request ({words}).", code=code)


class _Body(io.BytesIO):
    """A body as boto3 reads it."""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.read()


def _signer(address: QueueAddress, origin: str) -> Any:
    """A boto3 client that knows this queue's key and nothing else: no profile, file or variable of the machine."""
    try:
        import boto3.session
        import botocore.config
        import botocore.session
    except ImportError as error:
        raise Rejected("This hub cannot read queues: boto3 is not installed. Install tallyhub[sqs].") from error
    of_nobody = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    of_nobody.register_component("data_loader", _descriptions())
    return boto3.session.Session(
        address.key_id, address.secret, region_name=address.region, botocore_session=of_nobody
    ).client(
        "sqs", endpoint_url=origin, config=botocore.config.Config(retries={"total_max_attempts": 1, "mode": "standard"})
    )


@functools.cache
def _descriptions() -> Any:
    """What botocore knows of services, read from its files once: a queue is opened every few seconds."""
    import botocore.loaders

    return botocore.loaders.create_loader()


def _message(given: Mapping[str, Any]) -> Message:
    told = given.get("Attributes", {})
    sent = told.get("SentTimestamp")
    return Message(
        id=given.get("MessageId", ""),
        body=given.get("Body", "").encode("utf-8", "surrogatepass"),
        receipt=given["ReceiptHandle"],
        deliveries=int(told.get("ApproximateReceiveCount", 1)),
        sent_at=None if sent is None else datetime.fromtimestamp(int(sent) / 1000, UTC),
    )
