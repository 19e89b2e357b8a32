"""The warnings, each on a table in which one thing is unusual, run by Dagster as the UI does."""

from datetime import date, timedelta

import dagster as dg
import numpy as np
import polars as pl
import pytest
from conftest import evaluated

from vps_assets.assets import drift_checks
from vps_assets.home import Home
from vps_assets.warehouse.database import Warehouse
from vps_ml.backbones.files import save_embeddings

FIRST = date(2024, 1, 1)


def days(*rows: int) -> pl.Series:
    """`listed_on` of so many rows on each day from the first on."""
    return pl.Series(
        [FIRST + timedelta(days=day) for day, count in enumerate(rows) for _ in range(count)], dtype=pl.Date
    )


def unusual(
    home: Home, check: dg.AssetChecksDefinition, tags: dict[str, str] | None = None, **tables: pl.DataFrame
) -> str:
    """What the check finds unusual in these tables; it never blocks."""
    for name, rows in tables.items():
        Warehouse(home).replace(name, rows, "true", [], {})
    evaluation, succeeded = evaluated(check, home, tags)
    assert succeeded
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert evaluation.passed == (evaluation.metadata["unusual"].value == "nothing")
    return evaluation.metadata["unusual"].value


@pytest.mark.parametrize(("newest", "words"), [(20, "nothing"), (7, "nothing"), (6, "6 rows"), (61, "61 rows")])
def test_a_day_with_under_a_third_or_over_three_times_the_usual_rows_warns(home: Home, newest: int, words: str) -> None:
    rows = pl.DataFrame({"listed_on": days(*[20] * 10, newest)})
    assert unusual(home, drift_checks.as_many_rows_as_usual, raw_listings=rows).startswith(words)


def test_a_backfill_is_judged_by_its_newest_day_against_the_days_before_it(home: Home) -> None:
    rows = pl.DataFrame({"listed_on": days(*[20] * 10, 1, *[20] * 5)})
    tags = {"dagster/asset_partition_range_start": "2024-01-09", "dagster/asset_partition_range_end": "2024-01-11"}
    assert "1 rows where 20" in unusual(home, drift_checks.as_many_rows_as_usual, tags, raw_listings=rows)


def test_today_is_not_judged_for_it_still_comes_in(home: Home) -> None:
    today = date.today()
    listed = [today - timedelta(days=ago) for ago in range(10, 0, -1) for _ in range(20)] + [today]
    rows = pl.DataFrame({"listed_on": listed})
    assert unusual(home, drift_checks.as_many_rows_as_usual, raw_listings=rows) == "nothing"


def labelled(brands: list, attributes: list) -> pl.DataFrame:
    """Forty rows a day: usual ones on ten days, then these."""
    usual, now = 400, len(brands)
    return pl.DataFrame(
        {
            "listed_on": days(*[40] * 10, now),
            "brand": ["Acme"] * usual + brands,
            "seller_id": ["S1"] * (usual + now),
            "attributes": [["red"]] * usual + attributes,
            "specifications": [["XL"]] * (usual + now),
        }
    )


def test_labels_that_went_missing_warn_by_name(home: Home) -> None:
    rows = labelled([None] * 12 + ["Acme"] * 28, [[]] * 30 + [["red"]] * 10)
    found = unusual(home, drift_checks.labels_are_there, clean_listings=rows)
    assert found == "brand: 30% missing, 0% before; attributes: 75% missing, 0% before"


def test_a_few_missing_labels_do_not_warn(home: Home) -> None:
    rows = labelled([None] * 8 + ["Acme"] * 32, [["red"]] * 40)
    assert unusual(home, drift_checks.labels_are_there, clean_listings=rows) == "nothing"


@pytest.mark.parametrize(("kept_out", "words"), [(8, "nothing"), (9, "22% of 2024-01-02")])
def test_a_day_of_which_over_a_fifth_is_kept_out_warns_with_the_reasons(home: Home, kept_out: int, words: str) -> None:
    out = pl.DataFrame(
        {"listed_on": [FIRST + timedelta(days=1)] * kept_out, "reasons": [["photo is missing"]] * kept_out}
    )
    found = unusual(
        home,
        drift_checks.few_rows_are_kept_out,
        raw_listings=pl.DataFrame({"listed_on": days(40, 40)}),
        quarantined_listings=out,
    )
    assert found.startswith(words)
    assert ("photo is missing" in found) == (words != "nothing")


