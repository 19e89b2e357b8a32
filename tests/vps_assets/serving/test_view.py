"""What a seller reads of a suggestion."""

from datetime import date

import pytest

from vps_assets.serving.advice import HARD_TO_TELL
from vps_assets.serving.offers import Offer
from vps_assets.serving.service import Asking, Chance, Comparable, Price, PriceAt, Suggestion
from vps_assets.serving.view import view_of
from vps_ml.photos.quality import ADVICE

ASKING = Asking(
    asking_price=50.0,
    place="above",
    chances=[
        Chance(within_days=7, chance=0.7, low=0.6, high=0.8, chosen_chance=0.4),
        Chance(within_days=30, chance=0.95, low=0.9, high=1.0, chosen_chance=0.8),
    ],
    prices=[
        PriceAt(within_days=7, price=44.0, low=42.0, high=47.0, chance=0.5),
        PriceAt(within_days=30, price=46.0, low=42.0, high=47.0, chance=0.5),
    ],
    most_gain=Price(within_days=30, price=45.0, low=41.0, high=52.0),
)


def suggestion(**changed: object) -> Suggestion:
    priced = {
        "qualified": True, "suggested_price": 40.0, "low": 32.0, "high": 48.0, "currency": "EUR", "qualification": 0.9,
        "inputs": "both", "reason": None, "model_id": "m", "category_known": True, "asking": ASKING,
        "data_until": date(2024, 5, 31),
        "comparables": [Comparable(listing_id="L1", photo_hash="ab", sold_price=20.0, sold_on=date(2024, 5, 3))],
    }  # fmt: skip
    return Suggestion(**(priced | changed))


def test_everything_stands_on_one_logarithmic_scale() -> None:
    bar = view_of(Offer("phone"), suggestion())["bar"]
    places = {20: bar["sold"][0], 32: bar["low"], 40: bar["price"], 48: bar["low"] + bar["width"], 50: bar["asked"]}
    assert list(places.values()) == sorted(places.values())
    assert min(places.values()) > 0 and max(places.values()) < 100
    assert places[40] - places[20] == pytest.approx((places[48] - places[32]) * 0.6931 / 0.4055, rel=0.01)


def test_what_is_asked_and_what_to_ask_are_told_apart() -> None:
    view = view_of(Offer("phone"), suggestion())
    assert view["asking"] == [
        "You ask 50.00 EUR, above the range.",
        "If it is worth what we think, 40% sell within 7 days; of items that others offered so, 70% did, most of them "
        "better than we could tell.",
    ]
    assert view["advised"] == [
        "44.00 EUR sells within 7 days with an even chance.",
        "45.00 EUR (41.00 to 52.00) brings most on average within 30 days.",
    ]
    for price, why in ((30.0, "worse than"), (41.0, "did."), (50.0, "better than")):
        asked = ASKING.model_copy(update={"asking_price": price})
        assert why in view_of(Offer("phone"), suggestion(asking=asked))["asking"][1]


def refused(**changed: object) -> Suggestion:
    nothing = {
        "qualified": False,
        "suggested_price": None,
        "low": None,
        "high": None,
        "asking": None,
        "comparables": [],
    }
    return suggestion(**(nothing | changed))


def test_a_photo_to_be_taken_again_is_not_all_that_helps() -> None:
    helps = {"title": 0.1, "brand": 0.05, "sharper photo": 0.2}
    view = view_of(Offer("phone", b""), refused(reason="dark", advice=ADVICE["dark"], would_help=helps))
    assert view["headline"] == "The photo is too dark"
    assert view["sentence"] == f"{ADVICE['dark']} Or say more: a title and the brand may help too."
    alone = view_of(Offer("phone", b""), refused(reason="dark", advice=ADVICE["dark"], would_help={}))
    assert alone["sentence"] == ADVICE["dark"]
    title = view_of(
        Offer("phone", b""), refused(reason="too_little_information", advice="Name the brand.", would_help=helps)
    )
    assert title["sentence"] == "Name the brand."


def test_a_seller_who_has_said_all_is_not_told_that_it_is_too_little() -> None:
    view = view_of(Offer("phone", b"", title="a phone"), refused(reason="too_little_information", advice=HARD_TO_TELL))
    assert (view["headline"], view["sentence"]) == ("We cannot name one price", HARD_TO_TELL)


def test_items_beside_a_price_by_words_are_not_said_to_look_similar() -> None:
    assert view_of(Offer("phone"), suggestion(inputs="words"))["similar"] == "Similar sold items"
    assert view_of(Offer("phone"), suggestion())["similar"] == "Sold items that look similar"


def test_nothing_is_said_of_what_is_not_known() -> None:
    view = view_of(Offer("phone"), suggestion(asking=None, comparables=[]))
    assert (view["asking"], view["advised"], view["comparables"]) == ([], [], [])
    assert view["bar"]["asked"] is None
    beyond = ASKING.model_copy(update={"asking_price": 1e9, "chances": []})
    assert "Too few" in view_of(Offer("phone"), suggestion(asking=beyond))["asking"][1]
    unasked = ASKING.model_copy(update={"asking_price": None, "place": None, "chances": []})
    assert view_of(Offer("phone"), suggestion(asking=unasked))["asking"] == []


def test_a_price_of_next_to_nothing_has_a_place_and_what_is_asked_a_share() -> None:
    nothing = suggestion(low=0.0, suggested_price=0.0, high=0.01, comparables=[])
    view = view_of(Offer("phone"), nothing)
    assert 0 < view["bar"]["low"] <= view["bar"]["price"] < 100
    assert "40% sell within 7 days" in view["asking"][1]


def test_a_photo_that_contradicts_the_category_is_doubted_in_the_sentence() -> None:
    priced = view_of(Offer("phone"), suggestion(looks_like="bag"))["sentence"]
    assert priced.startswith("The photo looks like bag: is the category right? Most such items sell for 32.00")
    refused = suggestion(suggested_price=None, qualified=False, looks_like="bag", advice="Add a title.")
    assert (
        view_of(Offer("phone"), refused)["sentence"] == "The photo looks like bag: is the category right? Add a title."
    )
