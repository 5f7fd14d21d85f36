"""Requests over TLS against a real server with a certificate of a private authority."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from load_support import Request, Server, in_child, misbehave, raw_server

CLIENT = """
import json, sys
import gevent.monkey; gevent.monkey.patch_all()
from harness.load.channel import tls_context
from harness.load.desk import Desk, Slot
from harness.load.payloads import Kind, payload_of
from harness.load.wire import Connection, Origin, Terms
from harness.model import Expect, Sample, TlsSpec, columns
url, options, path = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
rows = []
desk = Desk("run-1", "0", 1.0, rows.append)
context = tls_context(TlsSpec(**options)) if options else tls_context()
connection = Connection(Origin(url, context))
payload = payload_of(Kind("tls", "GET", Terms(5.0), Expect()), url + path, [], None, None)
for i in range(2):
    desk.send(connection, payload, Slot(i, None, "measure", 0))
connection.close()
print(json.dumps([dict(zip(columns(Sample), row)) for row in rows]))
"""

WIRE = """
import sys, time
import gevent.monkey; gevent.monkey.patch_all()
import gevent
from harness.load.channel import tls_context
from harness.load.wire import Connection, Exchange, Origin, Terms
from harness.model import TlsSpec
connection = Connection(Origin(sys.argv[1], tls_context(TlsSpec(insecure=True))))
BODY = bytes(range(256)) * 32_768  # 8 MiB
def exchanged(path, body=b"", timeout_s=10.0):
    x = Exchange(time.perf_counter_ns())
    head = f"POST {path} HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n".encode()
    connection.exchange(x, head, body, Terms(timeout_s))
    return x, len(head)
"""

REFUSED = """
import json, sys
import gevent.monkey; gevent.monkey.patch_all()
from harness.errors import HarnessError
from harness.load.channel import tls_context
from harness.model import TlsSpec
def refusal(options):
    try:
        tls_context(TlsSpec(**options))
    except HarnessError as refused:
        return [refused.message, refused.hint]
print(json.dumps([refusal(options) for options in json.loads(sys.argv[1])]))
"""


@dataclass
class Pki:
    """A private authority, a certificate of it for 127.0.0.1, and one for a client."""

    folder: Path

    def path(self, name: str) -> str:
        return str(self.folder / name)


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    pki = Pki(tmp_path_factory.mktemp("tls"))
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    signed = ["-CA", pki.path("ca.pem"), "-CAkey", pki.path("ca.key")]
    _openssl(*new, "-keyout", pki.path("ca.key"), "-out", pki.path("ca.pem"), "-subj", "/CN=authority")
    for name, address in (("server", "IP:127.0.0.1"), ("client", "DNS:tester")):
        files = ["-keyout", pki.path(f"{name}.key"), "-out", pki.path(f"{name}.pem"), "-subj", f"/CN={name}"]
        _openssl(*new, *signed, *files, "-addext", f"subjectAltName={address}")
    return pki


def context_of(pki: Pki) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.path("server.pem"), pki.path("server.key"))
    return context


@pytest.fixture(scope="module")
def server(pki: Pki) -> Iterator[Server]:
    with raw_server(misbehave, context_of(pki)) as running:
        yield running


@pytest.fixture(scope="module")
def strict(pki: Pki) -> Iterator[Server]:
    """A server that talks only to clients with a certificate."""
    context = context_of(pki)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(pki.path("ca.pem"))
    with raw_server(misbehave, context) as running:
        yield running


def rows(server: Server, host: str = "127.0.0.1", path: str = "/ok", **options: object) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(
        in_child(CLIENT, f"https://{host}:{server.port}", json.dumps(options), path)
    )
    return found


def refusals(*specs: dict[str, str]) -> list[tuple[str, str]]:
    """(message, hint) of each."""
    return [(message, hint) for message, hint in json.loads(in_child(REFUSED, json.dumps(specs)))]


def test_a_private_authority_is_trusted_and_the_connection_kept(server: Server, pki: Pki) -> None:
    first, second = rows(server, ca=pki.path("ca.pem"))

    assert (first["error"], first["status"], second["error"], second["status"]) == (None, 200, None, 200)
    assert first["start_ns"] <= first["resolved_ns"] <= first["tcp_ns"]
    assert first["connected_ns"] - first["tcp_ns"] > 100_000  # a handshake has more than one round trip
    assert [second[name] for name in ("resolved_ns", "tcp_ns", "connected_ns")] == [None] * 3


def test_the_kernel_cannot_stamp_what_is_encrypted_and_the_sample_says_so(server: Server, pki: Pki) -> None:
    sample = rows(server, ca=pki.path("ca.pem"))[1]

    assert sample["done_source"] == "user"
    assert sample["done_ns"] == sample["done_user_ns"]


def test_a_large_answer_comes_whole_over_tls(server: Server, pki: Pki) -> None:
    sample = rows(server, path="/big", ca=pki.path("ca.pem"))[0]

    assert sample["error"] is None
    assert 5_000_030 <= int(str(sample["bytes_received"])) <= 5_000_100  # with its head


def test_a_large_body_goes_out_whole_over_tls(server: Server) -> None:
    code = """
