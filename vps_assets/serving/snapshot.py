"""All that suggestions are made from, as of one publication: champions, statistics, what is known to help."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from vps_assets.assets.champion_decisions import champion_of
from vps_assets.errors import NoChampion, UserError
from vps_assets.home import Home
from vps_assets.serving.advice import advised
from vps_assets.serving.beside import asking_of, by_category, comparables_of
from vps_assets.serving.categories import Categories, refuse_unpublished
from vps_assets.serving.champions import Champion, Champions, Features, features_of, seen
from vps_assets.serving.histories import Histories
from vps_assets.serving.offers import NOTHING_SAID, Offer
from vps_assets.warehouse.analytics import open_analytics
from vps_ml.backbones.heads import CATEGORY
from vps_ml.evaluation.adaptation import rates_as_of
from vps_ml.features.given import inputs_of_rows
from vps_ml.features.statistics import with_statistics
from vps_ml.features.tabular import GROUP_OF, LABEL, SAID_LABELS
from vps_ml.photos.quality import TOO_LITTLE, PhotoQuality, unqualified_reason
from vps_ml.pricing.calibration import Prediction
from vps_ml.pricing.chosen import said_instead
from vps_ml.pricing.predictor import suggestion

FEWEST_SALES = 10
"""Of a condition that is offered: one that a single seller wrote would tell of her."""


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
class Priced:
    """A prediction for an offer, by whichever model prices it."""

    champion: Champion
    prediction: Prediction
    point: np.ndarray
    """Price features, as that model takes them."""


def looks_of(champion: Champion, features: Features | None, listings: pl.DataFrame) -> list[str | None]:
    """The categories that photos are of, where these surely are not those that are given."""
    if champion.head is None or features is None:
        return [None] * listings.height
    return champion.head.contradicted(features[CATEGORY], listings["category"].to_list())


Each = Callable[[Callable[[Offer], Any], Iterable[Offer]], Iterable[Any]]
"""How several photos are decoded: `map`, or a pool's."""


