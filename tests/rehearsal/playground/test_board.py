"""State of the page: bounded, and incremental."""

from __future__ import annotations

from rehearsal.playground.board import EVENTS, NOTIFICATIONS, TRAFFIC_SECONDS, Board


def test_it_is_bounded_however_long_a_playground_is_open() -> None:
    board = Board("run-1")
    board.add_traffic({"time": float(second)} for second in range(TRAFFIC_SECONDS * 3))
    board.add_notifications({"number": number} for number in range(NOTIFICATIONS * 3))
    for number in range(EVENTS * 3):
        board.log("traffic", f"event {number}")
    state = board.as_json()
    assert [len(state[key]) for key in ("traffic", "notifications", "events")] == [
        TRAFFIC_SECONDS,
        NOTIFICATIONS,
        EVENTS,
    ]
    assert state["events"][-1]["number"] == EVENTS * 3
    assert state["traffic"][-1]["time"] == TRAFFIC_SECONDS * 3 - 1


def test_a_later_state_replaces_the_previous_one() -> None:
    board = Board("run-1", rate=50)
    board.update(phase="running", app="http://127.0.0.1:1/")
    board.update(phase="ending")
    state = board.as_json()
    assert (state["phase"], state["app"], state["rate"]) == ("ending", "http://127.0.0.1:1/", 50)


def test_it_knows_whether_a_page_is_open() -> None:
    board = Board("run-1")
    assert not board.is_watched(10)
    board.as_json()
    assert board.is_watched(10)


def test_an_event_may_have_a_time_of_its_own() -> None:
    board = Board("run-1")
    board.log("pulumi", "earlier", at=5.0)
    assert board.as_json()["events"][0]["time"] == 5.0