def sold(shift: float) -> pl.DataFrame:
    """Sales of two categories over 40 days; the phones' log prices of the last week are moved."""
    rng = np.random.default_rng(0)
    frames = []
    for category in ("phone", "shoes"):
        day = np.repeat(np.arange(40), 12)
        price = rng.normal(3, 0.8, day.size) + shift * ((day >= 33) & (category == "phone"))
        frames.append(
            pl.DataFrame(
                {
                    "category": category,
                    "sold_on": [FIRST + timedelta(days=int(d)) for d in day],
                    "log_price": price,
                    "time_split": np.where(day < 25, "train", "test"),
                }
            )
        )
    return pl.concat(frames)


def test_prices_that_moved_warn_by_category(home: Home) -> None:
    found = unusual(home, drift_checks.prices_are_as_they_were, clean_listings=sold(1.0))
    assert found.startswith("phone: PSI")
    assert "shoes" not in found


def test_prices_that_did_not_move_do_not_warn(home: Home) -> None:
    assert unusual(home, drift_checks.prices_are_as_they_were, clean_listings=sold(0.0)) == "nothing"


@pytest.mark.parametrize(("shift", "words"), [(0.0, "nothing"), (1.0, "the mean moved by")])
def test_photos_that_look_different_warn(home: Home, shift: float, words: str) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for day in range(20):
        features = rng.normal(size=(30, 16)) + shift * (day >= 13)
        path = f"embeddings/e/{day}.safetensors"
        save_embeddings(home.path / path, {"category": features.astype(np.float16)}, np.zeros((30, 4)))
        rows += [(FIRST + timedelta(days=day), path, row, ["category"], "e") for row in range(30)]
    stored = pl.DataFrame(rows, schema=["listed_on", "path", "row", "tasks", "embedding_id"], orient="row")
    assert unusual(home, drift_checks.photos_are_as_they_were, image_embeddings=stored).startswith(words)


def report(coverage: float, tested: int) -> pl.DataFrame:
    row = {
        "constraint_kind": "percentile", "segment": "all", "objective": "cross_fitted", "split_kind": "time",
        "constraint_value": 0.7, "coverage": coverage, "tested": tested,
    }  # fmt: skip
    return pl.DataFrame([row])


@pytest.mark.parametrize(
    ("coverage", "tested", "words"),
    [(0.65, 2000, "nothing"), (0.5, 2000, "cross_fitted, time split, δ 0.7"), (0.5, 60, "nothing")],
)
def test_a_coverage_off_its_target_warns_where_it_is_not_luck(
    home: Home, coverage: float, tested: int, words: str
) -> None:
    found = unusual(home, drift_checks.coverage_is_what_was_asked_for, evaluation_reports=report(coverage, tested))
    assert found.startswith(words)


@pytest.mark.parametrize(("priced", "words"), [(140, "nothing"), (20, "10% get a price")])
def test_few_sellers_with_a_price_warn(home: Home, priced: int, words: str) -> None:
    rows = pl.DataFrame({"listed_on": days(200), "qualified": [True] * priced + [False] * (200 - priced)})
    assert unusual(home, drift_checks.sellers_get_prices, price_suggestions=rows).startswith(words)


@pytest.mark.parametrize(
    ("covered", "words"),
    [({"all": 480, "phone": 48}, "nothing"), ({"all": 390, "phone": 48}, "all: 65% of 600"),
     ({"all": 480, "phone": 30}, "phone: 50% of 60"), ({"all": 480, "vase": 3}, "nothing")],
)  # fmt: skip
def test_ranges_that_hold_less_than_they_promise_warn_in_all_and_by_category(
    home: Home, covered: dict[str, int], words: str
) -> None:
    tested = {"all": 600, "phone": 60, "vase": 9}
    rows = [
        {"model_id": "m", "as_of": FIRST, "segment": name, "miss_rate": 0.2, "learnt_from": 0, "tested": tested[name],
         "covered": count, "covered_static": count, "range_level": 0.8}
        for name, count in covered.items()
    ]  # fmt: skip
    assert words in unusual(home, drift_checks.ranges_hold, range_adaptation=pl.DataFrame(rows))


def test_only_the_newest_sales_say_whether_ranges_hold(home: Home) -> None:
    """The first day was bad; five hundred newer sales have come since."""
    rows = [
        {"model_id": "m", "as_of": FIRST + timedelta(days=day), "segment": "all", "miss_rate": 0.2, "learnt_from": 0,
         "tested": 300, "covered": covered, "covered_static": covered, "range_level": 0.8}
        for day, covered in enumerate((100, 240, 240))
    ]  # fmt: skip
    assert unusual(home, drift_checks.ranges_hold, range_adaptation=pl.DataFrame(rows)) == "nothing"
