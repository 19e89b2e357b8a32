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
    before, after, *average = summarised(judged).to_dicts()
    assert (before["corruption"], before["severity"], before["change"]) == ("blur", 0, 0.0)
    assert before["qualification"] == pytest.approx(0.7)
    assert after["qualified_share"] == 0.5
    assert after["change"] == pytest.approx(-0.2)  # -0.3 and -0.1
    assert after["change_error"] == pytest.approx(0.1)  # their deviation 0.1414 over the root of 2
    assert (before["rise"], after["rise"]) == (None, after["change"])  # there is one milder severity
    assert (after["share_change"], after["share_change_error"]) == pytest.approx((-0.5, 0.1875**0.5))  # (½ + 1) / 4 / 2
    assert average[1] == after | {"corruption": "average", "strength": None}  # of one corruption


def test_a_rise_is_from_the_milder_severity_that_lay_lowest_and_an_average_is_photo_by_photo() -> None:
    levels = {("none", 0): (0.9, 0.7), ("blur", 1): (0.2, 0.2), ("blur", 2): (0.5, 0.4), ("blur", 3): (0.4, 0.3)}
    levels |= {("crop", 1): (0.8, 0.2), ("crop", 2): (0.5, 0.4), ("crop", 3): (0.2, 0.5)}
    rows = [
        {"listing_id": photo, "corruption": name, "severity": severity, "strength": None, "model_id": "m"}
        | {"qualification": value}
        for (name, severity), values in levels.items()
        for photo, value in zip("ab", values, strict=True)
    ]
    told = summarised(pl.DataFrame(rows, schema_overrides={"strength": pl.Float64}))
    found = {(row["corruption"], row["severity"]): row for row in told.to_dicts()}
    assert [found["blur", severity]["rise"] for severity in (1, 2, 3)] == pytest.approx([-0.6, 0.25, 0.15])
    assert found["blur", 3]["rise_error"] == pytest.approx(0.05)  # 0.2 and 0.1
    assert found["average", 1]["qualification"] == pytest.approx(0.35)
    assert found["average", 1]["change_error"] == pytest.approx(0.05)  # -0.4 and -0.5: each photo's two averaged first
    assert found["average", 1]["qualified_share"] == pytest.approx(0.25)
