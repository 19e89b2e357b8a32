"""When work that has failed is requested again."""

from vps_assets.orchestration.backoff import Attempts


def test_the_first_attempt_is_due_at_once() -> None:
    assert Attempts().due(0.0)


def test_the_pause_doubles_from_a_minute_to_six_hours() -> None:
    attempts, pauses = Attempts(), []
    for number in range(11):
        attempts = attempts.again(1000.0 * number)
        pauses.append(attempts.due_at - attempts.at)
    assert pauses == [60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 21600, 21600]


def test_an_attempt_is_not_due_before_its_pause_is_over() -> None:
    attempts = Attempts().again(100.0)
    assert not attempts.due(159.9)
    assert attempts.due(160.0)
