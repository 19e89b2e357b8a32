"""`vps suggest`: one suggestion for one photo, from the champion and the newest statistics."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from vps_assets.errors import UserError
from vps_assets.home import Home
from vps_assets.warehouse.analytics import open_analytics
from vps_ml.features.statistics import with_statistics
from vps_ml.features.tabular import HISTORIES, TABULAR
from vps_ml.photos.decoding import ADVICE, QUALITY_COLUMNS
from vps_ml.pricing.predictor import Predictor, suggestion


class NoChampion(UserError):
    """No model has been promoted yet."""


def suggest_one(image: Path, category: str, seller: str | None, home: Home) -> str:
    """The suggestion as JSON (contract, "One suggestion").

    Reads the analysts' copy, so it works while runs go on, and never waits for a run.

    Raises:
        NoChampion: nothing has been promoted.
        UserError: the photo cannot be decoded.
    """
    if not home.analytics.exists():
        raise NoChampion("there is no champion yet: run `vps demo`, or `vps land` and `vps run`")
    with open_analytics(home) as analytics:
        champion_ids = analytics.table("champion_model")["model_id"].to_list()
        histories = {history: analytics.table(f"{history}_statistics") for history in HISTORIES}
        currency = analytics.table("clean_listings", "currency is not null limit 1", ["currency"])["currency"]
    if not champion_ids:
        raise NoChampion("there is no champion yet: `vps run` trains and promotes one")
    champion = Predictor.load(home.artefacts, champion_ids[0])
    try:
        visual, quality = champion.embedded([image], champion.extractors())
    except ValueError as error:
        raise UserError(str(error)) from error
    row = with_statistics(listing_of_today(category, seller), histories)
    (predicted,) = champion.predict(visual, row)
    answer = suggestion(predicted, dict(zip(QUALITY_COLUMNS, quality[0], strict=True)))
    shown = {
        "qualified": answer["qualified"],
        "suggested_price": answer["suggested_price"],
        "low": answer["low"],
        "high": answer["high"],
        "currency": currency[0] if currency.len() else None,
        "qualification": round(answer["qualification"], 4),
        "reason": answer["reason"],
        "model_id": champion.model_id,
    }
    if answer["reason"]:
        shown["advice"] = ADVICE[answer["reason"]]
    return json.dumps(shown)


def listing_of_today(category: str, seller: str | None) -> pl.DataFrame:
    """The row of a listing of today; the tabular columns that its seller has not given are missing."""
    statistics = {name for name in TABULAR if name.startswith(tuple(f"{history}_" for history in HISTORIES))}
    given = {"listed_on": [datetime.now(UTC).date()], "category": [category], "seller_id": [seller]}
    absent = {name: [None] for name in TABULAR if name not in statistics and name not in given}
    return pl.DataFrame({**given, **absent}, schema_overrides={"seller_id": pl.String})
