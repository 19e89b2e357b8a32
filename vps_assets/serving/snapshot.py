"""All that suggestions are made from, as of one publication: champions, statistics, what is known to help."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from vps_assets.assets.champion_decisions import champion_of, served_in_force
from vps_assets.errors import UserError
from vps_assets.home import Home
from vps_assets.serving.offers import Offer
from vps_assets.warehouse.analytics import open_analytics
from vps_ml.backbones.embedding import FeatureExtractors, network_features
from vps_ml.evaluation.adaptation import rates_as_of
from vps_ml.evaluation.advice import PHOTO, PIECES, SHARPER
from vps_ml.features.given import inputs_of_rows
from vps_ml.features.statistics import with_statistics
from vps_ml.features.tabular import ALL_HISTORIES
from vps_ml.photos.decoding import ADVICE, PhotoQuality, decoded, refuse_shape
from vps_ml.pricing.calibration import Prediction
from vps_ml.pricing.chosen import said_instead
from vps_ml.pricing.predictor import Predictor, suggestion

FEWEST_SALES = 10
"""Of a condition that is offered: one that a single seller wrote would tell of her."""


class NoChampion(UserError):
    """No model has been promoted yet."""


@dataclass(frozen=True)
class Suggested:
    """An answer to a seller."""

    answer: Mapping[str, Any]
    """As JSON has it."""
    prediction: Prediction
    """Before prices were rounded to cents."""


@dataclass
class Clock:
    """Seconds that each stage of a batch took."""

    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add what the block takes to a stage."""
        began = perf_counter()
        try:
            yield
        finally:
            self.stages[stage] = self.stages.get(stage, 0.0) + perf_counter() - began


@dataclass(frozen=True)
class Champion:
    """A loaded price model, and the networks that its photos go through."""

    inputs: str
    predictor: Predictor
    extractors: FeatureExtractors | None
    """None: it takes no photo."""


Features = Mapping[str, np.ndarray]
"""Networks' features of photos, by task."""
Each = Callable[[Callable[[Offer], Any], Iterable[Offer]], Iterable[Any]]
"""How several photos are decoded: `map`, or a pool's."""


