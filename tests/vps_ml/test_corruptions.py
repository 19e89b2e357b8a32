from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scenario import photo

from vps_assets.assets.corruptions import summarised
from vps_ml.ops.corruptions import corrupted, shrunk
from vps_ml.photos.corruptions import CORRUPTIONS
from vps_ml.photos.decoding import decoded


def measured(paths: list[Path], name: str) -> float:
    return float(np.mean([getattr(decoded(path, 48)[1], name) for path in paths]))


@pytest.mark.parametrize(("name", "measure"), [("blur", "contrast"), ("darken", "brightness")])
def test_each_severity_is_measurably_worse_than_the_last(name: str, measure: str, tmp_path: Path) -> None:
    """The contrast of fine noise falls with blur, brightness with darkness, as `photo_quality` measures them."""
    clean = [photo(tmp_path / f"{i}.png", seed=i) for i in range(3)]
    photos = [shrunk(path, 96) for path in clean]
    figures = [measured(paths, measure) for kind, _, _, paths in corrupted(photos, tmp_path) if kind in ("none", name)]
    assert len(figures) == 5
    assert all(a > b for a, b in zip(figures, figures[1:], strict=False))


def test_a_crop_keeps_the_middle() -> None:
    pixels = np.zeros((100, 200, 3), dtype=np.uint8)
    pixels[25:75, 50:150] = 255
    cropped = CORRUPTIONS["crop"].apply(Image.fromarray(pixels), 0.5)
    assert cropped.size == (100, 50)
    assert np.asarray(cropped).min() == 255


def test_the_photos_stay_as_they_are(tmp_path: Path) -> None:
    path = photo(tmp_path / "0.png")
    (tmp_path / "worse").mkdir()
    before = path.read_bytes()
    seen = [(name, severity) for name, severity, _, _ in corrupted([shrunk(path, 50)], tmp_path / "worse")]
    assert len(set(seen)) == 13
    assert path.read_bytes() == before


def test_a_phones_photo_is_shrunk_before_it_is_made_worse(tmp_path: Path) -> None:
    assert shrunk(photo(tmp_path / "0.png", size=(400, 300)), 96).size == (96, 72)


def test_change_is_paired_with_the_same_photo_before() -> None:
    judged = pl.DataFrame(
        {
            "listing_id": ["a", "b", "a", "b"],
            "corruption": ["none", "none", "blur", "blur"],
            "severity": [0, 0, 1, 1],
            "strength": [None, None, 0.01, 0.01],
            "qualification": [0.9, 0.5, 0.6, 0.4],
            "model_id": ["m"] * 4,
        }
    )
    before, after = summarised(judged).to_dicts()
    assert (before["corruption"], before["severity"], before["change"]) == ("blur", 0, 0.0)
    assert before["qualification"] == pytest.approx(0.7)
    assert after["qualified_share"] == 0.5
    assert after["change"] == pytest.approx(-0.2)  # -0.3 and -0.1
    assert after["change_error"] == pytest.approx(0.1)  # their deviation 0.1414 over the root of 2
