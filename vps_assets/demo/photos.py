"""Drawing the demo marketplace's photos: an item on a table or before a wall, some light, perhaps a fault."""

import io
import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

from vps_assets.demo.catalogue import BRANDS, CATEGORIES, COLOURS, SIZES, Item

CANVAS_PX = 216
GOLD = (222, 184, 76, 255)
Colour = tuple[int, int, int]


def tint(colour: Colour, factor: float) -> Colour:
    """Darker below 1, towards white above."""
    if factor <= 1:
        return tuple(int(c * factor) for c in colour)  # type: ignore[return-value]
    return tuple(int(255 - (255 - c) / factor) for c in colour)  # type: ignore[return-value]


def tones(colour: Colour) -> dict[str, Colour]:
    return {
        "body": colour,
        "dark": tint(colour, 0.6),
        "light": tint(colour, 2.2),
        "screen": (38, 46, 62),
        "handle": tint(colour, 0.45),
    }


def draw_shape(draw: ImageDraw.ImageDraw, kind: str, points: list[tuple[float, float]], fill: Colour | int) -> None:
    if kind == "polygon":
        draw.polygon(points, fill=fill)
    elif kind == "ellipse":
        draw.ellipse([*points[0], *points[1]], fill=fill)
    else:
        draw.rounded_rectangle([*points[0], *points[1]], radius=CANVAS_PX * 0.02, fill=fill)


def pattern_layer(pattern: str, colour: Colour) -> Image.Image:
    """The cloth, the case: its colour, striped, dotted or checked."""
    layer = Image.new("RGB", (CANVAS_PX, CANVAS_PX), colour)
    draw = ImageDraw.Draw(layer)
    other = tint(colour, 0.62) if sum(colour) > 330 else tint(colour, 2.4)
    step = CANVAS_PX // 9
    for i in range(0, CANVAS_PX, step):
        if pattern in ("striped", "checked"):
            draw.rectangle([0, i, CANVAS_PX, i + step * 0.4], fill=other)
        if pattern == "checked":
            draw.rectangle([i, 0, i + step * 0.4, CANVAS_PX], fill=tint(other, 0.8))
        if pattern == "dotted":
            for j in range(0, CANVAS_PX, step):
                draw.ellipse([i, j, i + step * 0.45, j + step * 0.45], fill=other)
    return layer


def draw_mark(  # noqa: C901 (a mark a branch)
    draw: ImageDraw.ImageDraw, brand: str, centre: tuple[float, float], radius: float
) -> None:
    """The brand's mark on a white label, readable on every colour."""
    _, mark, colour = BRANDS[brand]
    x, y = centre
    label = radius * 1.35
    draw.ellipse([x - label, y - label, x + label, y + label], fill=(250, 250, 248))

    def ring(points: int, inner: float = 1.0) -> list[tuple[float, float]]:
        corners = []
        for i in range(points * 2):
            r = radius if i % 2 == 0 else radius * inner
            angle = math.pi * i / points - math.pi / 2
            corners.append((x + r * math.cos(angle), y + r * math.sin(angle)))
        return corners

    square = [x - radius * 0.8, y - radius * 0.8, x + radius * 0.8, y + radius * 0.8]
    third = radius * 0.3
    if mark == "star":
        draw.polygon(ring(5, 0.42), fill=colour)
    elif mark == "triangle":
        draw.polygon(ring(3)[::2], fill=colour)
    elif mark == "diamond":
        draw.polygon(ring(4)[::2], fill=colour)
    elif mark == "disc":
        draw.ellipse(square, fill=colour)
    elif mark == "ring":
        draw.ellipse(square, outline=colour, width=max(2, int(radius * 0.4)))
    elif mark == "square":
        draw.rectangle(square, fill=colour)
    elif mark == "cross":
        draw.rectangle([x - third, y - radius, x + third, y + radius], fill=colour)
        draw.rectangle([x - radius, y - third, x + radius, y + third], fill=colour)
    else:
        for offset in (-0.75, -0.1, 0.55):
            top = y + offset * radius
            draw.rectangle([x - radius * 0.9, top, x + radius * 0.9, top + radius * 0.35], fill=colour)


