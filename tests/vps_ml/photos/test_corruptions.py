from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenario import photo

from vps_ml.ops.corruptions import corrupted
from vps_ml.photos.corruptions import CORRUPTIONS, shrunk
from vps_ml.photos.decoding import decoded


def measured(paths: list[Path], name: str) -> float:
    return float(np.mean([getattr(decoded(path, 48)[1], name) for path in paths]))


@pytest.mark.parametrize(("name", "measure"), [("blur", "contrast"), ("darken", "brightness")])
def test_each_severity_is_measurably_worse_than_the_last(name: str, measure: str, tmp_path: Path) -> None:
    """The contrast of fine noise falls with blur, brightness with darkness, as `photo_quality` measures them."""
    clean = [photo(tmp_path / f"{i}.png", seed=i) for i in range(3)]
    photos = [shrunk(path, 96) for path in clean]
    figures = [
        measured(worse.paths, measure) for worse in corrupted(photos, tmp_path) if worse.corruption in ("none", name)
    ]
    assert len(figures) == 5
    assert all(a > b for a, b in zip(figures, figures[1:], strict=False))


def test_a_crop_keeps_the_middle() -> None:
    pixels = np.zeros((100, 200, 3), dtype=np.uint8)
    pixels[25:75, 50:150] = 255
    cropped = CORRUPTIONS["crop"].apply(Image.fromarray(pixels), 0.5)
    assert cropped.size == (100, 50)
    assert np.asarray(cropped).min() == 255