x, head_bytes = exchanged("/ok", BODY)
assert (x.error, x.status, x.bytes_sent) == (None, 200, head_bytes + len(BODY)), x
assert x.send_at < x.sent_at <= x.first_byte_at, x
again, _ = exchanged("/ok")
assert (again.error, again.connected_at, again.attempts) == (None, None, 1), again
"""
    in_child(WIRE + code, f"https://127.0.0.1:{server.port}")

    assert server.requests[-2].body == bytes(range(256)) * 32_768


def test_an_answer_before_the_body_was_sent_ends_the_upload_over_tls(pki: Pki) -> None:
    async def refuse(r: Request) -> bool:
        r.writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(30)  # neither reads nor closes
        return True

    code = """
x, _ = exchanged("/early", BODY)
assert (x.error, x.status, x.attempts) == (None, 413, 1), x
assert 0 < x.bytes_sent < len(BODY) and x.done_at - x.start_at < 5e9, x
assert connection._channel is None
"""
    with raw_server(refuse, context_of(pki)) as unwilling:
        in_child(WIRE + code, f"https://127.0.0.1:{unwilling.port}")


def test_a_whole_answer_is_kept_over_tls_though_this_process_slept_beyond_the_limit(server: Server) -> None:
    code = """
exchanged("/ok")
gevent.spawn(gevent.monkey.get_original("time", "sleep"), 1.0)
x, _ = exchanged("/chunked", timeout_s=0.5)  # whole after 60 ms
assert (x.error, x.status, x.kernel_done_ns, x.connected_at) == (None, 200, None, None), x
assert x.done_at - x.start_at >= 1e9, x
"""
    in_child(WIRE + code, f"https://127.0.0.1:{server.port}")


def test_a_silent_server_costs_the_timeout_over_tls(server: Server) -> None:
    code = """
exchanged("/ok")
x, _ = exchanged("/hang", timeout_s=0.3)
assert (x.error, x.status) == ("timeout", None) and 0.3e9 <= x.done_at - x.start_at < 3e9, x
"""
    in_child(WIRE + code, f"https://127.0.0.1:{server.port}")


def test_a_certificate_nobody_trusts_is_an_error(server: Server) -> None:
    sample = rows(server)[0]

    assert str(sample["error"]).startswith("tls: unable to get local issuer certificate")
    assert (sample["status"], sample["send_ns"]) == (None, None)


def test_a_certificate_for_another_host_is_an_error(server: Server, pki: Pki) -> None:
    sample = rows(server, host="localhost", ca=pki.path("ca.pem"))[0]

    assert str(sample["error"]).startswith("tls: hostname mismatch")


def test_insecure_takes_any_certificate(server: Server) -> None:
    assert [sample["status"] for sample in rows(server, host="localhost", insecure=True)] == [200, 200]


def test_a_server_that_wants_to_know_the_client_gets_its_certificate(strict: Server, pki: Pki) -> None:
    known = rows(strict, ca=pki.path("ca.pem"), cert=pki.path("client.pem"), key=pki.path("client.key"))
    unknown = rows(strict, ca=pki.path("ca.pem"))

    assert [sample["status"] for sample in known] == [200, 200]
    assert [sample["status"] for sample in unknown] == [None, None]
    assert all(str(sample["error"]).startswith(("tls: ", "connection ", "closed ")) for sample in unknown)


def test_files_that_cannot_be_used_are_refused_with_one_sentence(pki: Pki, tmp_path: Path) -> None:
    nowhere, text, locked = (str(tmp_path / name) for name in ("nowhere.pem", "text.pem", "locked.key"))
    Path(text).write_text("no certificate")
    _openssl("ec", "-in", pki.path("client.key"), "-out", locked, "-aes128", "-passout", "pass:secret")
    client, key = pki.path("client.pem"), pki.path("client.key")
    missing, no_pem, no_cert, lonely_key, others, encrypted = refusals(
        {"ca": nowhere},
        {"ca": text},
        {"cert": nowhere},
        {"key": key},
        {"cert": client, "key": pki.path("server.key")},
        {"cert": client, "key": locked},
    )

    assert missing[0] == f"cannot read the certificate authority {nowhere}: no such file or directory"
    assert missing[1] == "check the path and who may read it"
    assert no_pem[0] == f"cannot use the certificate authority {text}: it is no such PEM file"
    assert no_cert[0] == f"cannot read the client certificate {nowhere}: no such file or directory"
    assert lonely_key[1] == "name the certificate too, or leave both out"
    assert others[0].endswith(": they do not belong together")
    assert encrypted[0].startswith(f"cannot use the client certificate {client} with the key {locked}")
    assert "a key must not be encrypted" in encrypted[1]  # and nobody was asked for its password
