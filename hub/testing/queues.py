"""A queue server for tests and simulators: moto's own, in a process of its own, spoken to like Amazon SQS."""

from __future__ import annotations

import atexit
import functools
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from hub.connector import QueueAddress

__all__ = ["QueueServer", "queue_server"]

# Ends with whoever started it: nobody holds the other end of its standard input any more.
_PROGRAM = """
import os, sys, threading, warnings
warnings.simplefilter("ignore")
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sqs.models import SQSBackend
from werkzeug.serving import make_server
receive = SQSBackend.receive_message
# Who looks into an empty queue is told so at once: what a test awaits is there already.
SQSBackend.receive_message = lambda self, name, count, wait, *more, **named: receive(
    self, name, count, 0, *more, **named
)
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.port, flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server.serve_forever()
"""
_REGION = "us-east-1"
_ORIGIN = f"https://sqs.{_REGION}.amazonaws.com"
_ACCOUNT = "123456789012"  # moto's


class QueueServer:
    """Queues on 127.0.0.1, served until ``close``. Takes a second to start.

    Needs moto, flask-cors and boto3. Queues have addresses as Amazon gives them; ``routes`` lead those to the server.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None  # asked for above, told to mypy
        port = self._process.stdout.readline().strip()
        if not port:
            self.close()
            raise RuntimeError("The queue server did not start: are moto, flask-cors and boto3 installed?")
        self.address = f"http://127.0.0.1:{port}"
        self._lock = threading.Lock()
        self._boto = _client(self.address)

    def close(self) -> None:
        """End the server; whatever was in its queues is gone."""
        self._process.kill()
        self._process.wait()
        for end in (self._process.stdin, self._process.stdout):
            if end is not None:
                end.close()

    def routes(self) -> dict[str, str]:
        """What leads the addresses of the queues here: for ``TALLYHUB_ROUTES`` and ``Settings.routes``."""
        return {_ORIGIN: self.address}

    def create(self, name: str) -> QueueAddress:
        """A new queue, or the one of this name."""
        self._boto.create_queue(QueueName=name)
        return QueueAddress(f"{_ORIGIN}/{_ACCOUNT}/{name}", _REGION, "queue-reader", "long-and-secret")

    def arn(self, name: str) -> str:
        """The queue's Amazon Resource Name, as a destination of notifications names it."""
        return f"arn:aws:sqs:{_REGION}:{_ACCOUNT}:{name}"

    def send(self, name: str, *bodies: str) -> None:
        """Put messages into a queue, in this order."""
        with self._lock:
            for first in range(0, len(bodies), 10):
                some = bodies[first : first + 10]
                entries = [{"Id": str(place), "MessageBody": body} for place, body in enumerate(some)]
                self._boto.send_message_batch(QueueUrl=self._url(name), Entries=entries)

    def left(self, name: str) -> int:
        """How many messages are in a queue, hidden ones among them."""
        counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        told = self._boto.get_queue_attributes(QueueUrl=self._url(name), AttributeNames=list(counts))["Attributes"]
        return sum(int(told[each]) for each in counts)

    def give_back(self, name: str, receipts: Sequence[str]) -> None:
        """Let messages that were received be received again at once."""
        for receipt in receipts:
            self._boto.change_message_visibility(QueueUrl=self._url(name), ReceiptHandle=receipt, VisibilityTimeout=0)

    def _url(self, name: str) -> str:
        return f"{self.address}/{_ACCOUNT}/{name}"


def _client(address: str) -> Any:
    import boto3

    session = boto3.session.Session("queue-reader", "long-and-secret", region_name=_REGION)
    return session.client("sqs", endpoint_url=address)


@functools.cache
def queue_server() -> QueueServer:
    """The queue server of this process, started by the first who asks and ended with the process."""
    server = QueueServer()
    atexit.register(server.close)
    return server
