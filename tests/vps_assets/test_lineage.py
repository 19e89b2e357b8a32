from dataclasses import replace

import pytest

from vps_assets.lineage.graph import (
    LINEAGE,
    STATISTICS,
    WHOLE,
    Fingerprints,
    as_of,
    by_asset,
    desired_fingerprints,
    out_of_date,
    own_part,
    recorded_as,
    selected,
)
from vps_assets.lineage.retraining import DEFAULT
from vps_assets.orchestration.run import Plan, Request, layers, plans, stretches
from vps_ml.recipes import demo, small

KEYS = {"none": [WHOLE], "task": ["category", "price"], "coverage_target": ["0.5"], "error_tolerance": ["0.5"]}


SALES = 100
KEPT = [asset for asset, node in LINEAGE.items() if node.kept_as]


Made = dict[str, list[str]]


def run(
    landed: dict[str, str], before: Fingerprints, sales: int = SALES, content: str = "c"
) -> tuple[Made, Fingerprints]:
    """(what a full run makes, what is recorded after it): one asset after the other, as `vps run` does."""
    made: Made = {}
    recorded = dict(before)
    for asset, node in LINEAGE.items():
        desired = desired_fingerprints(landed, sales, recorded, demo(), KEYS)
        stale = out_of_date(desired, recorded).get(asset, [])
        told = bool(node.content or node.kept_as)
        if stale:
            made[asset] = stale
            recorded[asset] = {
                partition: recorded_as(basis, sales, content) if told and partition in stale else basis
                for partition, basis in desired[asset].items()
            }
    return made, recorded


def after_a_full_run(landed: dict[str, str]) -> Fingerprints:
    return run(landed, {})[1]


def stale_after(landed: dict[str, str], recorded: Fingerprints, sales: int = SALES) -> dict[str, list[str]]:
    return out_of_date(desired_fingerprints(landed, sales, recorded, demo(), KEYS), recorded)


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
    desired = desired_fingerprints({"2024-01-01": "a"}, SALES, recorded, small(), KEYS)
    assert "price_bounds" in out_of_date(desired, recorded)
    assert own_part("price_bounds", demo()) != own_part("price_bounds", small())


def test_a_day_whose_rows_have_moved_away_is_made_again_and_forgotten() -> None:
    recorded = after_a_full_run({"2024-01-01": "a", "2024-01-02": "b"})
    assert "2024-01-02" in stale_after({"2024-01-01": "a"}, recorded)["clean_listings"]


def test_refitted_bounds_make_every_day_stale() -> None:
    recorded = after_a_full_run({"2024-01-01": "a"})
    refitted = recorded | {"price_bounds": {WHOLE: recorded["price_bounds"][WHOLE] + "other"}}
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


def test_stale_days_are_joined_across_days_without_listings_and_a_week_of_fresh_ones() -> None:
    days = [f"2024-01-{day:02}" for day in range(1, 31)]
    assert stretches(["2024-01-01", "2024-01-09", "2024-01-18"], days) == [
        ("2024-01-01", "2024-01-09"),
        ("2024-01-18", "2024-01-18"),
    ]
    assert stretches(["2024-01-01", "2024-01-09", "2024-01-18"], days[:9] + days[17:]) == [("2024-01-01", "2024-01-18")]


def test_a_named_asset_is_made_although_it_is_up_to_date() -> None:
    request = Request("clean_listings")
    layer = next(layer for layer in layers() if "clean_listings" in layer)
    assert plans(layer, request, {}, KEYS, ["2024-01-01"]) == [Plan(("clean_listings",), "2024-01-01", "2024-01-01")]


def test_an_asset_that_a_plus_adds_is_made_only_if_stale() -> None:
    request = Request("+clean_listings")
    assert plans(("raw_listings",), request, {}, KEYS, ["2024-01-01"]) == []


def test_every_asset_is_in_exactly_one_layer_in_order() -> None:
    assert [asset for layer in layers() for asset in layer] == list(LINEAGE)


def test_a_new_day_keeps_what_was_fitted_and_makes_the_rest_anew() -> None:
    recorded = after_a_full_run({"2024-01-01": "a", "2024-01-02": "b"})
    made, _ = run({"2024-01-01": "a", "2024-01-02": "b", "2024-01-03": "c"}, recorded)
    assert not made.keys() & set(KEPT)
    assert made["image_embeddings"] == made["price_suggestions"] == ["2024-01-03"]
    assert made["evaluation_reports"] == made["champion_model"] == [WHOLE]