class Snapshot:
    """One publication's champions, statistics and gains; a model is loaded when it is first needed.

    Used by one thread at a time.
    """

    def __init__(self, home: Home, tables: Mapping[str, pl.DataFrame], before: "Snapshot | None") -> None:
        self.home = home
        self.tables = tables
        self.histories = {history: tables[f"{history}_statistics"] for history in ALL_HISTORIES}
        self.loaded: dict[str, Champion] = {}
        self._before = before

    @classmethod
    def read(cls, home: Home, before: "Snapshot | None" = None) -> "Snapshot":
        """The newest publication; it works while runs go on, and waits for none.

        Args:
            home: the data directory.
            before: of an earlier publication, whose loaded models serve on where they are still champions.

        Raises:
            NoChampion: nothing has been promoted.
        """
        if not home.analytics.exists():
            raise NoChampion("there is no champion yet: run `vps demo`, or `vps land` and `vps run`")
        names = (
            "champion_model",
            "range_adaptation",
            "advice_gains",
            *(f"{name}_statistics" for name in ALL_HISTORIES),
        )
        with open_analytics(home) as analytics:
            tables = {name: analytics.table(name) for name in names}
            columns = ["currency", "sold_on"]
            tables["newest"] = analytics.table(
                "clean_listings", "true order by sold_on desc nulls last limit 1", columns
            )
        if tables["champion_model"].is_empty():
            raise NoChampion("there is no champion yet: `vps run` trains and promotes one")
        return cls(home, tables, before)

    @property
    def currency(self) -> str | None:
        newest = self.tables["newest"]["currency"]
        return newest[0] if newest.len() else None

    @property
    def data_until(self) -> date | None:
        """The day of the newest sale that it knows."""
        newest = self.tables["newest"]["sold_on"]
        return newest[0] if newest.len() else None

    def alone(self) -> "Snapshot":
        """Itself, without the one before: what that had loaded and this does not need is freed."""
        self._before = None
        return self

    def model_ids(self) -> dict[str, str]:
        """Inputs -> the model that prices by them, of those that are loaded."""
        return {inputs: champion.predictor.model_id for inputs, champion in self.loaded.items()}

    @cached_property
    def categories(self) -> list[str]:
        """Those in which anything has sold."""
        return sorted(self.histories["category"]["category"].unique())

    @cached_property
    def conditions(self) -> list[str]:
        """Those that enough sold items had."""
        labels = self.histories["label"]
        mine = labels.filter(pl.col("label").str.starts_with("condition="), pl.col("sales") >= FEWEST_SALES)
        return mine["label"].str.strip_prefix("condition=").unique().sort().to_list()

    def knows(self, category: str) -> bool:
        """Whether anything of the category has sold."""
        return category in self.categories

    def known(self) -> list[Champion]:
        """What is loaded, here or by the one before."""
        return [*self.loaded.values(), *(self._before.loaded.values() if self._before else ())]

    def champion(self, inputs: str) -> Champion:
        """The model that prices by these inputs; the photo's where none reads words beside it.

        Raises:
            NoChampion: there is none of words alone.
        """
        if inputs not in self.loaded:
            self.loaded[inputs] = self.load(inputs)
        return self.loaded[inputs]

    def load(self, inputs: str) -> Champion:
        """Load the model that prices by these inputs, or take it over."""
        row = champion_of(self.tables["champion_model"], inputs)
        if row is None and inputs == "both":
            return self.champion("photo")
        if row is None:
            raise NoChampion(f"there is no champion that prices by {inputs} yet: `vps run` trains and promotes one")
        model_id = served_in_force(row, self.home.artefacts) or row["model_id"][0]
        for before in self.known():
            if before.predictor.model_id == model_id:
                return Champion(inputs, before.predictor, before.extractors)
        predictor = Predictor.load(self.home.artefacts, model_id)
        return Champion(inputs, predictor, self.extractors(predictor) if inputs != "words" else None)

    def extractors(self, predictor: Predictor) -> FeatureExtractors:
        """The networks of a model's photos, those of another model where they are the same."""
        tasks = set(predictor.tasks(predictor.trained_tasks()))
        for other in self.known():
            same = other.predictor.embedding_id == predictor.embedding_id
            if same and other.extractors is not None and tasks <= set(other.extractors.stages):
                return other.extractors
        return predictor.extractors()

    def suggestions(
        self, offers: Sequence[Offer], each: Each = map, clock: Clock | None = None
    ) -> list[Suggested | UserError]:
        """An answer to each offer by what there is, the photo, what is said, or both; or why there is none."""
        clock = clock or Clock()
        found: dict[int, Suggested | UserError] = {}
        rows: list[pl.DataFrame] = []
        asked: list[int] = []
        for number, offer in enumerate(offers):
            try:
                rows.append(offer.row())
                asked.append(number)
            except UserError as error:
                found[number] = error
        if rows:
            with clock.of("statistics"):
                listings = with_statistics(pl.concat(rows), self.histories)
            groups = self.by_inputs([offers[number] for number in asked], listings)
            for inputs, places in groups.items():
                mine = [offers[asked[place]] for place in places]
                for place, answer in zip(
                    places, self.by_model(inputs, mine, listings[places], each, clock), strict=True
                ):
                    found[asked[place]] = answer
        return [found[number] for number in range(len(offers))]

    @staticmethod
    def by_inputs(offers: Sequence[Offer], listings: pl.DataFrame) -> dict[str, list[int]]:
        """Inputs -> the places of the offers that have them; "" for those that have nothing to price by."""
        groups: dict[str, list[int]] = {}
        for place, (offer, said) in enumerate(zip(offers, inputs_of_rows(listings), strict=True)):
            inputs = said if offer.image is not None else {"photo": "", "both": "words"}[said]
            groups.setdefault(inputs, []).append(place)
        return groups

    def by_model(
        self, inputs: str, offers: Sequence[Offer], listings: pl.DataFrame, each: Each, clock: Clock
    ) -> list[Suggested | UserError]:
        """The answers to offers with the same inputs, by the model that prices by them."""
        if not inputs:
            return [UserError("there is neither a photo nor words: give a photo, or a title") for _ in offers]
        try:
            champion = self.champion(inputs)
        except NoChampion as error:
            return [error for _ in offers]
        photos: list[Any] = [None] * len(offers)
        if champion.extractors is not None:
            px = champion.extractors.photo_px
            with clock.of("decode"):
                photos = list(each(lambda offer: seen(offer, px), offers))
        good = [place for place, photo in enumerate(photos) if not isinstance(photo, UserError)]
        answers: list[Suggested | UserError] = list(photos)
        if good:
            shown, rows = [photos[place] for place in good], listings[good]
            with clock.of("predict"):
                features = None if champion.extractors is None else features_of(champion, shown)
                predicted = self.predictions(champion, features, rows)
                instead = self.by_words_alone(champion, predicted, [offers[place] for place in good], features, rows)
            for number, place in enumerate(good):
                quality = None if photos[place] is None else vars(photos[place][1])
                by, prediction = instead.get(number, (champion, predicted[number]))
                answers[place] = self.answer(by, offers[place], prediction, quality)
        return answers

    def predictions(self, champion: Champion, features: Features | None, listings: pl.DataFrame) -> list[Prediction]:
        """The model's predictions for listings whose photos have these features, with the ranges of their days."""
        visual = np.empty((listings.height, 0)) if features is None else champion.predictor.visual(features)
        rates = rates_as_of(self.tables["range_adaptation"], champion.predictor.model_id, listings)
        return champion.predictor.predict(visual, listings, rates)

    def by_words_alone(
        self, champion: Champion, predicted: Sequence[Prediction], offers: Sequence[Offer], features: Features | None,
        listings: pl.DataFrame,
    ) -> dict[int, tuple[Champion, Prediction]]:  # fmt: skip
        """Number of an offer that words alone price -> their champion and its prediction (`said_instead`)."""
        if champion.inputs != "both" or champion_of(self.tables["champion_model"], "words") is None:
            return {}
        sees, says = self.champion("photo"), self.champion("words")
        assert features is not None, "the model of both sees photos"
        assert sees.extractors is not None, "the model of a photo sees it"
        px, same = sees.extractors.photo_px, sees.extractors is champion.extractors

        def of_photos(numbers: Sequence[int]) -> Sequence[Prediction]:
            some: Features
            if same:
                some = {task: of_task[list(numbers)] for task, of_task in features.items()}
            else:
                some = features_of(sees, [seen(offers[number], px) for number in numbers])
            return self.predictions(sees, some, listings[list(numbers)])

        def of_words(numbers: Sequence[int]) -> Sequence[Prediction]:
            return self.predictions(says, None, listings[list(numbers)])

        return {number: (says, one) for number, one in said_instead(predicted, of_photos, of_words).items()}

    def answer(
        self, champion: Champion, offer: Offer, prediction: Prediction, quality: Mapping[str, float] | None
    ) -> Suggested:
        """What the seller reads."""
        plain = suggestion(prediction, quality)
        shown = {
            "qualified": plain["qualified"],
            "suggested_price": plain["suggested_price"],
            "low": plain["low"],
            "high": plain["high"],
            "currency": self.currency,
            "qualification": round(plain["qualification"], 4),
            "inputs": champion.inputs,
            "reason": plain["reason"],
            "model_id": champion.predictor.model_id,
            "data_until": None if self.data_until is None else self.data_until.isoformat(),
        }
        if plain["reason"]:
            shown |= advised(offer, champion.inputs, plain["reason"], self.tables["advice_gains"])
        return Suggested(shown, prediction)


