"""Copies of photos made worse: which photos, what is in them, and that nothing depends on what else has landed."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from datasets import photographed_rows, quick_recipe, sold_rows
from worlds import TINY, quiet

from vps_ml.artefacts import Artefacts
from vps_ml.backbones.embedding import embed, load_extractors
from vps_ml.features import spoilt
from vps_ml.features.dataset import PricingDataset
from vps_ml.features.roles import LEARNT, learnt_items
from vps_ml.features.scaling import FeatureMap
from vps_ml.features.spoilt import Draw, chosen, stored_copies, training_copies
from vps_ml.photos.corruptions import CORRUPTIONS, shrunk


def test_a_fifth_of_the_training_photos_get_a_copy_and_the_same_whatever_else_lands(tmp_path: Path) -> None:
    rows = sold_rows(Artefacts(tmp_path), 2000)
    few, all_of_them = (set(chosen(part)["photo_hash"]) for part in (rows[:1000], rows))
    training = rows.filter(pl.col("served_role") == "train")
    assert all_of_them <= set(training["photo_hash"])
    assert len(all_of_them) / training.height == pytest.approx(spoilt.SHARE, abs=0.03)
    assert few == all_of_them & set(rows["photo_hash"][:1000])


def test_of_too_many_photos_a_fixed_choice_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sold_rows(Artefacts(tmp_path), 500)
    every = chosen(rows)["photo_hash"].to_list()
    monkeypatch.setattr(spoilt, "MOST_COPIES", 10)
    assert chosen(rows.reverse())["photo_hash"].to_list() == every[:10]


def test_every_kind_and_severity_is_drawn(tmp_path: Path) -> None:
    draws = [Draw.of(str(number)) for number in range(500)]
    kinds = {(name, severity) for name, kind in CORRUPTIONS.items() for severity in range(1, len(kind.strengths) + 1)}
    assert {(draw.corruption, draw.severity) for draw in draws} == kinds


def test_a_copy_is_the_worse_photo_with_its_listings_statistics(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)
    dataset = PricingDataset(photographed_rows(artefacts), quick_recipe(), artefacts)
    found = training_copies(dataset, "MSTFE", "group", quiet)
    assert found is not None
    numbers, x = found
    assert len(numbers) > 3 and set(numbers) <= set(dataset.role("group", "train"))
    assert set(dataset.rows["photo_hash"][numbers]) == {
        photo for photo in chosen(dataset.rows)["photo_hash"] if int(photo) in dataset.role("group", "train")
    }
    map_id, matrix = dataset.matrix("MSTFE", "group")
    feature_map, extractors = FeatureMap.load(artefacts, map_id), load_extractors({"category": "b"}, TINY, artefacts)
    visual = feature_map.width
    for place, number in enumerate(numbers):
        path = artefacts.photo(dataset.rows["photo_hash"][int(number)])
        worse = Draw.of(path.name).spoil(shrunk(path, 2 * TINY.photo_px))
        worse.save(tmp_path / "worse.png")
        features = embed([tmp_path / "worse.png"], extractors)[0]["category"]
        assert x.array()[place, :visual] == pytest.approx(feature_map.visual(features)[0], abs=0.05)
        own = matrix.rows(np.array([number])).array()[0]
        assert x.array()[place, visual:] == pytest.approx(own[visual:])
        assert np.abs(x.array()[place, :visual] - own[:visual]).max() > 0.05


def test_photos_that_are_gone_or_cannot_be_read_have_no_copy(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)
    dataset = PricingDataset(photographed_rows(artefacts), quick_recipe(), artefacts)
    gone, damaged, *others = chosen(dataset.rows)["photo_hash"]
    artefacts.photo(gone).unlink()
    artefacts.photo(damaged).write_bytes(b"no photo")
    copies_id = stored_copies(dataset, quiet)
    assert copies_id is not None
    made = artefacts.models.frame(copies_id, LEARNT)
    assert made is not None and made["photo_hash"].to_list() == others
    assert learnt_items(artefacts, copies_id) is not None, "or `vps forget` could not name it"
    assert not list(tmp_path.glob(".spoilt*")), "the worse photos do not stay on disk"
    for photo_hash in dataset.rows["photo_hash"]:
        artefacts.photo(photo_hash).unlink(missing_ok=True)
    again = PricingDataset(dataset.rows.filter(pl.col("photo_hash") != gone), dataset.recipe, artefacts)
    assert training_copies(again, "MSTFE", "group", quiet) is None
