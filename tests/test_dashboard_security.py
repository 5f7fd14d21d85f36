"""Who may ask the dashboard for what: raw requests on a real socket, as a browser or an attacker would send them."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from harness.dashboard import loading, security, tokens
from harness.dashboard.security import HEADERS, MOST_BYTES, refused
from tests.dashboard_support import TOKEN, served, settings_of

RUN = "20261122T094451Z-demo"
TAGS = f"/api/runs/{RUN}/tags"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    runs = tmp_path_factory.mktemp("runs")
    (runs / RUN).mkdir()
    with served(settings_of(runs)) as url:
        yield url


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(settings_of(tmp_path_factory.mktemp("runs"), guarded=True)) as url:
        yield url


def raw(url: str, request: bytes) -> tuple[int, str]:
    """The status and the whole answer to bytes as they stand; 0 when the connection was closed without one."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    text = answer.decode("utf-8", "replace")
    return (int(text.split()[1]) if text else 0), text


def get(url: str, path: str, host: str | None = None) -> tuple[int, str]:
    host = urlsplit(url).netloc if host is None else host
    return raw(url, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())


def change(url: str, **headers: str | None) -> httpx.Response:
    """A POST with everything it needs, but for what is said here; None leaves a header out."""
    good = {"Content-Type": "application/json", "X-Harness-Token": TOKEN, "Origin": url}
    wanted = good | {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {name: value for name, value in wanted.items() if value is not None}
    return httpx.post(url + TAGS, content=json.dumps({"tags": ["a"]}), headers=sent, timeout=10)


# --- the name we are called by -----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:1", "localhost:8900", "LOCALHOST", "localhost.", "[::1]:80"])
def test_our_own_names_are_answered_at_any_port_as_through_a_tunnel(url: str, host: str) -> None:
    assert get(url, "/static/icon.svg", host)[0] == 200


@pytest.mark.parametrize(
    "host", ["attacker.example", "127.0.0.1.evil.example", "localhost@evil", "[::2]", "", "a b", "0", "0.0.0.0"]
)  # fmt: skip
def test_a_foreign_name_that_leads_here_is_not_answered(url: str, host: str) -> None:
    status, text = get(url, "/static/icon.svg", host)

    assert status in (400, 421)
    assert "<svg" not in text


def test_a_request_without_a_name_or_with_two_is_not_answered(url: str) -> None:
    assert raw(url, b"GET /static/icon.svg HTTP/1.0\r\n\r\n")[0] in (400, 421)
    twice = b"GET /static/icon.svg HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n"
    assert raw(url, twice)[0] in (400, 421)


# --- what changes something --------------------------------------------------------------------------------


def test_a_page_of_ours_and_curl_with_the_token_may_change_something(url: str) -> None:
    assert change(url).status_code == 200
    assert change(url, Origin=None).status_code == 200
    assert change(url, X_Harness_Token=None, Authorization=f"Bearer {TOKEN}").status_code == 200


@pytest.mark.parametrize(
    "origin", ["null", "http://attacker.example", "http://localhost:1", "", "file://", "http://[::1", "javascript:"]
)
def test_a_page_of_another_origin_changes_nothing_even_with_the_token(url: str, origin: str) -> None:
    assert change(url, Origin=origin).status_code == 403


@pytest.mark.parametrize("token", [None, "", "x", TOKEN[:-1], TOKEN + "0", TOKEN.upper()])
def test_nothing_is_changed_without_the_token(url: str, token: str | None) -> None:
    answer = change(url, X_Harness_Token=token)

    assert answer.status_code == 403
    assert set(answer.json()) == {"error", "hint"}


def test_a_cookie_does_not_stand_for_the_token_where_something_changes(url: str) -> None:
    assert change(url, X_Harness_Token=None, Cookie=f"harness_token={TOKEN}").status_code == 403


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_only_json_changes_something(url: str, kind: str | None) -> None:
    assert change(url, Content_Type=kind).status_code == 415


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_browser_that_says_another_page_asks_is_refused(url: str, site: str) -> None:
    assert change(url, Sec_Fetch_Site=site).status_code == 403
    asked = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    assert httpx.get(url + "/static/theme.css", headers=asked).status_code == 403
    followed = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
    assert httpx.get(url + "/static/theme.css", headers=followed).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_refused(url: str, method: str) -> None:
    assert httpx.request(method, url + TAGS, headers={"X-Harness-Token": TOKEN}).status_code in (400, 405)


# --- bodies ------------------------------------------------------------------------------------------------


def post_head(url: str, more: str) -> bytes:
    place = urlsplit(url).netloc
    head = f"POST {TAGS} HTTP/1.1\r\nHost: {place}\r\nContent-Type: application/json\r\nX-Harness-Token: {TOKEN}\r\n"
    return f"{head}Connection: close\r\n{more}\r\n\r\n".encode()


def test_a_body_said_to_be_large_is_refused_before_it_is_read(url: str) -> None:
    status, text = raw(url, post_head(url, "Content-Length: 10000000"))

    assert status == 413
    assert "64 KiB" in text


def test_a_body_that_grows_is_refused_at_its_limit(url: str) -> None:
    parts = b"10000\r\n" + b" " * 65536 + b"\r\n1\r\n \r\n"

    assert raw(url, post_head(url, "Transfer-Encoding: chunked") + parts)[0] == 413


def test_a_body_that_stops_in_the_middle_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "BODY_WAIT_S", 0.05)
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as connection:
        connection.sendall(post_head(url, "Content-Length: 100") + b"{")
        assert connection.recv(100).split()[1] == b"408"


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "null", '{"tags": 1}', '{"tags": [1]}', "[" * 60_000, '{"tags": null}']
)
def test_a_body_that_is_no_request_is_refused_with_one_sentence(url: str, body: str) -> None:
    sent = {"Content-Type": "application/json", "X-Harness-Token": TOKEN}
    answer = httpx.post(url + TAGS, content=body, headers=sent, timeout=10)

    assert answer.status_code == 400
    assert answer.json()["error"]
    assert len(body) < MOST_BYTES