def seen(offer: Offer, photo_px: int) -> tuple[np.ndarray, PhotoQuality] | UserError:
    """The offer's photo, decoded, with its measures; or what is wrong with it."""
    assert offer.image is not None, "offers of a model that takes photos have one"
    try:
        refuse_shape(file_of(offer.image))
        return decoded(file_of(offer.image), photo_px)
    except ValueError as error:
        return UserError(f"the photo cannot be taken: {error}")


def features_of(champion: Champion, photos: Sequence[Any]) -> Features:
    """The features of photos that were `seen`, by the networks of a model that takes photos."""
    assert champion.extractors is not None, "it takes photos"
    return network_features(np.stack([pixels for pixels, _ in photos]), champion.extractors)


def file_of(image: Path | bytes) -> Path | BytesIO:
    """What a decoder reads, from its beginning."""
    return BytesIO(image) if isinstance(image, bytes) else image


WORDS_OF_ADVICE = {
    "title": "Say in a title what it is, of which brand, size and state.",
    "brand": "Name the brand.",
    "condition": "Say what condition it is in.",
    PHOTO: "Add a photo of the whole item.",
}
"""What can be added -> what to tell the seller."""


HARD_TO_TELL = "What such items have sold for differs too much to suggest one price."
"""Where nothing is wrong with the photo, and nothing that could be added is known to help."""


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
    if faulty:
        advice = ADVICE[reason]
    elif expected:
        advice = WORDS_OF_ADVICE[next(iter(expected))]
    elif offer.image is None:
        advice = WORDS_OF_ADVICE[PHOTO]
    else:
        advice = HARD_TO_TELL if inputs == "both" else ADVICE[reason]
    return {"advice": advice, "would_help": expected}
