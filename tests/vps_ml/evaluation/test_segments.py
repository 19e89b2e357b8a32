"""The figures of many models at once are those of each by itself, computed by hand."""

import numpy as np
import polars as pl
import pytest

from vps_ml.evaluation import resampling, segments
from vps_ml.evaluation.metrics import aurc, male, risk_coverage
from vps_ml.evaluation.resampling import Draws
from vps_ml.evaluation.segments import DTYPES, Outcomes, distinct, figures_of

IDS = np.arange(200)
GATED, OWN = np.array([True, True, False]), np.array([True, False, False])


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "RESAMPLES", 400)


def predictions(items: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    price, error, width = rng.normal(4, 1, items), rng.normal(0, 0.5, items), rng.uniform(0.1, 1, items)
    qualification = rng.random(items).round(2)  # with ties
    return pl.DataFrame(
        {
            "listing_id": [f"L{item:04}" for item in range(items)],
            "log_price": price,
            "predicted_log_price": price + error,
            "low_log_price": price + error - width,
            "high_log_price": price + error + width,
            "gate_logit": rng.normal(size=items),
            "qualification": qualification,
            "qualified": qualification >= 0.5,
        }
    )


def test_the_figures_of_a_hand_computed_case() -> None:
    """Three items, of which the first two are qualified; the second is the more so."""
    price, error = np.array([1.0, 2.0, 3.0]), np.array([0.1, -0.4, 0.2])
    rows = pl.DataFrame({"log_price": price, "predicted_log_price": price + error, "gate_logit": [1.0, 1.0, -1.0]})
    rows = rows.with_columns(
        listing_id=pl.Series(["a", "b", "c"]),
        low_log_price=pl.col("predicted_log_price") - 0.3,
        high_log_price=pl.col("predicted_log_price") + 0.2,
        qualification=pl.Series([0.6, 0.9, 0.2]),
        qualified=pl.Series([True, True, False]),
    )
    found = figures_of(Outcomes.of_models([rows]), np.array([True]), np.array([True]), Draws(np.arange(3)))
    expected = {
        "tested": 3,
        "qualified": 2,
        "coverage": 2 / 3,
        "raw_coverage": 2 / 3,
        "male": 0.25,
        "rmsle": np.sqrt(0.17 / 2),
        "male_of_all": 0.7 / 3,
        "aurc": (0.4 + 0.25 + 0.7 / 3) / 3,
        "male_of_top_half": 0.25,
        "range_coverage": 0.5,
        "range_width": 0.5,
    }
    assert {name: found[name][0] for name in expected} == pytest.approx(expected)
    curve = [0.4] * 6 + [0.25] * 7 + [0.7 / 3] * 7  # a third of the items is the first, up to 6 twentieths
    assert found["risk_curve"][0] == pytest.approx(curve)


def test_many_models_have_the_figures_and_intervals_that_each_has_by_itself() -> None:
    frames = [predictions(200, seed) for seed in range(3)]
    draws = Draws(IDS // 2)
    found = figures_of(Outcomes.of_models(frames), GATED, OWN, draws)
    for number, rows in enumerate(frames):
        alone = figures_of(Outcomes.of_models([rows]), GATED[[number]], OWN[[number]], draws)
        error = (rows["predicted_log_price"] - rows["log_price"]).to_numpy()
        risk = risk_coverage(error, rows["qualification"].to_numpy(), IDS)
        for name, column in found.items():
            assert column[number] == pytest.approx(alone[name][0]), name
        assert found["male"][number] == pytest.approx(male(error[rows["qualified"].to_numpy()]))
        assert found["aurc"][number] == (pytest.approx(aurc(risk)) if GATED[number] else None)
        assert (found["raw_coverage"][number] is None) != OWN[number]
    assert [found[name][2] for name in ("aurc", "aurc_low", "risk_curve", "male_of_top_half")] == [None] * 4


def test_a_models_intervals_are_around_its_figures_and_none_where_nothing_is_qualified() -> None:
    rows = predictions(200, 5)
    nothing = rows.with_columns(qualified=pl.lit(False))
    found = figures_of(Outcomes.of_models([rows, nothing]), GATED[:2], OWN[:2], Draws(IDS))
    for name in ("male", "rmsle", "range_coverage", "aurc"):
        assert found[f"{name}_low"][0] < found[name][0] < found[f"{name}_high"][0], name
        assert (found[f"{name}_low"][1] is None) == (name != "aurc"), name
    assert [found[name][1] for name in ("male", "rmsle", "range_coverage", "range_width")] == [None] * 4
    off = (rows["predicted_log_price"] - rows["log_price"]).abs().filter(rows["qualified"])
    width = found["male_high"][0] - found["male_low"][0]
    assert 0.5 < width / (2 * 1.96 * off.std() / off.len() ** 0.5) < 2  # type: ignore[operator]


def test_what_is_not_qualified_has_no_part_in_the_figures_of_what_is() -> None:
    """Whatever is predicted for it: a range without an end, nothing at all."""
    rows = predictions(50, 8).with_row_index()
    bad = pl.col("index") == rows.filter(~pl.col("qualified"))["index"][0]
    nothing = [pl.when(~bad).then(name).otherwise(float("nan")).alias(name) for name in ("predicted_log_price",)]
    endless = pl.when(~bad).then("high_log_price").otherwise(float("inf")).alias("high_log_price")
    frames = [rows, rows.with_columns(*nothing, endless)]
    found = figures_of(Outcomes.of_models(frames), GATED[:2], OWN[:2], Draws(np.arange(50)))
    for name in ("male", "rmsle", "range_coverage", "range_width", "male_low", "rmsle_high", "range_coverage_low"):
        assert found[name][1] == found[name][0], name


def test_models_that_were_asked_for_other_listings_are_not_judged_together() -> None:
    rows = predictions(50, 8)
    with pytest.raises(ValueError, match="on the same listings"):
        Outcomes.of_models([rows, rows.reverse()])


def test_a_segment_is_judged_by_its_items_alone_and_fits_the_table() -> None:
    frames, few = [predictions(60, seed) for seed in range(2)], np.array([3, 7, 59])
    tested = Outcomes.of_models(frames)
    draws = Draws(np.arange(3))
    found = figures_of(tested.among(few), GATED[:2], OWN[:2], draws)
    assert found == figures_of(Outcomes.of_models([rows[few] for rows in frames]), GATED[:2], OWN[:2], draws)
    assert pl.DataFrame(found, schema_overrides=DTYPES).columns == list(found)
    assert set(found) == set(DTYPES)


def test_readings_of_one_baseline_share_a_curve_and_have_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read at several coverages it qualifies others, in the same order; another model's curve is its own."""
    rows, other = predictions(80, 1), predictions(80, 2).with_columns(predictions(80, 1)["log_price"])
    fewer = rows.with_columns(qualified=pl.col("qualification") >= 0.8)
    curves, aurcs = list[int](), segments.aurcs
    monkeypatch.setattr(segments, "aurcs", lambda off, *rest: curves.append(len(off)) or aurcs(off, *rest))
    found = figures_of(Outcomes.of_models([rows, other, fewer]), np.full(3, True), np.full(3, False), Draws(IDS[:80]))
    assert set(curves) == {2}
    assert found["aurc_low"][0] == found["aurc_low"][2] != found["aurc_low"][1]
    assert found["male_low"][0] != found["male_low"][2]


def test_a_curve_is_another_if_its_errors_or_its_order_are() -> None:
    off, order = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 3.0], [1.0, 2.0]]), np.array([[0, 1], [1, 0], [0, 1], [0, 1]])
    assert distinct(off, order) == ([0, 1, 2], [0, 1, 2, 0])
