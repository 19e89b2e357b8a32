"""What the demo's sellers say of an item: a title, a description and its condition, each seller in a manner."""

from dataclasses import dataclass

import numpy as np

from vps_assets.demo.catalogue import BRANDS, CATEGORIES, Item

MANNERS = {"plain": 0.42, "terse": 0.15, "boastful": 0.13, "foreign": 0.12, "wrong": 0.08, "silent": 0.10}
"""Manner -> share of sellers."""
OWN_MANNER = 0.8
"""How often a seller keeps to it."""
TOLD = {"brand": 0.75, "colour": 0.4, "size": 0.5, "edition": 0.7, "wear": 0.4, "defect": 0.85, "receipt": 0.8}
"""Chance that a plain title or description tells a fact; a terse one tells each half as often."""
PRICED_TITLE_SHARE = 0.025
"""Titles that hold the asking price, as real ones do."""
WORN = ((0.1, "like new"), (0.3, "very good condition"), (0.6, "used"), (1.01, "worn"))
"""Wear below -> words."""
CONDITIONS = ((0.1, "new"), (0.35, "good"), (0.65, "fair"), (1.01, "poor"))
BROKEN = "for parts"
CONDITION_MISSING = 0.2
BOASTS = ("AMAZING!!!", "must see", "best price", "top quality", "bargain", "WOW", "rare find", "don't miss")
NOUNS = {
    "women clothes": ("dress", "summer dress", "gown"),
    "men clothes": ("shirt", "mens shirt", "polo"),
    "children clothes": ("romper", "kids outfit", "toddler suit"),
    "women shoes": ("heels", "pumps", "ladies shoes"),
    "men shoes": ("trainers", "mens shoes", "sneakers"),
    "children shoes": ("kids shoes", "velcro shoes", "school shoes"),
    "cosmetic": ("perfume", "lotion", "serum"),
    "phone": ("phone", "smartphone", "mobile"),
    "3C product": ("laptop", "notebook", "ultrabook"),
    "household appliance": ("kettle", "jug kettle", "electric kettle"),
    "sports equipment": ("racket", "tennis racket", "badminton racket"),
    "baby product": ("pram", "buggy", "pushchair"),
    "accessories": ("handbag", "bag", "tote"),
}
GERMAN = {
    "women clothes": "Kleid", "men clothes": "Herrenhemd", "children clothes": "Strampler", "women shoes": "Pumps",
    "men shoes": "Turnschuhe", "children shoes": "Kinderschuhe", "cosmetic": "Parfüm", "phone": "Handy",
    "3C product": "Rechner", "household appliance": "Wasserkocher", "sports equipment": "Schläger",
    "baby product": "Kinderwagen", "accessories": "Handtasche",
    "like new": "neuwertig", "very good condition": "sehr guter Zustand", "used": "gebraucht", "worn": "abgenutzt",
    "limited edition": "Sonderedition", "not working": "defekt", "with receipt": "mit Rechnung", "size": "Größe",
    "white": "weiß", "black": "schwarz", "red": "rot", "blue": "blau", "green": "grün", "yellow": "gelb",
    "pink": "rosa", "beige": "beige",
}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What a seller says; None where nothing."""

    title: str | None
    description: str | None
    condition: str | None
    manner: str


def manners(rng: np.random.Generator, sellers: int) -> list[str]:
    """Each seller's manner."""
    return [str(manner) for manner in rng.choice(list(MANNERS), sellers, p=list(MANNERS.values()))]


def banded(wear: float, bands: tuple[tuple[float, str], ...]) -> str:
    """The word for this wear."""
    return next(word for below, word in bands if wear < below)


def said(item: Item, own_manner: str, asking: float, rng: np.random.Generator) -> Said:
    """The words of one listing."""
    manner = own_manner if rng.random() < OWN_MANNER else str(rng.choice(list(MANNERS), p=list(MANNERS.values())))
    condition = None if rng.random() < CONDITION_MISSING else stated_condition(item, rng)
    if manner == "silent":
        return Said(None, None, condition, manner)
    noun = str(rng.choice(NOUNS[item.category]))
    facts = {**told_facts(item, rng), "noun": noun}
    if manner == "wrong":
        lie = {"brand": str(rng.choice(list(BRANDS)))}
        if rng.random() < 0.3:
            lie["noun"] = NOUNS[str(rng.choice(list(CATEGORIES)))][0]
        facts |= lie
    if manner == "terse":
        facts = {name: word for name, word in facts.items() if name == "noun" or rng.random() < 0.5}
    title_facts = {name: word for name, word in facts.items() if name == "noun" or rng.random() < 0.75}
    title = in_german(item, title_facts) if manner == "foreign" else joined(title_facts)
    if manner == "boastful":
        title = f"{rng.choice(BOASTS)} {title} {rng.choice(BOASTS)}"
    if rng.random() < PRICED_TITLE_SHARE:
        title += str(rng.choice((f" €{asking:.0f}", f" {asking:.0f} EUR ono", f" - {asking:.0f}€ vb")))
    title = (str.lower, str.title, str.upper, str)[int(rng.choice(4, p=(0.35, 0.3, 0.1, 0.25)))](title)
    return Said(title, None if manner == "terse" else description(item, facts, manner, rng), condition, manner)


def told_facts(item: Item, rng: np.random.Generator) -> dict[str, str]:
    """The facts that the seller tells, each by its chance, in the order of a title."""
    true = {
        "brand": item.brand,
        "colour": item.colour,
        "size": f"size {item.size}",
        "edition": "limited edition" if item.edition == "limited" else None,
        "wear": banded(item.wear, WORN),
        "defect": None if item.works else "not working",
        "receipt": "with receipt" if item.receipt else None,
    }
    return {name: word for name, word in true.items() if word is not None and rng.random() < TOLD[name]}


def joined(facts: dict[str, str]) -> str:
    """An English title."""
    order = ("brand", "colour", "noun", "size", "edition", "wear", "defect", "receipt")
    return " ".join(facts[name] for name in order if name in facts)


def in_german(item: Item, facts: dict[str, str]) -> str:
    """The title in another language than most."""
    words = {name: GERMAN.get(word, word.replace("size", GERMAN["size"])) for name, word in facts.items()}
    return joined(words | {"noun": GERMAN[item.category]})


def description(item: Item, facts: dict[str, str], manner: str, rng: np.random.Generator) -> str:
    """Some sentences; what the title did not tell may stand here."""
    if manner == "foreign":
        return f"Verkaufe {in_german(item, facts)}. Privatverkauf, keine Rücknahme."
    more = facts | told_facts(item, rng) if manner != "wrong" else facts
    opening = rng.choice(("Selling my", "For sale:", "Hardly needed any more,", "Up for grabs:"))
    closing = rng.choice(("Collection only.", "Can post.", "From a smoke free home.", "No returns.\nCash please."))
    return f"{opening} {joined(more)}. {closing}"


def stated_condition(item: Item, rng: np.random.Generator) -> str:
    """The label that the seller chooses: a little kinder than the truth."""
    if not item.works and rng.random() < 0.6:
        return BROKEN
    return banded(min(1.0, max(0.0, item.wear - abs(rng.normal(0, 0.1)))), CONDITIONS)
