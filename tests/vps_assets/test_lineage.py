import polars as pl
import pytest

from vps_assets.lineage import (
    LINEAGE,
    WHOLE,
    Fingerprints,
    desired_fingerprints,
    out_of_date,
    own_part,
    selected,
)
from vps_assets.runs import Plan, Request, layers, outgrown, plans, stretches
from vps_ml.recipes import demo, small

KEYS = {"none": [WHOLE], "task": ["category", "price"], "coverage_target": ["0.5"], "error_tolerance": ["0.5"]}


def after_a_full_run(landed: dict[str, str]) -> Fingerprints:
    return desired_fingerprints(landed, {}, demo(), KEYS)


def stale_after(landed: dict[str, str], recorded: Fingerprints) -> dict[str, list[str]]:
    return out_of_date(desired_fingerprints(landed, recorded, demo(), KEYS), recorded)


def test_nothing_is_stale_after_a_full_run() -> None:
    assert stale_after({"2024-01-01": "a"}, after_a_full_run({"2024-01-01": "a"})) == {}


def test_everything_is_stale_before_the_first_run() -> None:
    assert set(stale_after({"2024-01-01": "a"}, {})) == set(LINEAGE)


def test_a_new_day_touches_its_own_partitions_of_the_daily_listings() -> None:
    stale = stale_after({"2024-01-01": "a", "2024-01-02": "b"}, after_a_full_run({"2024-01-01": "a"}))
    assert stale["raw_listings"] == stale["clean_listings"] == ["2024-01-02"]
    assert stale["seller_statistics"] == [WHOLE]
    assert "price_bounds" not in stale


def test_a_change_of_recipe_refits_the_bounds() -> None:
    recorded = after_a_full_run({"2024-01-01": "a"})
    desired = desired_fingerprints({"2024-01-01": "a"}, recorded, small(), KEYS)
    assert "price_bounds" in out_of_date(desired, recorded)
    assert own_part("price_bounds", demo()) != own_part("price_bounds", small())


def test_a_day_whose_rows_have_moved_away_is_made_again_and_forgotten() -> None:
    recorded = after_a_full_run({"2024-01-01": "a", "2024-01-02": "b"})
    assert "2024-01-02" in stale_after({"2024-01-01": "a"}, recorded)["clean_listings"]


def test_refitted_bounds_make_every_day_stale() -> None:
    recorded = after_a_full_run({"2024-01-01": "a"})
    refitted = recorded | {"price_bounds": {WHOLE: own_part("price_bounds", demo()) + ":other"}}
    assert stale_after({"2024-01-01": "a"}, refitted)["clean_listings"] == ["2024-01-01"]


def test_a_plus_takes_up_or_downstream_along() -> None:
    assert selected("+clean_listings") == {"clean_listings", "raw_listings", "price_bounds"}
    assert selected("champion_model+") == {
        "champion_model", "champion_history", "corruption_reports", "price_suggestions",
    }  # fmt: skip
    assert selected("raw_listings, seller_statistics") == {"raw_listings", "seller_statistics"}
    assert selected(None) == set(LINEAGE)


def test_an_unknown_asset_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="there is no asset 'prices'"):
        selected("prices+")


def test_stale_days_are_joined_across_days_without_listings_but_not_across_fresh_ones() -> None:
    days = ["2024-01-01", "2024-01-03", "2024-01-05", "2024-01-07"]
    assert stretches(["2024-01-01", "2024-01-03", "2024-01-07"], days) == [
        ("2024-01-01", "2024-01-03"),
        ("2024-01-07", "2024-01-07"),
    ]


def test_a_named_asset_is_made_although_it_is_up_to_date() -> None:
    request = Request("clean_listings")
    layer = next(layer for layer in layers() if "clean_listings" in layer)
    assert plans(layer, request, {}, KEYS, ["2024-01-01"]) == [Plan(("clean_listings",), "2024-01-01", "2024-01-01")]


def test_an_asset_that_a_plus_adds_is_made_only_if_stale() -> None:
    request = Request("+clean_listings")
    assert plans(("raw_listings",), request, {}, KEYS, ["2024-01-01"]) == []


def test_every_asset_is_in_exactly_one_layer_in_order() -> None:
    assert [asset for layer in layers() for asset in layer] == list(LINEAGE)


def test_bounds_are_outgrown_when_half_as_many_sales_again_have_landed() -> None:
    def landed(sold: int) -> pl.DataFrame:
        rows = [(1.0, [])] * sold + [(None, [])] * 50 + [(1.0, ["bad"])] * 50
        return pl.DataFrame(
            rows, schema={"sold_price": pl.Float64, "landing_reasons": pl.List(pl.String)}, orient="row"
        )

    bounds = pl.DataFrame({"sales": [100]})
    assert [outgrown(bounds, landed(n)) for n in (100, 149, 150)] == [False, False, True]
    assert not outgrown(None, landed(10))


def test_several_seeds_train_and_judge_again_although_nothing_is_stale() -> None:
    made = {
        asset for layer in layers() for plan in plans(layer, Request(seeds=3), {}, KEYS, []) for asset in plan.assets
    }
    assert made == {
        "percentile_pricing_models", "threshold_pricing_models", "baseline_pricing_models", "ablation_reports",
        "evaluation_predictions", "evaluation_reports",
    }  # fmt: skip
