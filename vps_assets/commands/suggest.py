"""One suggestion for one photo, from the champion and the newest statistics."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from vps_assets.home import Home
from vps_ml.photos.decoding import ADVICE, QUALITY_COLUMNS

CURRENCY = "select any_value(currency) from clean_listings where currency is not null"


class NoChampion(LookupError):
    """No model has been promoted yet."""


def suggest_one(image: Path, category: str, seller: str | None, home: Home) -> str:
    """The suggestion as JSON (contract, "One suggestion").

    Reads the analysts' copy, so it works while runs go on, and at most waits for nobody.

    Raises:
        NoChampion: nothing has been promoted.
        ValueError: the photo cannot be decoded.
    """
    import duckdb

    from vps_assets.assets.statistics import with_statistics
    from vps_ml.pricing.predictor import Champion, suggestion

    if not home.analytics.exists():
        raise NoChampion("there is no champion yet: run `vps demo`, or `vps land` and `vps run`")
    with duckdb.connect(str(home.analytics), read_only=True) as connection:
        tables = {name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()}
        if "champion_model" not in tables:
            raise NoChampion("there is no champion yet: `vps run` trains and promotes one")

        def frame(table: str) -> pl.DataFrame:
            return pl.DataFrame(connection.execute(f'from "{table}"').to_arrow_table())

        histories = {h: frame(f"{h}_statistics") for h in ("marketplace", "category", "seller")}
        (folder,) = frame("champion_model")["path"]
        (currency,) = connection.execute(CURRENCY).fetchall()[0]
    champion = Champion.load(home.path / folder)
    visual, quality = champion.features_of([image], champion.extractors(home.path)[0])
    asked = pl.DataFrame(
        {"listed_on": [datetime.now(UTC).date()], "category": [category], "seller_id": [seller]},
        schema_overrides={"seller_id": pl.String},
    )
    row = with_statistics(asked, histories)
    (priced,) = champion.judge(visual, row)
    measured = dict(zip(QUALITY_COLUMNS, quality[0], strict=True))
    told = suggestion(priced, measured)
    answer = {
        "qualified": told["qualified"],
        "suggested_price": told["suggested_price"],
        "low": told["low"],
        "high": told["high"],
        "currency": currency,
        "qualification": round(told["qualification"], 4),
        "reason": told["reason"],
        "model_id": champion.model_id,
    }
    if told["reason"]:
        answer["advice"] = ADVICE[told["reason"]]
    return json.dumps(answer)
