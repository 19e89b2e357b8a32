"""What the demo marketplace trades: categories, brands, attributes, specifications, and what each does to a price.

Shapes are on a canvas of 100 by 100: (kind, points, tone); the tone is the body, or what is lighter, darker or
neutral on it.
"""

from dataclasses import dataclass

Shape = tuple[str, tuple[tuple[float, float], ...], str]


@dataclass(frozen=True)
class Category:
    """One class of items."""

    share: float
    """Of listings, roughly as in the paper's Table 1."""
    base_price: float
    """Median price of an unbranded plain one, EUR."""
    noise: float
    """Standard deviation of the log price that nothing explains."""
    shapes: tuple[Shape, ...]
    mark: tuple[float, float]
    """Where the brand's mark is."""


def box(x0: float, y0: float, x1: float, y1: float, tone: str = "body") -> Shape:
    return "rounded", ((x0, y0), (x1, y1)), tone


def oval(x0: float, y0: float, x1: float, y1: float, tone: str = "body") -> Shape:
    return "ellipse", ((x0, y0), (x1, y1)), tone


def shape(*points: tuple[float, float], tone: str = "body") -> Shape:
    return "polygon", points, tone


SHOE = (
    shape((8, 70), (10, 50), (30, 48), (48, 58), (80, 62), (92, 72), (92, 78), (8, 78)),
    box(7, 77, 93, 84, "light"),
    shape((28, 50), (46, 59), (44, 63), (26, 54), tone="dark"),
    shape((38, 49), (54, 59), (52, 63), (36, 54), tone="dark"),
)
SHIRT = (
    shape((30, 14), (42, 20), (58, 20), (70, 14), (94, 34), (82, 50), (72, 42), (72, 90), (28, 90), (28, 42), (18, 50), (6, 34)),
    shape((42, 20), (50, 30), (58, 20), tone="dark"),
)  # fmt: skip
CATEGORIES: dict[str, Category] = {
    "women clothes": Category(
        0.19, 24, 0.40,
        (
            shape((36, 8), (43, 8), (45, 18), (55, 18), (57, 8), (64, 8), (62, 38), (84, 92), (16, 92), (38, 38)),
            box(37, 37, 63, 42, "dark"),
        ),
        (50, 66),
    ),
    "men clothes": Category(0.06, 28, 0.38, (*SHIRT, shape((49, 30), (51, 30), (51, 90), (49, 90), tone="light")), (61, 44)),
    "children clothes": Category(
        0.04, 12, 0.36,
        (
            shape((34, 26), (66, 26), (84, 42), (74, 54), (66, 48), (66, 66), (72, 88), (54, 88), (50, 74), (46, 88), (28, 88), (34, 66), (34, 48), (26, 54), (16, 42)),
            oval(44, 20, 56, 32, "dark"),
        ),
        (50, 50),
    ),
    "women shoes": Category(
        0.05, 36, 0.32,
        (
            shape((14, 30), (26, 30), (40, 56), (62, 72), (90, 76), (92, 84), (60, 84), (34, 70), (24, 60), (22, 88), (16, 88)),
            shape((16, 32), (25, 32), (36, 54), (28, 56), tone="dark"),
        ),
        (54, 74),
    ),
    "men shoes": Category(0.05, 46, 0.30, SHOE, (66, 70)),
    "children shoes": Category(0.06, 15, 0.30, (*SHOE[:2], box(36, 52, 48, 72, "light"), box(54, 56, 64, 74, "light")), (22, 64)),
    "cosmetic": Category(
        0.12, 18, 0.22,
        (box(32, 36, 68, 92), box(40, 24, 60, 38, "dark"), box(43, 8, 57, 26, "light"), box(38, 62, 62, 82, "light")),
        (50, 50),
    ),
    "phone": Category(
        0.08, 210, 0.14,
        (box(30, 8, 70, 92), box(33, 14, 67, 84, "screen"), oval(46, 85, 54, 91, "light"), box(44, 10, 56, 12, "dark")),
        (50, 40),
    ),
    "3C product": Category(
        0.13, 180, 0.24,
        (box(14, 18, 86, 68), box(18, 22, 82, 63, "screen"), shape((8, 72), (92, 72), (98, 84), (2, 84)), box(40, 75, 60, 80, "dark")),
        (50, 44),
    ),
    "household appliance": Category(
        0.07, 70, 0.30,
        (box(24, 30, 68, 88), shape((24, 38), (10, 30), (14, 26), (28, 32)), box(68, 40, 82, 46), box(76, 40, 82, 76), box(68, 70, 82, 76), oval(38, 22, 54, 32, "dark")),
        (46, 58),
    ),
    "sports equipment": Category(
        0.08, 55, 0.45,
        (oval(26, 6, 74, 62), oval(32, 12, 68, 56, "light"), box(47, 60, 53, 94, "dark"), shape((44, 58), (56, 58), (52, 70), (48, 70))),
        (50, 34),
    ),
    "baby product": Category(
        0.03, 30, 0.34,
        (shape((18, 20), (56, 20), (56, 52), (84, 52), (76, 72), (28, 72)), oval(24, 72, 42, 90, "dark"), oval(62, 72, 80, 90, "dark"), shape((82, 52), (94, 34), (98, 36), (88, 54), tone="dark")),
        (40, 40),
    ),
    "accessories": Category(
        0.04, 40, 0.58,
        (shape((20, 44), (80, 44), (88, 88), (12, 88)), oval(32, 14, 68, 62, "handle"), box(18, 44, 82, 54, "dark")),
        (50, 70),
    ),
}  # fmt: skip

