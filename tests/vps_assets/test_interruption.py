import sys
from threading import Event
from types import SimpleNamespace

import pytest

from vps_assets import interruption


@pytest.mark.parametrize("came", [True, False])
def test_an_interruption_that_was_lost_in_a_destructor_is_not_printed_and_another_error_is(
    came: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_came = Event()
    if came:
        signal_came.set()
    printed = list[object]()
    monkeypatch.setattr(interruption, "CAME", signal_came)
    monkeypatch.setattr(interruption, "HEARD_WITHIN_S", 0.01)
    monkeypatch.setattr(sys, "__unraisablehook__", printed.append)
    interruption.unraised(error := SimpleNamespace(exc_value=KeyboardInterrupt()))
    assert printed == ([] if came else [error])