# --- paths -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["/runs/", "/api/runs/", "/static/", "/live/", "/api/live/"])
@pytest.mark.parametrize(
    "path",
    ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "..%5c..%5cetc", "%00", f"{RUN}%00",
     f"{RUN}%2f..%2f..", "....//", "%2fetc%2fpasswd", f"{RUN}/..%2f..%2fsecret/report.html", "%ff%fe", "a" * 5000],
)  # fmt: skip
def test_no_path_leads_out_of_the_folders(url: str, before: str, path: str) -> None:
    status, text = get(url, before + path)

    assert 300 <= status < 500  # a slash too many is led to where there is none
    assert "root:" not in text


def test_tags_are_never_written_through_a_link(tmp_path: Path) -> None:
    run, victim = tmp_path / "runs" / RUN, tmp_path / "victim"
    run.mkdir(parents=True)
    victim.write_text("as it was")
    for name in ("tags.json", f".tags.json.{os.getpid()}.tmp"):
        (run / name).symlink_to(victim)
    with served(settings_of(run.parent)) as url:
        assert change(url).status_code == 200

    assert victim.read_text() == "as it was"
    assert json.loads((run / "tags.json").read_text()) == ["a"]


def test_a_run_that_is_a_link_to_elsewhere_is_none(tmp_path: Path) -> None:
    runs, elsewhere = tmp_path / "runs", tmp_path / "20260101T000000Z-secret"
    runs.mkdir()
    elsewhere.mkdir()
    (elsewhere / "report.html").write_text("secret")
    (runs / elsewhere.name).symlink_to(elsewhere)
    with served(settings_of(runs)) as url:
        assert get(url, f"/runs/{elsewhere.name}/report.html")[0] == 404


# --- every answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/nothing", "/static/theme.css", "/login"])
def test_every_answer_carries_the_policies(url: str, path: str) -> None:
    answer = httpx.get(url + path)

    for name in HEADERS:
        assert name in answer.headers
    assert "'unsafe-eval'" not in answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == ("no-cache" if path.startswith("/static") else "no-store")


