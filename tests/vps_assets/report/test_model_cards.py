"""What a model's card says, and what a new champion changed."""

from datetime import UTC, datetime

import polars as pl

from vps_assets.report.changes import change_tables
from vps_assets.report.model_cards import all_reports, card_markdown, model_cards
from vps_assets.report.published import Published

CHAMPION = {
    "inputs": "photo", "model_id": "m", "served_as": "r", "decision": "promoted", "evidence": "there was no champion",
}  # fmt: skip
CARDS = {
    "m": {"trained_on": 1400, "first_listed_on": "2024-05-01", "last_listed_on": "2024-06-30", "seed": 0,
          "recipe": {"name": "small"}},
    "r": {"trained_on": 2000, "first_listed_on": "2024-05-01", "last_listed_on": "2024-07-29"},
}  # fmt: skip


def row(segment: str, male: float, low: float, high: float, qualified: int) -> dict:
    return {
        "model_id": "m", "segment": segment, "split_kind": "time", "tested": 2 * qualified, "qualified": qualified,
        "coverage": 0.5, "constraint_value": 0.7, "male": male, "male_low": low, "male_high": high, "male_of_all": 0.6,
        "aurc": 0.4, "aurc_low": 0.3, "aurc_high": 0.5, "range_coverage": 0.79, "range_level": 0.8,
    }  # fmt: skip


REPORTS = pl.DataFrame(
    [row("all", 0.4, 0.38, 0.42, 500), row("phone", 0.5, 0.45, 0.55, 50), row("shoes", 0.45, 0.39, 0.5, 60),
     row("bags", 0.9, 0.8, 1.0, 19)]
)  # fmt: skip


def test_a_card_says_what_it_learnt_from_how_good_it_is_and_where_it_is_surely_weak() -> None:
    (card,) = model_cards(pl.DataFrame([CHAMPION]), REPORTS, lambda model_id: CARDS.get(model_id, {}))
    told = dict(card.facts)
    assert told["judged"] == "m, fitted on 1,400 sold listings of 2024-05-01 to 2024-06-30"
    assert told["prices"] == "r, fitted on 2,000 sold listings of 2024-05-01 to 2024-07-29"
    assert told["recipe"] == "small, seed 0"
    assert told["tested on"].startswith("1,000 listings that it had not seen")
    assert "0.4000 [0.3800, 0.4200]" in told["MALE"]
    assert told["weak where"] == "phone (MALE 0.5000 [0.4500, 0.5500], 50 priced); too few tested to tell: bags"
    assert "| MALE | 0.4000" in card_markdown(card)


def test_a_champion_that_is_older_than_what_is_evaluated_or_has_lost_its_files_says_so() -> None:
    (card,) = model_cards(pl.DataFrame([CHAMPION]), REPORTS.clear(), lambda model_id: {})
    told = dict(card.facts)
    assert told["judged"] == "m; its files are gone"
    assert told["figures"] == "it is older than the models that are evaluated now"


def test_a_model_that_is_in_both_reports_is_told_once() -> None:
    both = all_reports(REPORTS, REPORTS.with_columns(inputs=pl.lit("photo")))
    assert both.height == REPORTS.height


def test_what_a_new_champion_changed_is_counted_and_its_largest_moves_named() -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    rows = pl.DataFrame(
        {
            "listing_id": ["L1", "L2", "L3", "L4"], "inputs": "photo", "model_id_before": "a", "model_id": "b",
            "qualified_before": [True, True, True, False], "qualified": [True, True, False, True],
            "suggested_price_before": [10.0, 10.0, 10.0, None], "suggested_price": [20.0, 10.1, None, 5.0],
            "log_change": [0.6931471805599453, 0.00995, None, None], "suggested_at": at,
        }
    )  # fmt: skip
    counts, most = change_tables(Published({"suggestion_changes": rows}))
    assert counts.rows == [("the photo", "4", "1 of 2", "1 up, 0 down", "42.13%", "1", "1")]
    assert [row[0] for row in most.rows] == ["L1", "L2"]
    assert most.rows[0][4] == "+100%"
    (empty,) = change_tables(Published({"suggestion_changes": pl.DataFrame()}))
    assert list(empty.rows) == []
