"""The thread that answers, and the snapshot that it answers from."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import Marketplace

from vps_assets.errors import UserError
from vps_assets.serving.batches import MOST_AT_ONCE, MOST_WAITING, Batcher, QueueFull
from vps_assets.serving.offers import Offer
from vps_assets.serving.snapshot import Snapshot, Suggested


class Slow:
    """Stands for a snapshot: it answers with each offer's title once it may, and keeps what came together."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.began = threading.Event()
        self.batches: list[list[str | None]] = []

    def suggestions(self, offers: Sequence[Offer], each: Callable, clock: object) -> list[str | None]:
        self.began.set()
        assert self.may.wait(10)
        self.batches.append([offer.title for offer in offers])
        if len(offers) > 1 and "fails" in self.batches[-1]:
            raise LookupError("as a whole")
        if offers[0].title == "fails":
            raise LookupError("alone")
        return [offer.title for offer in offers]


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def batcher(slow: Slow) -> Batcher:
    return Batcher(lambda: slow)  # type: ignore[arg-type, return-value]


def test_it_takes_what_has_piled_up_and_no_more_than_fits(slow: Slow, batcher: Batcher) -> None:
    futures = [batcher.submit(Offer("", title="first"))]
    assert slow.began.wait(10)
    futures += [batcher.submit(Offer("", title=str(number))) for number in range(20)]
    slow.may.set()
    assert [future.result(10).result for future in futures] == ["first", *map(str, range(20))]
    assert [len(batch) for batch in slow.batches] == [1, MOST_AT_ONCE, 4]
    batcher.close()


def test_where_too_many_wait_another_is_refused_at_once(slow: Slow, batcher: Batcher) -> None:
    batcher.submit(Offer("", title="first"))
    assert slow.began.wait(10)
    for _ in range(MOST_WAITING):
        batcher.submit(Offer("", title="more"))
    assert batcher.full()
    with pytest.raises(QueueFull):
        batcher.submit(Offer("", title="too many"))
    slow.may.set()
    batcher.close()
    assert sum(map(len, slow.batches)) == 1 + MOST_WAITING, "what waited was answered before the end"


def test_one_that_makes_a_batch_fail_fails_alone(slow: Slow, batcher: Batcher) -> None:
    batcher.submit(Offer("", title="first"))
    assert slow.began.wait(10)
    good, bad, better = (batcher.submit(Offer("", title=title)) for title in ("good", "fails", "better"))
    slow.may.set()
    assert (good.result(10).result, better.result(10).result) == ("good", "better")
    with pytest.raises(LookupError, match="alone"):
        bad.result(10)
    batcher.close()


def test_a_panic_of_a_library_does_not_end_the_thread(
    slow: Slow, batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def panics(*_: object) -> list:
        raise pl.exceptions.PanicException("a panic")

    with monkeypatch.context() as patched:
        patched.setattr(slow, "suggestions", panics)
        with pytest.raises(pl.exceptions.PanicException):
            batcher.submit(Offer("", title="first")).result(10)
    slow.may.set()
    assert batcher.submit(Offer("", title="second")).result(10).result == "second"
    batcher.close()


def test_an_offer_that_is_given_up_before_its_turn_costs_nothing(slow: Slow, batcher: Batcher) -> None:
    batcher.submit(Offer("", title="first"))
    assert slow.began.wait(10)
    given_up = batcher.submit(Offer("", title="given up"))
    assert given_up.cancel()
    slow.may.set()
    batcher.close()
    assert slow.batches == [["first"]]


def offers_of(marketplace: Marketplace) -> list[Offer]:
    """Photos alone, words alone and both, of several categories, and what cannot be priced among them."""
    rows = marketplace.polars("from clean_listings where title is not null order by listing_id limit 9").to_dicts()
    made = []
    for number, row in enumerate(rows):
        image = None if number % 3 == 0 else marketplace.home.artefacts.photo(row["photo_hash"])
        title = None if number % 3 == 1 else row["title"]
        made.append(Offer(row["category"], image, row["seller_id"], title, listed_on=row["listed_on"]))
    return [*made[:4], Offer("phone"), *made[4:], Offer("phone", Path(__file__))]


def test_together_or_alone_an_offer_gets_the_same_answer(marketplace: Marketplace) -> None:
    snapshot, offers = Snapshot.read(marketplace.home), offers_of(marketplace)
    together = snapshot.suggestions(offers)
    for offer, answer in zip(offers, together, strict=True):
        (alone,) = snapshot.suggestions([offer])
        assert type(alone) is type(answer)
        if isinstance(answer, UserError):
            assert str(alone) == str(answer)
        else:
            assert isinstance(alone, Suggested)
            figures = [vars(suggested.prediction).values() for suggested in (alone, answer)]
            assert np.allclose(*map(list, figures), rtol=0, atol=5e-5)  # features are kept in half precision
            assert alone.answer["inputs"] == answer.answer["inputs"]
    assert sum(isinstance(answer, UserError) for answer in together) == 2


def test_an_answer_is_as_of_the_day_of_listing(marketplace: Marketplace) -> None:
    """A seller with no sale before the first day is a new one then, whatever she has sold since."""
    (first, seller) = marketplace.query("""
        select min(listed_on), (select seller_id from seller_statistics order by sales desc limit 1) from clean_listings
    """)[0]
    snapshot = Snapshot.read(marketplace.home)

    def price(seller: str | None) -> float:
        (suggested,) = snapshot.suggestions([Offer("phone", title="a phone", seller=seller, listed_on=first)])
        assert isinstance(suggested, Suggested)
        return suggested.prediction.log_price

    assert price(seller) == pytest.approx(price("nobody"), abs=1e-9)