class Snapshot:
    """One publication's champions, statistics and gains; a model is loaded when it is first needed.

    Used by one thread at a time.
    """

    def __init__(self, home: Home, tables: Mapping[str, pl.DataFrame], before: "Snapshot | None") -> None:
        self.home = home
        self.tables = tables
        self.chances = by_category(tables["sale_chances"])
        self.histories = Histories.of({history: tables[f"{history}_statistics"] for history in GROUP_OF})
        earlier = None if before is None else before.champions
        self.champions: Champions = Champions(
            home.artefacts, tables["champion_model"], tables["comparable_items"], earlier
        )

    @classmethod
    def read(cls, home: Home, before: "Snapshot | None" = None) -> "Snapshot":
        """The newest publication; it works while runs go on, and waits for none.

        Args:
            home: the data directory.
            before: of an earlier publication, whose loaded models serve on where they are still champions.

        Raises:
            NoChampion: nothing has been promoted.
        """
        refuse_unpublished(home)
        names = (
            "champion_model",
            "range_adaptation",
            "advice_gains",
            "comparable_items",
            "sale_chances",
            *(f"{name}_statistics" for name in GROUP_OF),
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

    @cached_property
    def categories(self) -> Categories:
        """Those in which anything has sold."""
        return Categories.of(self.histories["category"]["category"].unique())

    @cached_property
    def conditions(self) -> list[str]:
        """Those that enough sold items had."""
        labels = self.histories["label"]
        mine = labels.filter(pl.col("label").str.starts_with("condition="), pl.col("sales") >= FEWEST_SALES)
        return mine["label"].str.strip_prefix("condition=").unique().sort().to_list()

    @cached_property
    def labels(self) -> frozenset[str]:
        """What any sold item had of `SAID_LABELS`, each like `brand=Aldera`."""
        return frozenset(self.histories["label"]["label"].unique())

    def unknown_labels(self, row: Mapping[str, Any]) -> list[str]:
        """What is said of a listing that no sold item had."""
        said = [(name, row[name]) for name in SAID_LABELS if row[name]]
        each = [(name, value) for name, given in said for value in ([given] if isinstance(given, str) else given)]
        labels = dict.fromkeys(f"{name}{LABEL}{value}" for name, value in each)
        return [label for label in labels if label not in self.labels]

    def suggestions(
        self, offers: Sequence[Offer], each: Each = map, clock: Clock | None = None
    ) -> list[Suggested | UserError]:
        """An answer to each offer by what there is, the photo, what is said, or both; or why there is none."""
        clock, offers = clock or Clock(), list(offers)
        found: dict[int, Suggested | UserError] = {}
        rows: list[pl.DataFrame] = []
        asked: list[int] = []
        for number, offer in enumerate(offers):
            try:
                offers[number] = self.categories.known(offer)
                rows.append(offers[number].row())
                asked.append(number)
            except UserError as error:
                found[number] = error
        if rows:
            with clock.of("statistics"):
                offered = pl.concat(rows)
                listings = with_statistics(offered, self.histories.of_listings(offered))
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
            return [UserError(NOTHING_SAID) for _ in offers]
        try:
            champion = self.champions.of(inputs)
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
            if inputs != "words":
                rows = rows.with_columns(contrast=pl.Series([quality.contrast for _, quality in shown]))
            with clock.of("predict"):
                features = None if champion.extractors is None else features_of(champion, shown)
                priced = self.priced(champion, features, rows)
                looks_like = looks_of(champion, features, rows)
                instead = self.by_words_alone(priced, [offers[place] for place in good], features, rows)
            with clock.of("beside"):
                for number, place in enumerate(good):
                    quality = None if photos[place] is None else vars(photos[place][1])
                    row = rows.row(number, named=True)
                    chosen = instead.get(number, priced[number])
                    answers[place] = self.answer(chosen, offers[place], row, quality, looks_like[number])
        return answers

    def priced(self, champion: Champion, features: Features | None, listings: pl.DataFrame) -> list[Priced]:
        """The model's predictions for listings whose photos have these features, with the ranges of their days.

        Listings with a photo have its `contrast`.
        """
        predictor = champion.predictor
        visual = np.empty((listings.height, 0)) if features is None else predictor.visual(features)
        points = predictor.matrix(listings, visual)
        rates = rates_as_of(self.tables["range_adaptation"], predictor.model_id, listings)
        contrast = None if features is None else listings["contrast"].to_numpy()
        predicted = predictor.predicted(points, rates, contrast)
        return [Priced(champion, *one) for one in zip(predicted, points, strict=True)]

    def by_words_alone(
        self, priced: Sequence[Priced], offers: Sequence[Offer], features: Features | None, listings: pl.DataFrame
    ) -> dict[int, Priced]:
        """Number of an offer that words alone price -> the prediction by their champion (`said_instead`)."""
        champion = priced[0].champion
        if champion.inputs != "both" or champion_of(self.tables["champion_model"], "words") is None:
            return {}
        sees, says = self.champions.of("photo"), self.champions.of("words")
        assert features is not None, "the model of both sees photos"
        assert sees.extractors is not None, "the model of a photo sees it"
        px, same = sees.extractors.photo_px, sees.extractors is champion.extractors
        said: dict[int, Priced] = {}

        def of_photos(numbers: Sequence[int]) -> list[Prediction]:
            some: Features
            if same:
                some = {task: of_task[list(numbers)] for task, of_task in features.items()}
            else:
                some = features_of(sees, [seen(offers[number], px) for number in numbers])
            return [one.prediction for one in self.priced(sees, some, listings[list(numbers)])]

        def of_words(numbers: Sequence[int]) -> list[Prediction]:
            said.update(zip(numbers, self.priced(says, None, listings[list(numbers)]), strict=True))
            return [said[number].prediction for number in numbers]

        chosen = said_instead([one.prediction for one in priced], of_photos, of_words)
        return {number: said[number] for number in chosen}

    def answer(
        self,
        priced: Priced,
        offer: Offer,
        row: Mapping[str, Any],
        quality: Mapping[str, float] | None,
        looks_like: str | None,
    ) -> Suggested:
        """What the seller reads.

        Args:
            priced: the prediction.
            offer: what is offered.
            row: the same as a listing.
            quality: of the photo; None without one.
            looks_like: the category that the photo is of, where that surely is not the one that is given: not said of
                a photo that is refused for its light or blur, or that words have to stand in for, of which nothing can
                be seen.
        """
        champion, prediction = priced.champion, priced.prediction
        plain = suggestion(prediction, quality)
        measured = None if quality is None else PhotoQuality(**quality)
        fault = plain["reason"]
        if measured is not None and plain["qualified"] and champion.inputs == "words":
            fault = unqualified_reason(measured)
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
            "category_known": row["category"] in self.categories.names,
            "looks_like": looks_like if fault in (None, TOO_LITTLE) else None,
            "unknown_labels": self.unknown_labels(row),
            "data_until": None if self.data_until is None else self.data_until.isoformat(),
            "comparables": [],
            "asking": None,
        }
        if plain["reason"]:
            shown |= advised(offer, champion.inputs, plain["reason"], self.tables["advice_gains"], measured)
            return Suggested(shown, prediction)
        if champion.items is not None:
            own = self.home.artefacts, offer.image
            shown["comparables"] = comparables_of(champion.items, priced.point, row, *own)
        shown["asking"] = asking_of(
            self.chances, champion.inputs, row["category"] or "", prediction, offer.asking_price
        )
        return Suggested(shown, prediction)
