"""Reports of models whose predictions are known."""

import polars as pl

from vps_assets.assets.evaluation import reports


def test_figures_that_no_model_has_are_absent_numbers_in_every_segment() -> None:
    """A price without a gate, which qualifies nothing: no error of qualified items, no curve, no interval of one."""
    listings = [f"L{number}" for number in range(6)]
    predictions = pl.DataFrame({"listing_id": listings, "model_id": "m"}).with_columns(
        log_price=1.0,
        predicted_log_price=1.5,
        low_log_price=0.5,
        high_log_price=2.0,
        gate_logit=pl.lit(None, pl.Float64),
        qualification=0.0,
        qualified=False,
    )
    model = {"model_id": "m", "split_kind": "group", "constraint_kind": "baseline", "objective": "category_median"}
    items = pl.DataFrame({"listing_id": listings, "category": list("aabbcc"), "group_key": listings})
    rows = reports(predictions, pl.DataFrame([model]), items, 0.8, "run")
    assert rows["segment"].to_list() == ["all", "a", "b", "c"]
    assert rows["tested"].to_list() == [6, 2, 2, 2] and set(rows["male_of_all"]) == {0.5}
    for name in ("male", "rmsle", "aurc", "male_low", "aurc_high", "range_coverage"):
        assert rows[name].dtype == pl.Float64 and rows[name].null_count() == 4, name
    assert rows["risk_curve"].dtype == pl.List(pl.Float64)
