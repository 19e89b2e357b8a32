"""Which listings are judged although cleaning took them out, and what they make of the error."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from scenario import listing, rows_landed

from vps_assets.assets import out_of_bounds
from vps_assets.assets.evaluation import with_male_of_landed
from vps_assets.assets.features import sampled
from vps_assets.assets.listings import cleaned, fitted_bounds
from vps_assets.assets.out_of_bounds import beyond_bounds
from vps_assets.home import Home
from vps_assets.tables.splits import with_roles
from vps_ml.features.tabular import GROUP_OF, MOMENTS


def statistics() -> dict[str, pl.DataFrame]:
    """Of no sale at all."""
    columns = {"as_of": pl.Series([], dtype=pl.Date), "sales": pl.Series([], dtype=pl.Int64)}
    columns |= {moment: pl.Series([], dtype=pl.Float64) for moment in MOMENTS}
    return {
        history: pl.DataFrame(columns | ({key: pl.Series([], dtype=pl.String)} if key else {}))
        for history, key in GROUP_OF.items()
    }


def test_test_listings_with_an_absurd_price_alone_are_judged(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty listings over twenty days; every sixth sold for a million, one of an item that sold before for less."""
    rows = [
        listing(
            n, listed_at=listing(0)["listed_at"] + timedelta(days=n // 3), sold_price=1e6 if n % 6 == 0 else 10.0 + n
        )
        for n in range(1, 61)
    ]
    rows = [row | {"sold_at": row["listed_at"] + timedelta(hours=1)} for row in rows]
    rows[-1]["group_id"] = rows[0]["group_id"] = "twice"
    raw = rows_landed(home, rows, tmp_path)
    bounds = fitted_bounds(raw, (0.0, 0.5), 0.6, 0.2).with_columns(lower_price=pl.lit(1.0), upper_price=pl.lit(1000.0))
    own = with_roles(cleaned(raw, bounds))
    beyond = beyond_bounds(raw, bounds, own, statistics(), 10**9)
    assert beyond.height > 0
    assert set(beyond["log_price"].exp().round(0)) == {1e6}
    for split in ("group", "time"):
        tested = beyond.filter(pl.col(f"{split}_role") == "test")
        learnt = own.filter(pl.col(f"{split}_role").is_in(["train", "validation"]))
        assert set(tested["group_key"]).isdisjoint(learnt["group_key"])
        assert set(beyond[f"{split}_role"].unique()) <= {"test", None}
    assert all(day > bounds["validation_until"][0] for day in beyond.filter(pl.col("time_role") == "test")["listed_on"])
    assert isinstance(beyond["listed_on"][0], date)
    sold = own["log_price"].count()
    asked = list[tuple]()
    monkeypatch.setattr(out_of_bounds, "share_taken", lambda *counts: asked.append(counts) or 0.03)
    some = beyond_bounds(raw, bounds, own, statistics(), sold // 2)
    assert asked == [(sold, sold // 2)], "models that are judged on a sample are so on one of these by the same share"
    assert some.equals(sampled(beyond, 0.03)) and some.height < beyond.height


def test_the_error_over_all_landed_prices_counts_what_cleaning_took_out() -> None:
    """By hand: four listings off by .5 on average, and two off by 2 and 4: (4 · .5 + 6) / 6."""
    reports = pl.DataFrame(
        {"model_id": ["a", "a", "b"], "segment": ["all", "phone", "all"], "male_of_all": [0.5, 0.4, 0.3],
         "tested": [4, 2, 4]}
    )  # fmt: skip
    beyond = pl.DataFrame({"model_id": ["a", "a"], "log_price": [5.0, 1.0], "predicted_log_price": [3.0, 5.0]})
    found = with_male_of_landed(reports, beyond)
    assert found["male_of_landed"].to_list() == [pytest.approx(8 / 6), None, pytest.approx(0.3)]
    assert found["out_of_bounds"].to_list() == [2, None, 0]
