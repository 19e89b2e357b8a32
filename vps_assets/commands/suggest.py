"""`vps suggest`: one suggestion for one photo, from the champion and the newest statistics."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from vps_assets.assets.champion_decisions import served_in_force
from vps_assets.errors import UserError
from vps_assets.home import Home
from vps_assets.tables.listings import CLEAN_LISTINGS
from vps_assets.tables.schemas import types
from vps_assets.warehouse.analytics import open_analytics
from vps_ml.evaluation.adaptation import rates_in_force
from vps_ml.features.statistics import with_statistics
from vps_ml.features.tabular import HISTORIES, TABULAR
from vps_ml.photos.decoding import ADVICE, QUALITY_COLUMNS, refuse_shape
from vps_ml.pricing.predictor import Predictor, suggestion


class NoChampion(UserError):
    """No model has been promoted yet."""


def suggest_one(image: Path, category: str, seller: str | None, home: Home) -> str:
    """The suggestion as JSON.

    Reads the analysts' copy, so it works while runs go on, and never waits for a run.

    Raises:
        NoChampion: nothing has been promoted.
        UserError: the photo cannot be decoded, or the champion needs a column that is gone.
    """
    if not home.analytics.exists():
        raise NoChampion("there is no champion yet: run `vps demo`, or `vps land` and `vps run`")
    with open_analytics(home) as analytics:
        in_force, adaptation = analytics.table("champion_model"), analytics.table("range_adaptation")
        histories = {history: analytics.table(f"{history}_statistics") for history in HISTORIES}
        currency = analytics.table("clean_listings", "currency is not null limit 1", ["currency"])["currency"]
    if in_force.is_empty():
        raise NoChampion("there is no champion yet: `vps run` trains and promotes one")
    champion = Predictor.load(home.artefacts, served_in_force(in_force, home.artefacts) or in_force["model_id"][0])
    try:
        refuse_shape(image)
        visual, quality = champion.embedded([image], champion.extractors())
        row = with_statistics(listing_of_today(category, seller), histories)
        (predicted,) = champion.predict(visual, row, rates_in_force(adaptation, champion.model_id))
    except ValueError as error:
        raise UserError(str(error)) from error
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
    given = {"listed_on": [datetime.now(UTC).date()], "category": [category], "seller_id": [seller]}
    clean = types(CLEAN_LISTINGS)
    absent = [pl.Series(name, [None], clean[name]) for name in TABULAR if name in clean and name not in given]
    return pl.DataFrame(given, schema_overrides={"seller_id": pl.String}).with_columns(absent)
