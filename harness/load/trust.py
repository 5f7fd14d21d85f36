"""Master and worker show each other that they know the same token, without sending it.

Each side answers the other's random nonce with HMAC-SHA256 over both nonces, its own role and the worker's identity.
Without a token the key is empty: then the proof shows nothing, and the master has to listen on loopback.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

NONCE_BYTES = 32
MASTER, WORKER = "master", "worker"


def nonce() -> bytes:
    """A number used once."""
    return secrets.token_bytes(NONCE_BYTES)


def proof(token: str, role: str, masters: bytes, workers: bytes, identity: str) -> bytes:
    """What `role` says to show that it knows `token`."""
    said = b"".join(
        len(part).to_bytes(4, "big") + part for part in (role.encode(), masters, workers, identity.encode())
    )
    return hmac.new(token.encode(), b"mlharness-1" + said, hashlib.sha256).digest()


def proves(given: object, token: str, role: str, masters: bytes, workers: bytes, identity: str) -> bool:
    """Whether `given` is that proof."""
    expected = proof(token, role, masters, workers, identity)
    return isinstance(given, bytes) and hmac.compare_digest(given, expected)
