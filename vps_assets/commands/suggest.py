"""`vps suggest`: one suggestion for what a seller shows and says, from the champion and the newest statistics."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from vps_assets.assets.champion_decisions import champion_of, served_in_force
from vps_assets.errors import UserError
from vps_assets.home import Home
from vps_assets.landing.cells import typed_rows
from vps_assets.tables.listings import CLEAN_LISTINGS, WORDS
from vps_assets.tables.schemas import types
from vps_assets.warehouse.analytics import open_analytics
from vps_ml.evaluation.adaptation import rates_in_force
from vps_ml.evaluation.advice import PHOTO, PIECES, SHARPER
from vps_ml.features.given import inputs_of_rows
from vps_ml.features.statistics import with_statistics
from vps_ml.features.tabular import ALL_HISTORIES, TABULAR
from vps_ml.photos.decoding import ADVICE, QUALITY_COLUMNS, refuse_shape
from vps_ml.pricing.predictor import Predictor, suggestion


class NoChampion(UserError):
    """No model has been promoted yet."""


@dataclass(frozen=True)
class Offer:
    """What a seller shows and says; None where nothing."""

    category: str
    image: Path | None = None
    seller: str | None = None
    title: str | None = None
    description: str | None = None
    brand: str | None = None
    condition: str | None = None
    attributes: tuple[str, ...] = ()
    specifications: tuple[str, ...] = ()

    def row(self) -> pl.DataFrame:
        """The row of a listing of today, its words as they would land; what its seller has not given is missing.

        Raises:
            UserError: a text is longer than one may land.
        """
        given = {"category": self.category, "seller_id": self.seller, "brand": self.brand}
        words = {name: getattr(self, name) for name in WORDS}
        for name, most in WORDS.items():
            if len(words[name] or "") > most:
                raise UserError(f"the {name} is longer than {most:,} characters: shorten it")
        lists = {name: list(getattr(self, name)) or None for name in ("attributes", "specifications")}
        schema = dict.fromkeys([*given, *words], pl.String) | dict.fromkeys(lists, pl.List(pl.String))
        raw = pl.DataFrame([given | words | lists], schema=schema)
        return listing_of_today(typed_rows(raw).frame)


def suggest_one(offer: Offer, home: Home) -> str:
    """The suggestion as JSON, by what there is: the photo, what the seller says, or both.

    Reads the analysts' copy, so it works while runs go on, and never waits for a run.

    Raises:
        NoChampion: nothing has been promoted.
        UserError: the photo cannot be decoded, there is neither photo nor words, or a column is gone.
    """
    if not home.analytics.exists():
        raise NoChampion("there is no champion yet: run `vps demo`, or `vps land` and `vps run`")
    with open_analytics(home) as analytics:
        champions, adaptation = analytics.table("champion_model"), analytics.table("range_adaptation")
        histories = {history: analytics.table(f"{history}_statistics") for history in ALL_HISTORIES}
        gains = analytics.table("advice_gains")
        currency = analytics.table("clean_listings", "currency is not null limit 1", ["currency"])["currency"]
    if champions.is_empty():
        raise NoChampion("there is no champion yet: `vps run` trains and promotes one")
    try:
        row = with_statistics(offer.row(), histories)
    except UnicodeEncodeError as error:
        raise UserError("what is given is no text: it has bytes that are not UTF-8") from error
    with_photo = inputs_of_rows(row)[0]
    if offer.image is None and with_photo == "photo":
        raise UserError("there is neither a photo nor words: give a photo, or --title")
    inputs, champion = serving(champions, "words" if offer.image is None else with_photo, home)
    try:
        visual, quality = seen(champion, offer.image)
        (predicted,) = champion.predict(visual, row, rates_in_force(adaptation, champion.model_id))
    except ValueError as error:
        raise UserError(str(error)) from error
    answer = suggestion(predicted, quality)
    shown = {
        "qualified": answer["qualified"],
        "suggested_price": answer["suggested_price"],
        "low": answer["low"],
        "high": answer["high"],
        "currency": currency[0] if currency.len() else None,
        "qualification": round(answer["qualification"], 4),
        "inputs": inputs,
        "reason": answer["reason"],
        "model_id": champion.model_id,
    }
    if answer["reason"]:
        shown |= advised(offer, inputs, answer["reason"], gains)
    return json.dumps(shown)


WORDS_OF_ADVICE = {
    "title": "Say in a title what it is, of which brand, size and state.",
    "brand": "Name the brand.",
    "condition": "Say what condition it is in.",
    PHOTO: "Add a photo of the whole item.",
}
"""What can be added -> what to tell the seller."""


def advised(offer: Offer, inputs: str, reason: str, gains: pl.DataFrame) -> dict[str, object]:
    """(`advice`, what would help most; `would_help`, the gain in qualification to expect of each thing).

    Gains are those that test listings had (`advice_gains`), by more than a standard error. A better photo is advised
    where this one's fault can be measured, or where nothing else is known to help.
    """
    missing = {name for name in PIECES if all(getattr(offer, column) is None for column in PIECES[name])}
    faulty = offer.image is not None and reason != "too_little_information"
    missing |= {PHOTO} if offer.image is None else {SHARPER} if faulty else set()
    of_inputs = gains.filter(pl.col("inputs") == inputs, pl.col("piece").is_in(sorted(missing)))
    helped = of_inputs.filter(pl.col("gain") > pl.col("gain_error")).sort("priced_share", "gain", descending=True)
    expected = {row["piece"]: round(row["gain"], 4) for row in helped.to_dicts()}
    first = SHARPER if faulty else next(iter(expected), SHARPER)
    advice = WORDS_OF_ADVICE.get(first, ADVICE[reason] if offer.image is not None else WORDS_OF_ADVICE[PHOTO])
    return {"advice": advice, "would_help": expected}


def serving(champions: pl.DataFrame, inputs: str, home: Home) -> tuple[str, Predictor]:
    """(inputs, the model that prices by them), the photo's where there is none that reads words beside it.

    Raises:
        NoChampion: there is none of words alone.
    """
    champion = champion_of(champions, inputs)
    if champion is None and inputs == "both":
        inputs, champion = "photo", champion_of(champions, "photo")
    if champion is None:
        raise NoChampion(f"there is no champion that prices by {inputs} yet: `vps run` trains and promotes one")
    model_id = served_in_force(champion, home.artefacts) or champion["model_id"][0]
    return inputs, Predictor.load(home.artefacts, model_id)


def seen(champion: Predictor, image: Path | None) -> tuple[np.ndarray, dict[str, float] | None]:
    """(the photo's features as the model takes them, its measures); none of either without a photo.

    Raises:
        ValueError: the photo cannot be decoded.
    """
    if image is None:
        return np.empty((1, 0)), None
    refuse_shape(image)
    visual, quality = champion.embedded([image], champion.extractors())
    return visual, dict(zip(QUALITY_COLUMNS, map(float, quality[0]), strict=True))


def listing_of_today(typed: pl.DataFrame) -> pl.DataFrame:
    """A typed row as a listing of today; the tabular columns that it has not are missing."""
    clean = types(CLEAN_LISTINGS)
    today = typed.with_columns(listed_on=pl.lit(datetime.now(UTC).date()))
    absent = [pl.Series(name, [None], clean[name]) for name in TABULAR if name in clean and name not in today.columns]
    return today.with_columns(absent)
