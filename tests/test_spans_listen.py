"""The receiver as its parent sees it: binding and counts."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from span_builders import a_body, counted, post, stored

from harness.errors import UsageError
from harness.spans.listen import ReceiverProcess, bind, start


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReceiverProcess]:
    running = start(bind("127.0.0.1:0"), tmp_path_factory.mktemp("run"))
    yield running
    running.stop()


# --- binding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "127.0.0.2:0", " 127.0.0.1:0 "])
def test_a_loopback_address_is_bound_and_listens(address: str) -> None:
    with bind(address) as sock, socket.create_connection(sock.getsockname()):
        assert sock.getsockname()[1] > 0


def test_ipv6_loopback_is_bound() -> None:
    with bind("[::1]:0") as sock:
        assert sock.getsockname()[0] == "::1"


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1:{}", "127.0.0.1"), ("[::1]:{}", "[::1]")])
def test_a_taken_port_is_refused_and_a_free_one_named(address: str, host: str) -> None:
    with bind(address.format(0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError) as caught:
            bind(address.format(port))

    hint = caught.value.hint or ""
    free = hint.partition(" is free")[0]
    assert caught.value.message == f"{host}:{port} is taken"
    assert hint.startswith(f"{free} is free: write `spans: {{listen: {free}}}` and have the service send there. ")
    assert hint.endswith("of two runs against one service, one needs `source: server-timing`, which opens no port")
    assert free.startswith(f"{host}:")
    assert free != f"{host}:{port}"
    bind(free).close()


def test_the_last_port_of_all_still_gets_a_suggestion() -> None:
    with bind("127.0.0.1:65535"), pytest.raises(UsageError, match=r"127\.0\.0\.1:65535 is taken") as caught:
        bind("127.0.0.1:65535")
    assert ":0 " not in (caught.value.hint or "")


@pytest.mark.parametrize("address", ["0.0.0.0:4318", "[::]:4318", "192.168.1.5:4318", "example.com:4318", ":4318"])
def test_an_address_others_could_reach_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is not a loopback address") as caught:
        bind(address)
    assert (caught.value.hint or "").startswith("listen on 127.0.0.1:4318: ")


@pytest.mark.parametrize("address", ["", "4318", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:70000", "::1:4318", "a:1:2"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is no address to listen on") as caught:
        bind(address)
    assert caught.value.hint == "write HOST:PORT, e.g. 127.0.0.1:4318"


# --- counts ------------------------------------------------------------------------------------------------


def test_the_counts_follow_what_arrives_and_the_end_is_said(tmp_path: Path) -> None:
    process = start(bind("127.0.0.1:0"), tmp_path)
    assert process.endpoint.startswith("http://127.0.0.1:")
    post(process, 7)
    assert counted(process) == 7
    assert stored(tmp_path) == 7  # what is counted is on disk
    post(process, 5)

    status = process.stop()

    assert (status.spans, status.rejected, status.requests) == (12, 0, 2)
    assert (status.bytes, status.ended, status.error) == (len(a_body(7)) + len(a_body(5)), True, None)
    assert stored(tmp_path) == 12
    assert process.stop() == process.poll() == status  # asking again changes nothing
    assert not process.drained(quiet_s=0.1, deadline_s=1)


def test_drained_waits_for_the_last_span(shared: ReceiverProcess) -> None:
    before = counted(shared)
    late = threading.Timer(0.2, post, (shared, 2))
    late.start()

    assert shared.drained(quiet_s=1.5, deadline_s=20)

    status = shared.poll()
    assert status is not None
    assert status.spans == before + 2
    late.join()


def test_drained_gives_up_at_the_deadline_while_spans_keep_coming(shared: ReceiverProcess) -> None:
    enough = threading.Event()

    def keep_sending() -> None:
        while not enough.wait(0.05):
            post(shared, 1)

    sender = threading.Thread(target=keep_sending)
    sender.start()
    began = time.monotonic()
    try:
        assert not shared.drained(quiet_s=1.4, deadline_s=1.5)
        assert time.monotonic() - began < 10
    finally:
        enough.set()
        sender.join()
