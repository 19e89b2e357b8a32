"""Prices in words are masked; sizes, models and years are not."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vps_ml.words.masking import said, without_prices


@pytest.mark.parametrize(
    "text",
    [
        "£45 ono", "phone £ 1,200.50", "45€", "45 EUR", "45,00", "1.200,00 €", "450 ono", "20 o.n.o.", "30 vb",
        "asking 45", "price: 45", "only 300", "45 quid", "5 pounds", "rs 4000", "4000 rs", "£1.2k", "20 each",
        "US$45", "£４５", "nur 30,-", "was 80 now 45", "FOR 250", "45gbp", "rrp £99 asking 45",
    ],
)  # fmt: skip
def test_a_price_is_masked(text: str) -> None:
    masked = without_prices(text)
    assert "price" in masked
    assert not re.search(r"\d", masked), masked


@pytest.mark.parametrize(
    "text",
    [
        "iPhone 12 64GB", "size 10", "Ford Focus 2015", "trousers 32 x 34", "for 3 years", "5.5 inch", "set of 4",
        "PS5", "100% cotton", "for 2 months", "Canon EOS 450D", "only 12 months old", "nike air max 90", "3 seater",
        "GT OMEGA RS9 seat",
        "2.40 Ghz", "for 24 V",
    ],
)  # fmt: skip
def test_what_is_no_price_stays(text: str) -> None:
    assert without_prices(text) == text


@given(
    st.integers(1, 99_999),
    st.sampled_from(["£{}", "{}€", "€ {}", "{} EUR", "{} ono", "asking {}", "{} pounds", "${}.00"]),
    st.sampled_from(["", "bike ", "lovely phone, "]),
    st.sampled_from(["", " bargain", ", collection only"]),
)
def test_whatever_the_price_the_masked_words_are_the_same(price: int, form: str, before: str, after: str) -> None:
    texts = [f"{before}{form.format(amount)}{after}" for amount in (price, 7)]
    assert without_prices(texts[0]) == without_prices(texts[1])


def test_title_and_description_are_said_and_nothing_where_there_is_neither() -> None:
    assert said("Phone £45", "works\nfine") == "Phone  price. works\nfine".replace("  price.", "  price.")
    assert said(None, "works") == "works"
    assert said(None, None) == said("", " ") == ""
