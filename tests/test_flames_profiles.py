"""Call profiles of a run folder: what pyinstrument saves, folded; and files that are no such thing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pyinstrument import Profiler

from harness import flames
from harness.flames import profiles
from harness.run_folder import RunFolder
from harness.views import Flame, FlameNode

APP = "/srv/app/reader.py"
LIBRARY = "/usr/lib/python3.11/site-packages/numpy/core.py"


def frame(function: str, file: str = APP, line: int = 7) -> str:
    return f"{function}\x00{file}\x00{line}\x01l{line}"


def session(*records: tuple[list[str], float], **changes: Any) -> dict[str, Any]:
    return {
        "frame_records": [list(record) for record in records], "start_time": 0.0, "duration": 1.0, "sample_count": 1,
        "start_call_stack": [], "target_description": "reader", "cpu_time": 0.5, "sys_path": [],
        "sys_prefixes": ["/usr"], **changes,
    }  # fmt: skip


def stored(tmp_path: Path, *sessions: object) -> RunFolder:
    folder = tmp_path / flames.FOLDER
    folder.mkdir(exist_ok=True)
    for number, each in enumerate(sessions):
        text = each if isinstance(each, str) else json.dumps(each)
        (folder / f"{number:03}.pyisession").write_text(text, encoding="utf-8")
    return RunFolder(tmp_path)


def one(tmp_path: Path, *sessions: object) -> Flame:
    (flame,) = flames.call_profiles(stored(tmp_path, *sessions))
    return flame


def tree(node: FlameNode) -> dict[str, Any]:
    return {node.label: (round(node.weight_s, 6), [tree(child) for child in node.children])}


def hot_loop_of_this_test(until: float) -> float:
    total = 0.0
    while total < until:
        total += sum(i * i for i in range(200)) * 0 + 1
    return total


def test_a_profile_of_a_real_function_names_it(tmp_path: Path) -> None:
    stored(tmp_path)
    profiler = Profiler(interval=0.0005)
    profiler.start()
    hot_loop_of_this_test(6_000)
    profiler.stop().save(tmp_path / flames.FOLDER / "one.pyisession")

    (flame,) = flames.call_profiles(RunFolder(tmp_path))

    assert flame.n > 5
    (hot,) = (node for node in all_of(flame.root) if node.label == "hot_loop_of_this_test")
    assert "test_flames_profiles.py" in str(hot.where)
    assert hot.weight_s > 0.8 * flame.root.weight_s


def all_of(node: FlameNode) -> list[FlameNode]:
    return [node, *(each for child in node.children for each in all_of(child))]


def test_calls_of_one_path_are_summed_up_over_all_sessions(tmp_path: Path) -> None:
    first = session(([frame("main"), frame("read")], 0.3), ([frame("main"), frame("write")], 0.1))
    second = session(([frame("main"), frame("read")], 0.2), ([frame("main")], 0.4))

    flame = one(tmp_path, first, second)

    # read: 0.3 + 0.2; main: all of 1.0, of which 0.4 its own.
    assert tree(flame.root) == {"main": (1.0, [{"read": (0.5, [])}, {"write": (0.1, [])}])}
    assert flame.n == 4


def test_what_was_open_when_the_profiler_began_is_left_out(tmp_path: Path) -> None:
    stack = [frame("serve"), frame("handle")]
    flame = one(tmp_path, session(([*stack, frame("read")], 0.3), ([*stack], 0.1), start_call_stack=stack))

    assert tree(flame.root) == {"handle": (0.4, [{"read": (0.3, [])}])}


def test_calls_inside_libraries_count_for_the_first_of_them(tmp_path: Path) -> None:
    inside = [frame("dot", LIBRARY), frame("inner", LIBRARY), frame("innermost", LIBRARY)]
    flame = one(tmp_path, session(([frame("main"), *inside], 0.3), ([frame("main"), *inside[:2]], 0.1)))

    assert tree(flame.root) == {"main": (0.4, [{"dot": (0.4, [])}])}
    assert "folded" in flame.note


def test_a_service_that_is_installed_as_a_package_is_not_folded_away(tmp_path: Path) -> None:
    flame = one(tmp_path, session(([frame("main", LIBRARY), frame("read", LIBRARY)], 0.3)))

    assert tree(flame.root) == {"main": (0.3, [{"read": (0.3, [])}])}


def test_waiting_is_a_frame_and_own_time_is_not(tmp_path: Path) -> None:
    flame = one(tmp_path, session(([frame("main"), "[await]"], 0.3), ([frame("main"), "[self]"], 0.1)))

    assert tree(flame.root) == {"main": (0.4, [{"waits (await)": (0.3, [])}])}


def test_each_place_has_its_own_graph_the_longest_first(tmp_path: Path) -> None:
    found = flames.call_profiles(
        stored(tmp_path, session(([frame("a")], 0.1)), session(([frame("b")], 0.2), target_description="worker"))
    )

    assert [flame.title for flame in found] == ["worker", "reader"]


def test_thin_frames_are_summed_up(tmp_path: Path) -> None:
    thin = [([frame("main"), frame(f"f{i}")], 0.001) for i in range(3)]
    flame = one(tmp_path, session(([frame("main"), frame("read")], 0.997), *thin))

    # 0.2 % of 1.0 s is 2 ms: each of the three has less, together they have more.
    assert tree(flame.root) == {"main": (1.0, [{"read": (0.997, [])}, {"3 more": (0.003, [])}])}


def test_a_run_without_profiles_has_no_graph(tmp_path: Path) -> None:
    assert flames.call_profiles(RunFolder(tmp_path)) == ()
    assert flames.call_profiles(stored(tmp_path)) == ()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("cos\nsystem\n(S'true'\ntR.", "no JSON"),
        ("[]", "no session"),
        ('{"frame_records": 3}', "no session"),
        ('{"frame_records": []}', "no samples"),
        ('{"frame_records": [[["a"], NaN]]}', "damaged"),
        ('{"frame_records": [[["a"], -1]]}', "damaged"),
        ('{"frame_records": [[["a"], true]]}', "damaged"),
        ('{"frame_records": [[[3], 1.0]]}', "damaged"),
        ('{"frame_records": [["a", 1.0]]}', "damaged"),
        ('{"frame_records": [[["a"]]]}', "damaged"),
    ],
)
def test_a_file_that_is_no_profile_is_left_out_and_said(tmp_path: Path, content: str, why: str) -> None:
    flame = one(tmp_path, content)

    assert (flame.n, flame.root.weight_s) == (0, 0.0)
    assert "000.pyisession" in flame.note
    assert why in flame.note


def test_a_damaged_file_does_not_hide_the_others(tmp_path: Path) -> None:
    flame = one(tmp_path, "broken", session(([frame("main")], 0.1)))

    assert flame.n == 1
    assert "Left out: 000.pyisession: no JSON." in flame.note


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "MOST_BYTES", 1024**2)
    flame = one(tmp_path, session(([frame("main")], 0.1), pad="x" * 1024**2))

    assert "larger than 1 MiB" in flame.note


def test_links_pipes_and_folders_are_no_profiles(tmp_path: Path) -> None:
    folder = stored(tmp_path).path / flames.FOLDER
    os.mkfifo(folder / "pipe.pyisession")
    (folder / "folder.pyisession").mkdir()
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(session(([frame("secret")], 0.1))))
    (folder / "link.pyisession").symlink_to(secret)

    assert flames.call_profiles(RunFolder(tmp_path)) == ()


def test_a_stack_without_end_is_cut(tmp_path: Path) -> None:
    deep = [frame("down", line=number) for number in range(50_000)]
    flame = one(tmp_path, session((deep, 0.1)))

    assert depth(flame.root) <= 64
    assert flame.root.weight_s == pytest.approx(0.1)


def depth(node: FlameNode) -> int:
    return 1 + max((depth(child) for child in node.children), default=0)


def test_too_many_frames_count_for_who_called_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "MOST_FRAMES", 3)
    flame = one(tmp_path, session(*(([frame("main"), frame(f"f{i}")], 0.1) for i in range(10))))

    # main and two of the functions are kept; the other eight count as main's own time.
    assert tree(flame.root) == {"main": (1.0, [{"f0": (0.1, [])}, {"f1": (0.1, [])}])}
