"""What is out of date after something has landed, and the runs that make it."""

from datetime import date, timedelta

import pytest
from simulated_runs import KEYS, SALES, after_a_full_run, run, stale_after, with_made

from vps_assets.lineage.fingerprints import Records
from vps_assets.lineage.graph import LAYERS, LINEAGE
from vps_assets.lineage.planning import Plan, Request, date_ranges, few_fresh_between, next_day, plans
from vps_assets.lineage.retraining import DEFAULT_POLICIES
from vps_assets.tables.partitions import WHOLE

KEPT = [asset for asset, node in LINEAGE.items() if node.kept_as]


def test_nothing_is_stale_after_a_full_run() -> None:
    assert stale_after({"2024-01-01": "a"}, after_a_full_run({"2024-01-01": "a"})) == {}


def test_everything_is_stale_before_the_first_run() -> None:
    assert set(stale_after({"2024-01-01": "a"}, Records())) == set(LINEAGE)


def test_a_new_day_touches_its_own_partitions_of_the_daily_listings() -> None:
    stale = stale_after({"2024-01-01": "a", "2024-01-02": "b"}, after_a_full_run({"2024-01-01": "a"}))
    assert stale["raw_listings"] == stale["clean_listings"] == ["2024-01-02"]
    assert stale["seller_statistics"] == [WHOLE]
    assert "price_bounds" not in stale


def test_a_day_whose_rows_have_moved_away_is_made_again_and_forgotten() -> None:
    recorded = after_a_full_run({"2024-01-01": "a", "2024-01-02": "b"})
    assert "2024-01-02" in stale_after({"2024-01-01": "a"}, recorded)["clean_listings"]


def test_stale_days_are_joined_across_days_without_listings_and_thirty_fresh_ones() -> None:
    days = [str(date(2024, 1, 1) + timedelta(days=number)) for number in range(90)]
    stale = [days[0], days[31], days[63]]  # 30 fresh dates between, then 31
    assert date_ranges(stale, few_fresh_between(days)) == [(days[0], days[31]), (days[63], days[63])]
    assert date_ranges(stale, few_fresh_between(days[:40] + days[50:])) == [(days[0], days[63])]


def test_a_named_asset_is_made_although_it_is_up_to_date() -> None:
    request = Request("clean_listings")
    layer = next(layer for layer in LAYERS if "clean_listings" in layer)
    assert plans(layer, request, {}, ["2024-01-01"], KEYS) == [Plan(("clean_listings",), "2024-01-01", "2024-01-01")]


def test_an_asset_that_a_plus_adds_is_made_only_if_stale() -> None:
    request = Request("+clean_listings")
    assert plans(("raw_listings",), request, {}, ["2024-01-01"], KEYS) == []


def test_a_new_day_keeps_what_was_fitted_and_makes_the_rest_again() -> None:
    recorded = after_a_full_run({"2024-01-01": "a", "2024-01-02": "b"})
    made, _ = run({"2024-01-01": "a", "2024-01-02": "b", "2024-01-03": "c"}, recorded)
    assert not made.keys() & set(KEPT)
    assert made["image_embeddings"] == made["price_suggestions"] == ["2024-01-03"]
    assert made["evaluation_reports"] == made["champion_model"] == [WHOLE]


def runs_of_a_new_day(request: Request, **stale: list[str]) -> list[set[str]]:
    """The assets of each run after a new day, with further assets out of date: each layer planned after the other."""
    recorded = after_a_full_run({"2024-01-01": "a"})
    left = stale_after({"2024-01-01": "a", "2024-01-02": "b"}, recorded) | stale
    runs = []
    for layer in LAYERS:
        for plan in plans(layer, request, left, ["2024-01-01", "2024-01-02"], KEYS):
            runs.append(set(plan.assets))
            left = {asset: partitions for asset, partitions in left.items() if asset not in plan.assets}
    return runs


def test_after_a_new_day_what_waits_for_nothing_that_is_kept_is_made_together() -> None:
    daily, whole, suggested, *informs = runs_of_a_new_day(Request())
    assert daily == {"raw_listings", "clean_listings", "quarantined_listings", "image_embeddings", "text_embeddings"}
    assert whole >= {"seller_statistics", "evaluation_predictions", "model_comparisons", "champion_model"}
    assert suggested == {"price_suggestions", "suggestion_comparables", "suggestion_history"}
    assert not whole & {"corruption_reports", "sale_chances"}, "the champion may be confirmed: then they are kept"
    assert len(informs) == 1 and "suggestion_changes" in informs[0]