def test_the_refusals_carry_the_policies_too(url: str) -> None:
    assert "frame-ancestors 'none'" in get(url, "/", "evil")[1]


# --- reached by others -------------------------------------------------------------------------------------


_PAGES = [import_module(f"harness.dashboard.pages.{name}") for name in ("runs", *loading.PAGES)]
_ADDRESSES = sorted({route.path for page in _PAGES for route in page.router.routes})


@pytest.mark.parametrize("path", [*_ADDRESSES, "/static/chart.js", "/static/vega.js", "/static/%2e/theme.css", "/x"])
def test_beyond_loopback_everything_needs_the_token(guarded: str, path: str) -> None:
    answer = httpx.get(guarded + path)

    assert answer.status_code == 401
    assert TOKEN not in answer.text


def test_a_script_may_bring_the_token_as_a_header(guarded: str) -> None:
    for headers in ({"X-Harness-Token": TOKEN}, {"Authorization": f"Bearer {TOKEN}"}):
        assert httpx.get(guarded + "/static/chart.js", headers=headers).status_code == 200


def test_a_person_is_shown_the_login_page_and_comes_back_to_where_they_wanted(guarded: str) -> None:
    with httpx.Client(base_url=guarded) as person:
        shown = person.get("/capacity?scenario=a&b", headers={"Accept": "text/html"})
        assert shown.status_code == 401
        assert 'name="wanted" value="/capacity?scenario=a&amp;b"' in shown.text
        assert TOKEN not in shown.text
        entered = person.post("/login", data={"token": TOKEN, "wanted": "/capacity"}, headers={"Origin": guarded})
        assert (entered.status_code, entered.headers["location"]) == (303, "/capacity")
        assert TOKEN not in entered.headers["set-cookie"]  # other ports of this host are sent it, too
        assert {"httponly", "samesite=strict"} <= set(entered.headers["set-cookie"].lower().split("; "))
        assert person.get("/static/chart.js").status_code == 200


def test_a_wrong_token_does_not_let_in_and_is_answered_slowly(guarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "WRONG_WAIT_S", 0.1)
    began = time.monotonic()
    answer = httpx.post(guarded + "/login", data={"token": "wrong"})
    for wrong in ({"X-Harness-Token": "x"}, {"Authorization": "Bearer x"}, {"Cookie": f"harness_token={TOKEN}"}):
        assert httpx.get(guarded, headers=wrong).status_code == 401

    assert time.monotonic() - began >= 0.4
    assert answer.status_code == 401
    assert "not the token" in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "", "/\r\nX: y", "evil"]
)
def test_the_login_never_leads_to_another_host(guarded: str, wanted: str) -> None:
    entered = httpx.post(guarded + "/login", data={"token": TOKEN, "wanted": wanted})

    assert entered.headers["location"] == "/"


def test_another_page_cannot_log_the_reader_in(guarded: str) -> None:
    entered = httpx.post(guarded + "/login", data={"token": TOKEN}, headers={"Origin": "http://attacker.example"})

    assert entered.status_code == 403


# --- the decision itself -----------------------------------------------------------------------------------

_NAMES = st.sampled_from(
    ["host", "origin", "cookie", "x-harness-token", "authorization", "content-type", "sec-fetch-site"]
)
_VALUES = st.binary(max_size=40) | st.sampled_from(
    [b"localhost", b"http://localhost", b"application/json", b"Bearer x"]
)


@given(st.sampled_from(["GET", "POST", "HEAD", "X"]), st.text(max_size=20), st.lists(st.tuples(_NAMES, _VALUES)))
def test_no_headers_without_the_token_ever_pass_a_change_or_a_guard(
    method: str, path: str, headers: list[tuple[str, bytes]]
) -> None:
    open_, closed = settings_of(Path()), settings_of(Path(), guarded=True)
    given_headers = Headers(raw=[(name.encode(), value) for name, value in headers])

    assert method in ("GET", "HEAD") or path == "/login" or refused(open_, method, path, given_headers) is not None
    assert path == "/login" or refused(closed, method, f"/{path}", given_headers) is not None
