"""The categories in which anything has sold, by the names that people give them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches

from vps_assets.errors import NoChampion, UserError
from vps_assets.home import Home
from vps_assets.serving.offers import Offer
from vps_assets.warehouse.analytics import open_analytics
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.publication import publication_of

SHOWN = 20
"""Of all names, where the one that is given is near none."""
NEAREST = 3
ALIKE = 0.58
"""Of 1 (`difflib`): `phnoe` is .6 of `phone`, `mobile phone` .59; `dresses` is .57 of `children shoes`."""


def plain(category: str) -> str:
    """A category's name without capitals and needless spaces."""
    return " ".join(category.casefold().split())


@dataclass(frozen=True)
class Categories:
    """Those in which anything has sold."""

    names: tuple[str, ...]
    """Ascending."""

    @classmethod
    def of(cls, names: Iterable[str]) -> "Categories":
        return cls(tuple(sorted(set(names))))

    def named(self, text: str) -> str | None:
        """The one that is called so, capitals and spaces aside; None if none is."""
        if text in self.names:
            return text
        alike = [name for name in self.names if plain(name) == plain(text)]
        return alike[0] if len(alike) == 1 else None

    def known(self, offer: Offer) -> Offer:
        """The offer, its category named as it landed.

        Raises:
            UserError: nothing of the category has sold, and no price is wanted then; the message has the nearest
                names, or what there is.
        """
        name = self.named(offer.category)
        if name is not None:
            return replace(offer, category=name)
        if offer.any_category:
            return offer
        raise UserError(f"nothing of the category {offer.category[:40]!r} has sold: {self.nearest(offer.category)}")

    def nearest(self, text: str) -> str:
        """What may have been meant, or else what there is."""
        names = {plain(name): name for name in self.names}
        near = [names[name] for name in get_close_matches(plain(text), names, NEAREST, cutoff=ALIKE)]
        return f"is it {' or '.join(map(repr, near))}?" if near else f"there is {self.listed()}"

    def listed(self) -> str:
        """The names, or the first of them."""
        more = len(self.names) - SHOWN
        return ", ".join(self.names[:SHOWN]) + (f" and {more} more (`category_statistics`)" if more > 0 else "")


def refuse_unpublished(home: Home) -> None:
    """Say so where nothing has been published yet.

    Raises:
        NoChampion: that is so.
    """
    if publication_of(Warehouse(home)).newest() is None:
        raise NoChampion("there is no champion yet: run `vps demo`, or `vps land` and `vps run`")


def published_categories(home: Home) -> Categories:
    """Those of the newest publication.

    Raises:
        NoChampion: nothing has been published, or nothing has sold in what is.
    """
    refuse_unpublished(home)
    with open_analytics(home) as analytics:
        found = Categories.of(analytics.table("category_statistics", columns=["category"])["category"].unique())
    if not found.names:
        raise NoChampion("there is no champion yet: `vps run` trains and promotes one")
    return found
