"""Prices in the seller's words are masked before any model sees them: an asking price is not for them to read."""

import re
import unicodedata

MASK = " price "
AMOUNT = r"\d[\d.,' ]*\d|\d"
SIGNS = "£€$¥₹"
CODES = r"gbp|eur|euros?|usd|dollars?|pounds?|quid|pence|cents?|francs?|chf|yen|inr|rs\b\.?|sek|nok|dkk|pln|zł"
UNITS = r"x|mm|cm|m|km|kg|g|gb|tb|inch|inches|in|ft|l|ml|cl|[gmk]hz|w|kw|v|mah|years?|months?|weeks?|days?"
BARGAINED = r"o\.?n\.?o\b|o\.?b\.?o\b|ovno|vb\b|vhb|fp\b|fixed price|negotiable|each\b|,-|\.-|/-"
ASKED = r"price|asking|only|just|for|offers?|now|was|rrp|cost|paid|worth|preis|nur|für|vb|fp"
PRICES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:[{SIGNS}]|\b(?:{CODES}))\s*(?:{AMOUNT})(?:\s*k\b)?(?:\s*p\b)?",
        rf"(?<![\w])(?:{AMOUNT})\s*k?\s*(?:[{SIGNS}]|(?:{CODES})\b)",
        rf"(?<![\w])(?:{AMOUNT})\s*(?:{BARGAINED})",
        rf"\b(?:{ASKED})\b\s*[:=]?\s*(?:{AMOUNT})(?![\w%\"'])(?!\s*(?:{UNITS})\b)",
        rf"(?<![\w.,])\d{{1,3}}(?:[.,]\d{{3}})*[.,]\d{{2}}(?![\w.,])(?!\s*(?:{UNITS})\b)",
    )
)
"""A currency before or after a number, a number and how firm it is, a word of asking and a number, and a number with
two decimals. Model numbers, sizes and years stay: a bare number is no price as far as anyone can tell."""


def without_prices(text: str) -> str:
    """The text with every price in it replaced by the word `price`.

    Compatibility forms of digits and signs are read as the plain ones (Unicode's NFKC), so that no other digit helps.
    """
    plain = unicodedata.normalize("NFKC", text)
    for price in PRICES:
        plain = price.sub(MASK, plain)
    return plain


def said(title: str | None, description: str | None) -> str:
    """What a seller says of an item, as models may read it; empty where nothing is said."""
    parts = (without_prices(part).strip() for part in (title, description) if part)
    return ". ".join(part for part in parts if part)
