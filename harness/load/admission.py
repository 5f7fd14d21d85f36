"""Who becomes a worker: the same version, and the same token, shown without sending it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from harness import __version__
from harness.load import trust
from harness.load.port import Fields, Master

_PENDING = 256


@dataclass(frozen=True, slots=True)
class Hello:
    """How a worker presented itself."""

    host: str
    pid: int
    cpus: int
    nonce: bytes


class Admission:
    """Answers hellos and checks proofs; `welcome` is called for each worker that passed, the others are `refused`."""

    def __init__(self, master: Master, token: str, welcome: Callable[[str, Hello], str | None]) -> None:
        """`welcome` returns why the worker cannot be taken, or None."""
        self._master = master
        self._token = token
        self._welcome = welcome
        self._pending: dict[str, tuple[Hello, bytes]] = {}
        self.refused = 0
        self.last_refusal = ""
        master.listen("ml_hello", self._hello, strangers=True)
        master.listen("ml_proof", self._proof, strangers=True)

    def _hello(self, client_id: str, fields: Fields) -> None:
        version = str(fields.get("version"))[:40]
        if version != __version__:
            message = f"the master runs harness {__version__}, this worker {version}"
            self.refuse(client_id, message, "install the same version on both machines")
            return
        hello = _parsed(fields)
        if hello is None or client_id in self._master.admitted:
            return
        while len(self._pending) >= _PENDING:  # the oldest stranger who never came back
            self._pending.pop(next(iter(self._pending)))
        own = trust.nonce()
        self._pending[client_id] = (hello, own)
        shown = trust.proof(self._token, trust.MASTER, own, hello.nonce, client_id)
        self._master.tell(client_id, "ml_challenge", nonce=own, proof=shown, token_wanted=bool(self._token))

    def _proof(self, client_id: str, fields: Fields) -> None:
        hello, own = self._pending.pop(client_id, (None, b""))
        if hello is None:
            return
        if not trust.proves(fields.get("proof"), self._token, trust.WORKER, own, hello.nonce, client_id):
            self.refuse(client_id, "the master has another token", "give both the same --token (or MLHARNESS_TOKEN)")
            return
        self._master.admit(client_id)
        reason = self._welcome(client_id, hello)
        if reason is not None:
            self.refuse(client_id, reason, None)

    def refuse(self, client_id: str, message: str, hint: str | None) -> None:
        """Send a worker away."""
        self.refused += 1
        self.last_refusal = message
        print(f"refused a worker: {message}", file=sys.stderr, flush=True)  # noqa: T201 - the log of this process
        self._master.tell(client_id, "ml_refused", message=message, hint=hint)
        self._master.forget(client_id)


def _parsed(fields: Fields) -> Hello | None:
    host, pid, cpus, nonce = (fields.get(name) for name in ("host", "pid", "cpus", "nonce"))
    if not (isinstance(host, str) and isinstance(pid, int) and isinstance(cpus, int)):
        return None
    if not (isinstance(nonce, bytes) and len(nonce) == trust.NONCE_BYTES):
        return None
    return Hello("".join(c for c in host[:64] if c.isprintable()), pid, cpus, nonce)
