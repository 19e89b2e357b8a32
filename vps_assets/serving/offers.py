"""What a seller shows and says, as the row of a listing."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from vps_assets.errors import UserError
from vps_assets.landing.cells import typed_rows
from vps_assets.landing.rules import MOST_MONEY
from vps_assets.tables.listings import CLEAN_LISTINGS, WORDS
from vps_assets.tables.schemas import types
from vps_ml.features.tabular import TABULAR

NOTHING_SAID = "there is neither a photo nor words: give a photo, or a title"


@dataclass(frozen=True)
class Offer:
    """What a seller shows and says; None where nothing."""

    category: str
    image: Path | bytes | None = None
    """A photo's file, or its bytes."""
    seller: str | None = None
    title: str | None = None
    description: str | None = None
    brand: str | None = None
    condition: str | None = None
    attributes: tuple[str, ...] = ()
    specifications: tuple[str, ...] = ()
    listed_on: date | None = None
    """None: today, by UTC."""
    asking_price: float | None = None
    """In the warehouse's currency; no model sees it."""
    any_category: bool = False
    """Whether a price is wanted also where nothing of the category has sold."""

    def row(self) -> pl.DataFrame:
        """The row of a listing, its words as they would land; what its seller has not given is missing.

        Raises:
            UserError: a text is longer than one may land, or is none.
        """
        given = {"category": self.category, "seller_id": self.seller, "brand": self.brand}
        words = {name: getattr(self, name) for name in WORDS}
        if self.asking_price is not None and not 0 < self.asking_price < MOST_MONEY:
            raise UserError("the asking price is not above zero, or no price")
        for name, most in WORDS.items():
            if len(words[name] or "") > most:
                raise UserError(f"the {name} is longer than {most:,} characters: shorten it")
        lists = {name: list(getattr(self, name)) or None for name in ("attributes", "specifications")}
        schema = dict.fromkeys([*given, *words], pl.String) | dict.fromkeys(lists, pl.List(pl.String))
        try:
            raw = pl.DataFrame([given | words | lists], schema=schema)
        except UnicodeEncodeError as error:
            raise UserError("what is given is no text: it has bytes that are not UTF-8") from error
        return listing_of(typed_rows(raw).frame, self.listed_on or datetime.now(UTC).date())


def not_taken(image: Path | bytes, error: ValueError) -> UserError:
    """What is said of a photo that cannot be decoded or has no shape of one."""
    which = f" {image}" if isinstance(image, Path) else ""
    return UserError(f"the photo{which} cannot be taken: {error}")


def listing_of(typed: pl.DataFrame, day: date) -> pl.DataFrame:
    """A typed row as a listing of a day; the tabular columns that it has not are missing."""
    clean = types(CLEAN_LISTINGS)
    listed = typed.with_columns(listed_on=pl.lit(day))
    absent = [pl.Series(name, [None], clean[name]) for name in TABULAR if name in clean and name not in listed.columns]
    return listed.with_columns(absent)
