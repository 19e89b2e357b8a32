"""Which files of the inbox a tick requests to be landed."""

import json

from vps_assets.landing.inbox import Dropped
from vps_assets.orchestration.inbox_decisions import MOST_ATTEMPTS, decide

A, B = Dropped("a.csv", 10, 1), Dropped("b.csv", 20, 2)


def ticks(*seen: list[Dropped], unfinished: int = 0, cursor: str | None = None) -> tuple[list[tuple[str, ...]], str]:
    """(what each tick requests, the cursor after the last), fifteen seconds apart."""
    requested = []
    for number, files in enumerate(seen):
        intake = decide(cursor, files, unfinished, 1e9 + 15 * number)
        cursor = intake.cursor
        requested.append(intake.files)
    return requested, str(cursor)


def test_a_file_is_landed_once_it_has_not_changed_for_a_tick() -> None:
    growing = Dropped("a.csv", 5, 1)
    assert ticks([growing], [A], [A], [])[0] == [(), (), ("a.csv",), ()]


def test_a_burst_is_one_run_oldest_first() -> None:
    assert ticks([A, B], [A, B])[0][-1] == ("a.csv", "b.csv")


def test_nothing_is_requested_while_a_run_lands_files_and_nothing_is_forgotten() -> None:
    _, cursor = ticks([A], [A, B])
    busy, cursor = ticks([A, B], [A, B], unfinished=1, cursor=cursor)
    assert busy == [(), ()]
    assert ticks([B], cursor=cursor)[0] == [("b.csv",)]


def test_a_file_that_stayed_after_its_run_is_requested_again_later_and_later() -> None:
    requested = ticks(*[[A]] * 32)[0]
    times = [number * 15 for number, files in enumerate(requested) if files]
    assert [later - sooner for sooner, later in zip(times, times[1:], strict=False)] == [60, 120, 240]


def test_a_file_that_breaks_its_run_comes_after_the_others() -> None:
    requested = ticks(*[[A]] * 5, [A, B], [A, B])[0]
    assert requested[-1] == ("b.csv",)


def test_after_a_broken_run_each_of_its_files_gets_a_run_of_its_own() -> None:
    requested = [files for files in ticks(*[[A, B]] * 12)[0] if files]
    assert requested == [("a.csv", "b.csv"), ("a.csv",), ("b.csv",)]


def test_a_file_whose_runs_break_off_again_and_again_is_given_up() -> None:
    cursor, now, given_up = None, 0.0, []
    for _ in range(MOST_ATTEMPTS + 3):
        intake = decide(cursor, [A], 0, now)
        cursor, now = intake.cursor, now + 7 * 3600
        given_up.append(intake.given_up)
    assert given_up == [(), *[()] * MOST_ATTEMPTS, ("a.csv",), ("a.csv",)]


def test_a_clock_that_was_set_back_lengthens_no_pause() -> None:
    _, cursor = ticks([A], [A])
    an_hour_back = 1e9 - 3600
    waits = decide(cursor, [A], 0, an_hour_back)
    assert waits.files == ()
    assert decide(waits.cursor, [A], 0, an_hour_back + 61).files == ("a.csv",)


def test_the_same_file_dropped_again_later_gets_a_run_of_its_own() -> None:
    """The same name, size and time would give the same run key, which Dagster never runs twice."""
    first, cursor = decide(decide(None, [A], 0, 0).cursor, [A], 0, 15), None
    gone = decide(first.cursor, [], 0, 30)
    back = decide(decide(gone.cursor, [A], 0, 45).cursor, [A], 0, 60)
    assert cursor is None
    assert first.files == back.files == ("a.csv",)
    assert first.run_key != back.run_key


def test_a_tick_that_is_repeated_after_a_restart_requests_the_same_run() -> None:
    settled = decide(None, [A], 0, 0).cursor
    assert decide(settled, [A], 0, 15).run_key == decide(settled, [A], 0, 45).run_key


def test_a_cursor_of_an_earlier_version_is_read_and_a_file_that_had_settled_is_requested() -> None:
    earlier = {"seen": {"a.csv": [10, 1]}, "asked": {"a.csv": {"file": [10, 1], "attempts": 2, "at": 1.0}}, "number": 4}
    intake = decide(json.dumps(earlier), [A], 0, 2.0)
    assert intake.files == ("a.csv",)
    assert intake.run_key.endswith("-5")
