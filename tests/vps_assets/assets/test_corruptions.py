import polars as pl
import pytest

from vps_assets.assets.corruptions import summarised


def test_change_is_paired_with_the_same_photo_before() -> None:
    judged = pl.DataFrame(
        {
            "listing_id": ["a", "b", "a", "b"],
            "corruption": ["none", "none", "blur", "blur"],
            "severity": [0, 0, 1, 1],
            "strength": [None, None, 0.01, 0.01],
            "qualification": [0.9, 0.5, 0.6, 0.4],
            "model_id": ["m"] * 4,
        }
    )
    before, after = summarised(judged).to_dicts()
    assert (before["corruption"], before["severity"], before["change"]) == ("blur", 0, 0.0)
    assert before["qualification"] == pytest.approx(0.7)
    assert after["qualified_share"] == 0.5
    assert after["change"] == pytest.approx(-0.2)  # -0.3 and -0.1
    assert after["change_error"] == pytest.approx(0.1)  # their deviation 0.1414 over the root of 2
