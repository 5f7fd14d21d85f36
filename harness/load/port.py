"""Locust's own master and worker runners on zmq, made fit for a port that strangers can reach.

Locust trusts what arrives: a message of a wrong form ends its listener. Here, what is no proper message is dropped,
messages have a limit of size, strangers may say hello and nothing else, and nobody's silence makes memory grow.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import gevent
import msgpack  # type: ignore[import-untyped]
import zmq
from locust.env import Environment
from locust.rpc import Message, rpc
from locust.runners import MasterRunner, WorkerRunner

from harness.errors import UsageError

MESSAGE_BYTES = 8 << 20
_QUEUED = 200  # messages for one peer; what is beyond is dropped
_STRANGERS = 256
_FROM_STRANGERS = {"client_ready", "heartbeat"}
_FROM_WORKERS = {"client_ready", "heartbeat", "stats", "quit"}
_TO_WORKERS = {"ack", "heartbeat"}

Fields = dict[str, Any]
Hear = Callable[[str, Fields, int], None]

_log = logging.getLogger(__name__)


class Port(rpc.Server):  # type: ignore[misc]
    """The master's socket: gives only messages of Locust's form, and never waits to send one."""

    def __init__(self, host: str, port: int) -> None:
        rpc.BaseSocket.__init__(self, zmq.ROUTER, ":" not in host)
        self.dropped = 0
        self.socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES)
        self.socket.setsockopt(zmq.SNDHWM, _QUEUED)
        self.socket.setsockopt(zmq.LINGER, 1000)
        name = f"[{host}]" if ":" in host else host
        try:
            self.socket.bind(f"tcp://{name}:{port or '*'}")
        except zmq.ZMQError as error:
            self.socket.close(linger=0)
            raise UsageError(
                f"the master cannot listen on {name}:{port}: {zmq.strerror(error.errno or 0).lower()}",
                "choose another address with --bind HOST:PORT; port 0 takes a free one",
            ) from None
        self.port = int(self.socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])

    def recv_from_client(self) -> tuple[str, Any]:
        while True:
            gevent.sleep(0)  # a flood must leave room for the others
            message = _parsed(self.socket.recv_multipart())
            if message is not None:
                return message.node_id, message
            self.dropped += 1

    def send_to_client(self, msg: Any) -> None:
        try:
            self.socket.send_multipart([msg.node_id.encode(), msg.serialize()], zmq.NOBLOCK)
        except zmq.ZMQError:  # its queue is full, or it is gone: its silence will tell
            self.dropped += 1


def _parsed(frames: list[bytes]) -> Any:
    """Locust's message, or None for anything else."""
    if len(frames) != 2:
        return None
    try:
        address = frames[0].decode()
        kind, fields, node_id = msgpack.loads(frames[1], raw=False, strict_map_key=False)
    except Exception:  # msgpack raises whatever the bytes make it raise
        return None
    return Message(kind, fields, address) if isinstance(kind, str) and node_id == address else None


class Master(MasterRunner):  # type: ignore[misc]
    """Locust's master. `listeners` by message kind get (worker id, fields); `admitted` are the ids of our workers."""

    def __init__(self, environment: Environment, host: str, port: int) -> None:
        """Raises UsageError when the address cannot be listened on."""
        super().__init__(environment, "127.0.0.1", 0)
        self.server.close(linger=0)
        self.server: Port = Port(host, port)
        self.admitted: set[str] = set()
        self.strangers: set[str] = set()
        self.heard_at: dict[str, float] = {}
        environment.runner = self

    def listen(self, kind: str, listener: Callable[[str, Fields], None], strangers: bool = False) -> None:
        """Have `listener` called for messages of a kind; those of strangers only if told so."""

        def heard(environment: Environment, msg: Any) -> None:
            del environment
            if (strangers or msg.node_id in self.admitted) and isinstance(msg.data, dict):
                listener(msg.node_id, msg.data)

        self.register_message(kind, heard)

    def handle_message(self, client_id: str, msg: Any) -> None:
        """Locust's, for what is in order."""
        if not self._may_speak(client_id, msg.type):
            return
        if client_id in self.admitted:
            self.heard_at[client_id] = time.monotonic()
        try:
            super().handle_message(client_id, msg)
        except Exception as error:
            _log.warning("dropped a %s message: %s: %s", msg.type[:40], type(error).__name__, str(error)[:200])

    def _may_speak(self, client_id: str, kind: str) -> bool:
        if kind in self.custom_messages:
            return True
        if client_id in self.admitted:
            return kind in _FROM_WORKERS
        if kind == "client_ready" and client_id not in self.strangers:
            if len(self.strangers) >= _STRANGERS:
                self.strangers &= set(self.clients)  # Locust forgets who is silent for a minute
                if len(self.strangers) >= _STRANGERS:
                    return False
            self.strangers.add(client_id)
        return kind in _FROM_STRANGERS

    def admit(self, client_id: str) -> None:
        """From now on its messages count."""
        self.strangers.discard(client_id)
        self.admitted.add(client_id)
        self.heard_at[client_id] = time.monotonic()

    def forget(self, client_id: str) -> None:
        """A stranger again."""
        self.admitted.discard(client_id)
        self.strangers.discard(client_id)
        self.clients.pop(client_id, None)

    def tell(self, client_id: str, kind: str, **fields: Any) -> None:
        """One message to one worker."""
        self.send_message(kind, fields, client_id=client_id)

    def reset_connection(self) -> None:
        """A listening zmq socket does not break: there is nothing to open again."""
        self.connection_broken = False


class Worker(WorkerRunner):  # type: ignore[misc]
    """Locust's worker. `hear` gets (kind, fields, instant of arrival in ns) of what the master says beyond Locust."""

    def __init__(self, environment: Environment, host: str, port: int, hear: Hear) -> None:
        """Returns when the master has answered; waits for that as long as Locust does."""
        self._hear = hear
        self.heard_at = time.monotonic()
        super().__init__(environment, host, port)
        environment.runner = self

    def handle_message(self, msg: Any) -> None:
        """Only the heartbeat is Locust's: what is to be done, an order says."""
        at_ns = time.time_ns()
        self.heard_at = time.monotonic()
        if msg.type in _TO_WORKERS:
            super().handle_message(msg)
        elif isinstance(msg.type, str) and isinstance(msg.data, dict):
            self._hear(msg.type, msg.data, at_ns)

    def quit(self) -> None:
        """The users end; the connection stays: the last samples have not been sent yet."""
        self.stop()

    def tell(self, kind: str, **fields: Any) -> bool:
        """One message to the master, without waiting; False when it does not fit into the queue."""
        try:
            self.client.socket.send(Message(kind, fields, self.client_id).serialize(), zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True