BRANDS: dict[str, tuple[float, str, tuple[int, int, int]]] = {
    "Aldera": (2.6, "star", (212, 160, 23)),
    "Borealis": (1.9, "triangle", (18, 120, 140)),
    "Cindermill": (1.5, "disc", (190, 40, 45)),
    "Dovetail": (1.25, "diamond", (60, 60, 160)),
    "Eastwick": (1.0, "bars", (30, 30, 30)),
    "Fennimore": (0.8, "ring", (20, 140, 70)),
    "Gallant": (0.65, "cross", (235, 120, 30)),
    "Harrowby": (0.5, "square", (150, 60, 150)),
}
"""Brand -> (price factor, mark, colour of the mark)."""

COLOURS: dict[str, tuple[float, tuple[int, int, int]]] = {
    "white": (1.0, (238, 236, 230)),
    "black": (1.15, (48, 48, 54)),
    "red": (1.05, (196, 62, 58)),
    "blue": (1.0, (66, 108, 178)),
    "green": (0.95, (92, 150, 96)),
    "yellow": (0.85, (232, 196, 84)),
    "pink": (0.9, (232, 152, 172)),
    "beige": (1.1, (206, 184, 150)),
}
PATTERNS = {"plain": 1.0, "striped": 1.2, "dotted": 0.85, "checked": 1.35}
SIZES = {"S": (0.85, 0.74), "M": (0.95, 0.84), "L": (1.05, 0.94), "XL": (1.2, 1.04)}
"""Size -> (price factor, scale of the item in the photo)."""
EDITIONS = {"classic": 1.0, "limited": 1.45}
WEAR_EFFECT = -0.9
"""Of full wear (1) on the log price."""
CAN_BREAK = ("phone", "3C product", "household appliance", "baby product")
"""Categories whose items may not work."""
BROKEN_EFFECT, RECEIPT_EFFECT = -0.8, 0.12
"""Of a defect and of a receipt on the log price: what only words tell."""
FAULTS = ("blur", "dark", "overexposed", "cluttered", "too_close")


@dataclass(frozen=True)
class Item:
    """One physical item."""

    category: str
    brand: str
    colour: str
    pattern: str
    size: str
    edition: str
    wear: float
    """0 as new, 1 worn out."""
    works: bool = True
    """No photo shows it; nor the next."""
    receipt: bool = False
