from pathlib import Path

from scenario import photo

from vps_ml.ops.corruptions import corrupted
from vps_ml.photos.corruptions import shrunk


def test_the_photos_stay_as_they_are(tmp_path: Path) -> None:
    path = photo(tmp_path / "0.png")
    (tmp_path / "worse").mkdir()
    before = path.read_bytes()
    seen = [(worse.corruption, worse.severity) for worse in corrupted([shrunk(path, 50)], tmp_path / "worse")]
    assert len(set(seen)) == 13
    assert path.read_bytes() == before


def test_a_phones_photo_is_shrunk_before_it_is_made_worse(tmp_path: Path) -> None:
    assert shrunk(photo(tmp_path / "0.png", size=(400, 300)), 96).size == (96, 72)