@pytest.mark.parametrize("asset", KEPT)
def test_what_was_fitted_is_fitted_again_once_it_is_outgrown(asset: str) -> None:
    recorded = after_a_full_run({"2024-01-01": "a"})
    outgrown = round(SALES * (1 + DEFAULT[LINEAGE[asset].kept_as].share))
    assert asset not in run({"2024-01-01": "a"}, recorded, outgrown - 1)[0]
    assert asset in run({"2024-01-01": "a"}, recorded, outgrown)[0]


def test_other_backbones_make_every_price_model_and_embedding_stale() -> None:
    recorded = after_a_full_run({"2024-01-01": "a"})
    recorded["task_backbones"] = {task: value + "other" for task, value in recorded["task_backbones"].items()}
    stale = stale_after({"2024-01-01": "a"}, recorded)
    assert {"image_embeddings", "percentile_pricing_models", "baseline_pricing_models", "ablation_reports"} <= set(
        stale
    )


def test_a_champion_that_is_confirmed_changes_no_suggestion() -> None:
    """Its evaluation is new, so it is judged again; as long as it stays in force, nothing that it priced is stale."""
    landed = {"2024-01-01": "a", "2024-01-02": "b"}
    recorded = after_a_full_run(landed)
    forgotten = {asset: made for asset, made in recorded.items() if asset != "champion_model"}
    assert run(landed, forgotten)[0] == {"champion_model": [WHOLE]}
    other = run(landed, forgotten, content="another model")[0]
    assert other["price_suggestions"] == ["2024-01-01", "2024-01-02"]
    assert other["corruption_reports"] == [WHOLE]


def saying(recorded: Fingerprints, **by_day: str) -> Fingerprints:
    """The same, with what each statistics table says as of days (d1 is the first of January)."""
    days = [(f"2024-01-{day[1:]:0>2}", digest) for day, digest in by_day.items()]
    return recorded | by_asset([(as_of(asset), day, digest) for asset in STATISTICS for day, digest in days])


def test_a_late_sale_makes_suggestions_stale_from_the_day_on_that_statistics_tell_of_it() -> None:
    """Listed on the 1st, sold on the 2nd: the 1st has a row less to price, the 3rd and later see other statistics."""
    landed = {f"2024-01-0{day}": "a" for day in range(1, 5)}
    recorded = run(landed, saying({}, d2="x", d4="y"))[1]
    assert run(landed, recorded)[0] == {}
    made, _ = run(landed | {"2024-01-01": "sold"}, saying(recorded, d2="x", d3="new", d4="other"))
    assert made["price_suggestions"] == ["2024-01-01", "2024-01-03", "2024-01-04"]


@pytest.mark.parametrize("changed", ["clean_listings", "seller_statistics", "image_embeddings"])
def test_other_code_above_them_makes_price_models_stale(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = after_a_full_run({"2024-01-01": "a"})
    other = dict(LINEAGE) | {changed: replace(LINEAGE[changed], code_version="other")}
    monkeypatch.setattr("vps_assets.lineage.graph.LINEAGE", other)
    assert {"percentile_pricing_models", "baseline_pricing_models", "ablation_reports"} <= set(
        run({"2024-01-01": "a"}, recorded)[0]
    )


def test_a_champion_that_was_judged_again_has_its_history_written() -> None:
    """A refusal leaves the champion as it was; if the run ends there, the next one still notes it."""
    recorded = after_a_full_run({"2024-01-01": "a"})
    basis, sales, content = recorded["champion_model"][WHOLE].split(":")
    judged_again = recorded | {"champion_model": {WHOLE: f"{basis}:{int(sales) + 1}:{content}"}}
    assert run({"2024-01-01": "a"}, judged_again)[0] == {"champion_history": [WHOLE]}


def test_several_seeds_train_and_judge_again_although_nothing_is_stale() -> None:
    made = {
        asset for layer in layers() for plan in plans(layer, Request(seeds=3), {}, KEYS, []) for asset in plan.assets
    }
    assert made == {
        "percentile_pricing_models", "threshold_pricing_models", "baseline_pricing_models", "ablation_reports",
        "evaluation_predictions", "evaluation_reports",
    }  # fmt: skip
