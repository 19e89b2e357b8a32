"""Prices in the seller's words are masked before any model sees them: an asking price is not for them to read."""

import re
import unicodedata

MASK = " price "
MOST_CHARACTERS = 2_000
"""Of a text that are read: what is worth saying stands at its beginning."""
# Every repetition is bounded: a long table of sizes must not take hours.
AMOUNT = r"\d{1,9}(?:[.,' ]\d{1,3}){0,4}"
GAP = r"\s{0,3}"
SIGNS = "£€$¥₹₽元₩₺"
CODES = (
    r"gbp|eur|euros?|usd|cad|aud|dollars?|pounds?|quid|pence|cents?|francs?|chf|yen|rmb|inr|rs\b\.?|sek|nok|dkk|kr\b|pln"
    r"|zł|czk|kč|huf|rub|try"
)
UNITS = r"x|mm|cm|m|km|kg|g|gb|tb|inch|inches|in|ft|l|ml|cl|[gmk]hz|w|kw|v|mah|years?|months?|weeks?|days?"
FIRM = r"o\.?n\.?o\b|o\.?b\.?o\b|or best offer|ovno|vb\b|vhb|fp\b|fixed price|firm\b|negotiable|each\b|,-|,–|\.-|/-|:-"
PRICED = r"price|asking|sold|rrp|paid|preis|festpreis|prix|precio|vhb|vb|fp"
ASKED = r"for|only|just|now|was|offers?|cost|worth|nur|für"
ROUGHLY = r"(?:\s{1,3}(?:price|for|is|of|about|around|ca\.?|approx\.?)){0,2}\s{0,3}(?:\(\w{3}\))?\s{0,3}[:=~–-]{0,2}~?"
END = r"(?=\s{0,3}(?:$|[.,;:!?)\n]|ono\b|now\b))"
PRICES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:[{SIGNS}]|\b(?:{CODES})){GAP}{AMOUNT}(?:\s?-\s?{AMOUNT})?(?:{GAP}[kp]\b)?",
        rf"(?<!\w)(?:{AMOUNT}\s?-\s?)?{AMOUNT}{GAP}k?{GAP}(?:[{SIGNS}]|(?:{CODES})(?!\w))",
        rf"(?<!\w){AMOUNT}{GAP}(?:{FIRM})",
        rf"\b(?:{PRICED})\b{ROUGHLY}{GAP}{AMOUNT}(?![\w%\"'])(?!{GAP}(?:{UNITS})\b)",
        rf"\b(?:{ASKED})\b{GAP}[:=]?{GAP}{AMOUNT}(?![\w%\"']){END}",
        rf"(?<![\w.,])\d{{1,3}}(?:[.,]\d{{3}}){{0,3}}[.,]\d{{2}}(?![\w.,])(?!{GAP}(?:{UNITS})\b)",
    )
)
"""A currency before or after a number, or a range of them; a number and how firm it is; a word of pricing and a number;
a word that often precedes a price, and a number that ends the phrase; a number with two decimals. Model numbers, sizes
and years stay: a bare number is no price as far as anyone can tell. Words for numbers are not read, nor labels (brand,
attributes, specifications, condition), which are taken as the marketplace's own."""
DIGIT = re.compile(r"\d")
"""Stands in every price: most texts of most listings have none, and need not be looked through six times."""
UNSEEN = {ord(c): None for c in "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufe0f\u20e3"}
"""Characters within which a price could be hidden."""


def plain(text: str) -> str:
    """The beginning of the text, in the plain forms of its characters (Unicode's NFKC), without what nobody sees."""
    beginning = text[:MOST_CHARACTERS]
    return beginning if beginning.isascii() else unicodedata.normalize("NFKC", beginning).translate(UNSEEN)


def masked(text: str) -> tuple[str, int]:
    """(the plain text with every price in it replaced by the word `price`, how many there were)."""
    found, prices = plain(text), 0
    for price in PRICES if DIGIT.search(found) else ():
        found, count = price.subn(MASK, found)
        prices += count
    return found, prices


def said_and_prices(title: str | None, description: str | None) -> tuple[str, int]:
    """(what a seller says of an item, as models may read it, how many prices were masked in it); "" if nothing is."""
    parts = [masked(part) for part in (title, description) if part]
    words = (part.strip() for part, _ in parts)
    return ". ".join(part for part in words if part), sum(count for _, count in parts)


def said(title: str | None, description: str | None) -> str:
    """What a seller says of an item, as models may read it; empty where nothing is said."""
    return said_and_prices(title, description)[0]