def draw_item(item: Item, rng: np.random.Generator) -> Image.Image:
    """The item alone, upright, on transparency."""
    category = CATEGORIES[item.category]
    colour = COLOURS[item.colour][1]
    unit = CANVAS_PX / 100
    mask = Image.new("L", (CANVAS_PX, CANVAS_PX), 0)
    body = Image.new("L", (CANVAS_PX, CANVAS_PX), 0)
    layer = pattern_layer(item.pattern, colour)
    for kind, points, tone in category.shapes:
        scaled = [(x * unit, y * unit) for x, y in points]
        if tone == "handle":
            outline = [*scaled[0], *scaled[1]]
            ImageDraw.Draw(mask).ellipse(outline, outline=255, width=int(5 * unit))
            ImageDraw.Draw(layer).ellipse(outline, outline=tones(colour)["handle"], width=int(5 * unit))
            continue
        draw_shape(ImageDraw.Draw(mask), kind, scaled, 255)
        if tone == "body":
            draw_shape(ImageDraw.Draw(body), kind, scaled, 255)
        else:
            draw_shape(ImageDraw.Draw(layer), kind, scaled, tones(colour)[tone])
    layer = shaded(layer, mask)
    if item.edition == "limited":
        rim = ImageChops.subtract(mask.filter(ImageFilter.MaxFilter(7)), mask.filter(ImageFilter.MinFilter(5)))
        layer.paste(GOLD[:3], mask=rim)
        mask = mask.filter(ImageFilter.MaxFilter(7))
    draw_wear(layer, item.wear, rng)
    mark_at = (category.mark[0] * unit, category.mark[1] * unit)
    draw_mark(ImageDraw.Draw(layer), item.brand, mark_at, 8.5 * unit)
    layer.putalpha(mask)
    return layer