def test_what_is_fitted_anew_is_waited_for() -> None:
    landed, clean, *_ = runs_of_a_new_day(Request(), price_bounds=[WHOLE])
    assert landed == {"raw_listings"}
    assert clean == {"price_bounds"}
    daily, *_ = runs_of_a_new_day(Request(), task_backbones=["category"])
    assert "text_embeddings" in daily and "image_embeddings" not in daily
    runs = runs_of_a_new_day(Request(), percentile_pricing_models=["0.5"])
    fitted = next(number for number, made in enumerate(runs) if "percentile_pricing_models" in made)
    assert all("evaluation_predictions" not in made for made in runs[:fitted])


def test_runs_make_an_asset_once_and_after_all_that_it_is_made_from() -> None:
    for stale in (
        {},
        {"price_bounds": [WHOLE]},
        {"task_backbones": ["category"]},
        {"ablation_pricing_models": [WHOLE]},
    ):
        for request in (Request(), Request("+champion_model"), Request("clean_listings+"), Request(seeds=2)):
            runs = runs_of_a_new_day(request, **stale)
            made = [asset for run in runs for asset in run]
            assert len(made) == len(set(made)), request
            number = {asset: i for i, run in enumerate(runs) for asset in run}
            for asset in made:
                assert all(number.get(parent, 0) <= number[asset] for parent in LINEAGE[asset].parents), asset
                assert len({LINEAGE[other].partitions for other in runs[number[asset]]}) == 1


REQUESTS = (
    Request(),
    Request("seller_statistics+"),
    Request("clean_listings+"),
    Request("+champion_model"),
    Request(first=date(2024, 1, 2)),
    Request("raw_listings+", last=date(2024, 1, 1)),
    Request(seeds=2),
)


@pytest.mark.parametrize("sales", [SALES, 2 * SALES])
@pytest.mark.parametrize("request_", REQUESTS)
def test_no_asset_is_made_twice_whatever_stays_out_of_date(request_: Request, sales: int) -> None:
    """Two dates have changed; what is recorded after each run is what it was made from, as the warehouse has it."""
    landed = {"2024-01-01": "a2", "2024-01-02": "b"}
    recorded, layers_of = after_a_full_run({"2024-01-01": "a"}), dict[str, set[int]]()
    for number, layer in enumerate(LAYERS):
        for plan in plans(layer, request_, stale_after(landed, recorded, sales), sorted(landed), KEYS):
            for asset in plan.assets:
                layers_of.setdefault(asset, set()).add(number)
                now = stale_after(landed, recorded, sales).get(asset, [])
                recorded = with_made(recorded, asset, landed, sales, [p for p in now if within(p, plan)])
    assert {asset: layers for asset, layers in layers_of.items() if len(layers) > 1} == {}


def within(partition: str, plan: Plan) -> bool:
    """Whether a run makes a partition."""
    return plan.first is None or plan.last is None or plan.first <= partition <= plan.last


@pytest.mark.parametrize("asset", KEPT)
def test_what_was_fitted_is_fitted_again_once_sales_have_outgrown_it(asset: str) -> None:
    recorded = after_a_full_run({"2024-01-01": "a"})
    outgrown = round(SALES * (1 + DEFAULT_POLICIES[LINEAGE[asset].kept_as].share))
    assert asset not in run({"2024-01-01": "a"}, recorded, outgrown - 1)[0]
    assert asset in run({"2024-01-01": "a"}, recorded, outgrown)[0]


def test_several_seeds_train_and_judge_again_although_nothing_is_stale() -> None:
    made = {asset for layer in LAYERS for plan in plans(layer, Request(seeds=3), {}, [], KEYS) for asset in plan.assets}
    assert made == {
        "percentile_pricing_models", "threshold_pricing_models", "baseline_pricing_models",
        "ablation_pricing_models", "evaluation_predictions", "evaluation_reports", "ablation_reports",
        "model_comparisons", "words_pricing_models", "words_reports",
    }  # fmt: skip


def test_dates_in_a_row_are_one_range_across_the_end_of_a_month() -> None:
    assert date_ranges(["2024-01-31", "2024-02-01", "2024-02-03"], next_day) == [
        ("2024-01-31", "2024-02-01"),
        ("2024-02-03", "2024-02-03"),
    ]
