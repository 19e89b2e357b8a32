"""Prices in words are masked; sizes, models and years are not."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vps_ml.words.masking import DIGIT, PRICES, masked, plain, said, said_and_prices


@pytest.mark.parametrize(
    "text",
    [
        "£45 ono", "phone £ 1,200.50", "45€", "45 EUR", "45,00", "1.200,00 €", "450 ono", "20 o.n.o.", "30 vb",
        "asking 45", "price: 45", "only 300", "45 quid", "5 pounds", "rs 4000", "4000 rs", "£1.2k", "20 each",
        "US$45", "£４５", "nur 30,-", "was 80 now 45", "FOR 250", "45gbp", "rrp £99 asking 45",
        "price is 50", "asking price of 50", "asking about 50", "Price - 50", "price (EUR) 50", "VHB 50", "50,–",
        "50 firm", "50 or best offer", "sold 50", "sold for 50", "500 kr", "500:-", "£50-60", "50-60€", "€\u200b50",
        "5\u200b0 €", "5\u00ad0€", "5\ufe0f\u20e30\ufe0f\u20e3€", "prix 50",
    ],
)  # fmt: skip
def test_a_price_is_masked(text: str) -> None:
    found, prices = masked(text)
    assert "price" in found
    assert prices >= 1
    assert not DIGIT.search(found), found


@pytest.mark.parametrize(
    "text",
    [
        "iPhone 12 64GB", "size 10", "Ford Focus 2015", "trousers 32 x 34", "for 3 years", "5.5 inch", "set of 4",
        "PS5", "100% cotton", "for 2 months", "Canon EOS 450D", "only 12 months old", "nike air max 90", "3 seater",
        "GT OMEGA RS9 seat", "case for 12 pro", "fits for 2019 model", "only 2 left", "sizes 36 37 38 39",
        "2.40 Ghz", "for 24 V",
    ],
)  # fmt: skip
def test_what_is_no_price_stays(text: str) -> None:
    assert masked(text) == (text, 0)


@given(
    st.integers(1, 99_999),
    st.sampled_from(["£{}", "{}€", "€ {}", "{} EUR", "{} ono", "asking {}", "{} pounds", "${}.00"]),
    st.sampled_from(["", "bike ", "lovely phone, "]),
    st.sampled_from(["", " bargain", ", collection only"]),
)
def test_whatever_the_price_the_masked_words_are_the_same(price: int, form: str, before: str, after: str) -> None:
    texts = [f"{before}{form.format(amount)}{after}" for amount in (price, 7)]
    assert masked(texts[0])[0] == masked(texts[1])[0]


def test_title_and_description_are_said_and_nothing_where_there_is_neither() -> None:
    assert said("Phone £45", "works\nfine") == "Phone  price. works\nfine".replace("  price.", "  price.")
    assert said(None, "works") == "works"
    assert said(None, None) == said("", " ") == ""


@pytest.mark.parametrize(
    "text", ["36 37 38 " * 2222, "Sizes 36 37 38" + " " * 6000, "1 " * 50 + " " * 19_000 + "x", "1" * 20_000]
)
def test_no_text_takes_long(text: str) -> None:
    """Some of these took half a minute, and others would have taken hours."""
    begun = time.process_time()
    masked(text)
    assert time.process_time() - begun < 1


def test_whether_a_price_stands_in_a_text_is_not_whether_its_characters_are_plain() -> None:
    assert not any(masked(text)[1] for text in ("Nike™ trainers", "Bag… as new", "Size ½", "fine\u00a0lamp"))
    assert said_and_prices("lamp £5, was £9", "or 3 ono") == ("lamp  price , was  price. or  price", 3)
    assert said_and_prices("lamp", None) == ("lamp", 0)


@given(st.text(st.characters(exclude_categories=["Nd"]), max_size=40))
def test_no_price_is_without_a_digit(text: str) -> None:
    """Texts without one are not looked through."""
    assert DIGIT.search(plain(text)) or not any(price.search(plain(text)) for price in PRICES)