def shaded(layer: Image.Image, mask: Image.Image) -> Image.Image:
    """Roundness: the item's rim a little darker, its upper left a little lighter."""
    depth = np.asarray(mask.filter(ImageFilter.GaussianBlur(CANVAS_PX * 0.05)), dtype=np.float32) / 255
    ramp = np.linspace(1.08, 0.92, CANVAS_PX, dtype=np.float32)
    light = (0.72 + 0.28 * depth) * (ramp[:, None] + ramp[None, :]) / 2
    pixels = np.asarray(layer, dtype=np.float32) * light[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def draw_wear(layer: Image.Image, wear: float, rng: np.random.Generator) -> None:
    """Scratches and stains, the more the more worn."""
    draw = ImageDraw.Draw(layer, "RGBA")
    for _ in range(int(wear * 26)):
        x, y = rng.uniform(0.1, 0.9, 2) * CANVAS_PX
        dx, dy = rng.normal(0, 0.09, 2) * CANVAS_PX
        shade = 235 if rng.random() < 0.5 else 25
        draw.line([x, y, x + dx, y + dy], fill=(shade, shade, shade, 190), width=int(rng.integers(1, 4)))
    for _ in range(int(wear * 12)):
        x, y = rng.uniform(0.1, 0.9, 2) * CANVAS_PX
        r = rng.uniform(0.012, 0.045) * CANVAS_PX
        draw.ellipse([x - r, y - r * 0.8, x + r, y + r * 0.8], fill=(88, 62, 38, 150))


def background(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A wall and a table top or floor, in quiet colours, perhaps with a weave or boards."""
    wall = np.array(rng.integers(150, 236, 3), dtype=np.float32)
    wall = wall * 0.35 + wall.mean() * 0.65 + rng.uniform(-8, 8, 3)
    floor = np.array(
        [[176, 138, 98], [120, 92, 70], [200, 200, 205], [150, 160, 150], [214, 196, 168]][rng.integers(5)]
    )
    horizon = rng.uniform(0.35, 0.75) if rng.random() < 0.65 else -1.0
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    columns = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    picture = wall[None, None] * (1.04 - 0.1 * rows) + 0 * columns
    if horizon > 0:
        boards = 1 - 0.07 * (np.sin(columns * math.pi * rng.integers(6, 14)) > 0.9)
        ground = floor[None, None] * (0.84 + 0.22 * rows) * boards
        picture = np.where(rows > horizon, ground, picture)
    else:
        weave = 1 + 0.05 * np.sin((rows + columns * rng.uniform(-1, 1)) * math.pi * rng.integers(12, 40))
        picture = floor[None, None] * 0.4 * weave + wall[None, None] * 0.6 * weave
    grain = rng.normal(0, 2.5, (height, width, 1))
    return Image.fromarray((picture + grain).clip(0, 255).astype(np.uint8))


def place(scene: Image.Image, item: Image.Image, scale: float, rng: np.random.Generator) -> None:
    """Put an item into the scene: turned, sized, with its shadow."""
    side = int(min(scene.size) * 0.86 * scale)
    turned = item.resize((side, side), Image.Resampling.LANCZOS).rotate(
        rng.uniform(-18, 18), Image.Resampling.BICUBIC, expand=True
    )
    x = int((scene.width - turned.width) / 2 + rng.normal(0, 0.03) * scene.width)
    y = int((scene.height - turned.height) / 2 + rng.normal(0, 0.03) * scene.height)
    blur = max(2, side // 28)
    shadow = turned.getchannel("A").filter(ImageFilter.GaussianBlur(blur)).point(lambda a: int(a * 0.42))
    scene.paste((28, 26, 32), (x + blur, y + int(1.6 * blur)), shadow)
    scene.paste(turned, (x, y), turned)


def lit(scene: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Light from one side, and the warmth of a lamp or a window."""
    angle = rng.uniform(0, 2 * math.pi)
    rows = np.linspace(-1, 1, scene.height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, scene.width, dtype=np.float32)[None, :]
    ramp = 1 + rng.uniform(0.04, 0.2) * (rows * math.sin(angle) + columns * math.cos(angle))
    warmth = np.array([1 + rng.uniform(-0.05, 0.06), 1.0, 1 - rng.uniform(-0.05, 0.06)], dtype=np.float32)
    pixels = np.asarray(scene, dtype=np.float32) * (ramp * rng.uniform(0.88, 1.06))[..., None] * warmth
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def clutter(scene: Image.Image, rng: np.random.Generator) -> None:
    """Other things, over and around the item."""
    names = list(CATEGORIES)
    for _ in range(int(rng.integers(5, 8))):
        other = Item(
            str(rng.choice(names)), str(rng.choice(list(BRANDS))), str(rng.choice(list(COLOURS))), "plain", "S",
            "classic", 0.0,
        )  # fmt: skip
        drawn = draw_item(other, rng)
        side = int(min(scene.size) * rng.uniform(0.35, 0.6))
        turned = drawn.resize((side, side)).rotate(rng.uniform(0, 360), expand=True)
        spot = (int(rng.uniform(-0.1, 0.7) * scene.width), int(rng.uniform(-0.1, 0.7) * scene.height))
        scene.paste(turned, spot, turned)


def with_fault(scene: Image.Image, fault: str | None, rng: np.random.Generator) -> Image.Image:
    """The photo as a careless seller would have taken it; `cluttered` is drawn before."""
    side = max(scene.size)
    if fault == "blur":
        return scene.filter(ImageFilter.GaussianBlur(side * rng.uniform(0.035, 0.06)))
    if fault == "dark":
        dimmed = np.asarray(scene, dtype=np.float32) * rng.uniform(0.06, 0.16)
        noise = rng.normal(0, 3.0, dimmed.shape)
        return Image.fromarray((dimmed + noise).clip(0, 255).astype(np.uint8))
    if fault == "overexposed":
        pixels = np.asarray(scene, dtype=np.float32) * rng.uniform(1.8, 2.4) + 40
        return ImageEnhance.Contrast(Image.fromarray(pixels.clip(0, 255).astype(np.uint8))).enhance(0.9)
    if fault == "too_close":
        share = rng.uniform(0.1, 0.17)
        x, y = (rng.uniform(0.3, 0.6) * scene.width, rng.uniform(0.35, 0.6) * scene.height)
        patch = scene.crop((int(x), int(y), int(x + share * scene.width) + 4, int(y + share * scene.height) + 4))
        return patch.resize(scene.size, Image.Resampling.BICUBIC)
    return scene


def draw_photo(item: Item, fault: str | None, seed: tuple[int, ...]) -> bytes:
    """One JPEG, 96 to 256 px a side, the same for the same arguments."""
    rng = np.random.default_rng(seed)
    longest = int(rng.integers(150, 257))
    shortest = max(96, int(longest * rng.choice([0.75, 1.0])))
    width, height = (longest, shortest) if rng.random() < 0.35 else (shortest, longest)
    scene = background(width, height, rng)
    place(scene, draw_item(item, rng), SIZES[item.size][1] * rng.uniform(0.97, 1.03), rng)
    if fault == "cluttered":
        clutter(scene, rng)
    scene = with_fault(lit(scene, rng), fault, rng)
    buffer = io.BytesIO()
    scene.save(buffer, "JPEG", quality=int(rng.integers(82, 93)))
    return buffer.getvalue()
