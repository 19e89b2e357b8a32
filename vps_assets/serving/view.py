"""What a seller reads: one price with its range, and what stands beside it; or one sentence on what to do."""

from collections.abc import Sequence
from math import log
from typing import Any

from vps_assets.serving.advice import HARD_TO_TELL
from vps_assets.serving.offers import Offer
from vps_assets.serving.service import Asking, Comparable, Suggestion
from vps_ml.photos.quality import ADVICE

REASONS = {
    "blurred": "The photo is blurred",
    "dark": "The photo is too dark",
    "overexposed": "The photo is too bright",
    "too_little_information": "There is too little to go by",
}
AROUND = 1.15
"""How far the scale goes beyond what stands on it, as a factor."""
LEAST = 0.01
"""Money: what is less has the same place."""
BY_WORDS = "By your words alone, as the photo shows too little: a better one may change it. "
LOOKS_LIKE = "The photo looks like {}: is the category right? "
PIECES = {"title": "a title", "brand": "the brand", "condition": "what condition it is in"}
"""What `would_help` may name -> in a sentence."""
SIMILAR = {"photo": "Sold items that look similar", "words": "Similar sold items"}
PLACES = {"below": "below the range", "within": "within the range", "above": "above the range"}
CHANCES = {0.5: "an even chance", 0.8: "a good chance (80%)"}
APART = 1.2
"""Asking over suggested price from which most items really are better than the suggestion, or worse the other way."""
WHY = {"above": ", most of them better than we could tell", "below": ", most of them worse than we could tell"}
FAST_DAYS = 7
"""For which prices are told; within a month nearly everything sells that sells at all."""


def view_of(offer: Offer, suggestion: Suggestion) -> dict[str, Any]:
    """A suggestion as the page shows it."""
    price, low, high = suggestion.suggested_price, suggestion.low, suggestion.high
    doubt = LOOKS_LIKE.format(suggestion.looks_like) if suggestion.looks_like else ""
    if price is None or low is None or high is None:
        headline = REASONS.get(suggestion.reason or "", REASONS["too_little_information"])
        if suggestion.advice == HARD_TO_TELL:  # she has said what can be said
            headline = "We cannot name one price"
        nothing: dict[str, Any] = {"bar": None, "comparables": [], "similar": "", "asking": [], "advised": []}
        return {
            "state": "unqualified",
            "headline": headline,
            "sentence": f"{doubt}{suggestion.advice or ''}{or_say_more(suggestion)}",
            **nothing,
        }
    currency, asking = suggestion.currency or "", suggestion.asking
    by = BY_WORDS if suggestion.inputs == "words" and offer.image is not None else ""
    asked = None if asking is None else asking.asking_price
    return {
        "state": "priced",
        "headline": money(price, currency),
        "sentence": f"{doubt}{by}Most such items sell for {low:,.2f} to {money(high, currency)}.",
        "bar": bar_of(price, low, high, asked, suggestion.comparables),
        "comparables": [shown(comparable, currency) for comparable in suggestion.comparables],
        "similar": SIMILAR["words" if suggestion.inputs == "words" else "photo"],
        "asking": [] if asking is None else chances_of(asking, price, currency),
        "advised": [] if asking is None else prices_of(asking, currency),
    }


def or_say_more(suggestion: Suggestion) -> str:
    """What else would help a listing whose photo is to be taken again, by what others gained from it."""
    more = [PIECES[piece] for piece in suggestion.would_help or {} if piece in PIECES]
    if suggestion.advice not in ADVICE.values() or not more:
        return ""
    return f" Or say more: {' and '.join(more)} may help too."


def money(price: float, currency: str) -> str:
    return f"{price:,.2f} {currency}".strip()


def bar_of(
    price: float, low: float, high: float, asked: float | None, comparables: Sequence[Comparable]
) -> dict[str, Any]:
    """Where everything is on one logarithmic scale, from 0 to 100."""
    sold = [comparable.sold_price for comparable in comparables]
    there = [max(value, LEAST) for value in (price, low, high, *sold, *([] if asked is None else [asked]))]
    start, end = log(min(there) / AROUND), log(max(there) * AROUND)

    def place(value: float) -> float:
        return round(100 * (log(max(value, LEAST)) - start) / (end - start), 2)

    return {
        "low": place(low),
        "width": round(place(high) - place(low), 2),
        "price": place(price),
        "asked": None if asked is None else place(asked),
        "sold": [place(value) for value in sold],
    }


def shown(comparable: Comparable, currency: str) -> dict[str, str]:
    """A sold item beside the price."""
    price = money(comparable.sold_price, currency)
    return {"src": f"/v1/photos/{comparable.photo_hash}", "price": price, "sold": f"{comparable.sold_on:%-d %b %Y}"}


def chances_of(asking: Asking, price: float, currency: str) -> list[str]:
    """What is known of the price that is asked, beside the suggested one."""
    if asking.asking_price is None:
        return []
    told = [f"You ask {money(asking.asking_price, currency)}, {PLACES[asking.place or 'within']}."]
    fast = [chance for chance in asking.chances if chance.within_days == FAST_DAYS]
    if not fast:
        return [*told, "Too few were offered so to say how fast it sells."]
    ordinary, others = fast[0].chosen_chance, f"of items that others offered so, {fast[0].chance:.0%} did"
    if ordinary is None:
        return [*told, f"Of items that others offered so, {fast[0].chance:.0%} sold within {FAST_DAYS} days."]
    ratio = asking.asking_price / max(price, LEAST)
    why = WHY["above"] if ratio > APART else WHY["below"] if ratio < 1 / APART else ""
    return [*told, f"If it is worth what we think, {ordinary:.0%} sell within {FAST_DAYS} days; {others}{why}."]


def prices_of(asking: Asking, currency: str) -> list[str]:
    """What else could be asked, if nothing more is known of the item."""
    told = [
        f"{money(at.price, currency)} sells within {at.within_days} days with {CHANCES[at.chance]}."
        for at in asking.prices
        if at.within_days == FAST_DAYS and at.chance in CHANCES
    ]
    most = asking.most_gain
    if most is not None:
        ends = f"{most.low:,.2f} to {most.high:,.2f}"
        told.append(f"{money(most.price, currency)} ({ends}) brings most on average within {most.within_days} days.")
    return told
