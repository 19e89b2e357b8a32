"""Copies of photos made worse: which photos, what is in them, and that nothing depends on what else has landed."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from datasets import BACKBONES, photographed_rows, quick_recipe, sold_rows
from worlds import TINY, quiet

from vps_ml.artefacts import Artefacts
from vps_ml.backbones.embedding import embed, load_extractors
from vps_ml.features import spoilt
from vps_ml.features.dataset import PricingDataset
from vps_ml.features.roles import LEARNT, learnt_items
from vps_ml.features.scaling import FeatureMap
from vps_ml.features.spoilt import Draw, chosen, stored_copies, training_copies
from vps_ml.photos.corruptions import CORRUPTIONS, shrunk


def dataset_of(rows: pl.DataFrame, artefacts: Artefacts) -> PricingDataset:
    return PricingDataset(rows, quick_recipe(), artefacts)


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


def test_a_photo_is_made_worse_in_the_same_way_for_ever() -> None:
    """Or copies under one id would be of two kinds."""
    drawn = [(draw.corruption, draw.strength) for draw in map(Draw.of, "abc")]
    assert drawn == [("crop", 0.35), ("blur", 0.08), ("crop", 0.35)]


def test_every_kind_and_severity_is_drawn() -> None:
    draws = [Draw.of(str(number)) for number in range(500)]
    kinds = {(name, strength) for name, kind in CORRUPTIONS.items() for strength in kind.strengths}
    assert {(draw.corruption, draw.strength) for draw in draws} == kinds


def test_a_copy_is_the_worse_photo_with_its_listings_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoilt, "AT_ONCE", 2)
    artefacts = Artefacts(tmp_path)
    dataset = dataset_of(photographed_rows(artefacts), artefacts)
    found = training_copies(dataset, "MSTFE", "group", quiet)
    assert found is not None
    numbers, x = found
    assert len(numbers) > 3
    map_id, matrix = dataset.matrix("MSTFE", "group")
    feature_map, extractors = FeatureMap.load(artefacts, map_id), load_extractors(BACKBONES, TINY, artefacts)
    visual = feature_map.width
    for place, number in enumerate(numbers):
        path = artefacts.photo(dataset.rows["photo_hash"][int(number)])
        worse = Draw.of(path.name).spoil(shrunk(path, 2 * TINY.photo_px))
        worse.save(tmp_path / "worse.png")
        features = embed([tmp_path / "worse.png"], extractors)[0]
        side_by_side = np.concatenate([features["category"], features["specification"]], axis=1)
        assert x.array()[place, :visual] == pytest.approx(feature_map.visual(side_by_side)[0], abs=0.05)
        own = matrix.rows(np.array([number])).array()[0]
        assert x.array()[place, visual:] == pytest.approx(own[visual:])
        assert np.abs(x.array()[place, :visual] - own[:visual]).max() > 0.05


def test_a_split_learns_from_copies_of_its_own_training_rows_only(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)
    rows = photographed_rows(artefacts)
    first, second, *others = chosen(rows)["photo_hash"]
    of_role = {
        "group_role": pl.when(pl.col("photo_hash") == first).then(pl.lit("test")).otherwise("group_role"),
        "time_role": pl.when(pl.col("photo_hash") == second).then(pl.lit("validation")).otherwise("time_role"),
    }
    dataset = dataset_of(rows.with_columns(**of_role), artefacts)
    for split_kind, expected in (("group", [second, *others]), ("time", [first, *others])):
        found = training_copies(dataset, "MSTFE", split_kind, quiet)
        assert found is not None
        numbers, x = found
        assert sorted(dataset.rows["photo_hash"][numbers]) == sorted(expected)
        assert len(x) == len(expected)


def test_a_photo_of_several_listings_has_one_copy(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)
    rows = photographed_rows(artefacts)
    shared = chosen(rows)["photo_hash"][0]
    both = pl.when(pl.col("listing_id") == "1").then(pl.lit(shared)).otherwise("photo_hash")
    dataset = dataset_of(rows.with_columns(photo_hash=both), artefacts)
    assert dataset.rows.filter(pl.col("photo_hash") == shared, pl.col("group_role") == "train").height == 2
    found = training_copies(dataset, "MSTFE", "group", quiet)
    assert found is not None
    assert dataset.rows["photo_hash"][found[0]].to_list().count(shared) == 1


def test_where_no_networks_features_are_seen_there_are_no_copies(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)
    assert training_copies(dataset_of(photographed_rows(artefacts), artefacts), "STFE", "group", quiet) is None


def test_photos_that_are_gone_or_cannot_be_read_have_no_copy(tmp_path: Path) -> None:
    artefacts, said = Artefacts(tmp_path), []
    rows = photographed_rows(artefacts)
    gone, damaged, *others = chosen(rows)["photo_hash"]
    kept = artefacts.photo(gone).rename(tmp_path / "kept")
    artefacts.photo(damaged).write_bytes(b"no photo")
    copies_id = stored_copies(dataset_of(rows, artefacts), said.append)
    assert copies_id is not None
    made = artefacts.models.frame(copies_id, LEARNT)
    assert made is not None and made["photo_hash"].to_list() == others
    told = f"{len(others)} copies of photos, made worse for the gate to learn from, are embedded"
    assert said[-1] == f"{told}; 2 are gone or cannot be decoded"
    assert learnt_items(artefacts, copies_id) is not None, "or `vps forget` could not name it"
    assert not list(tmp_path.glob(".*.tmp")), "the worse photos do not stay on disk"
    kept.rename(artefacts.photo(gone))
    assert stored_copies(dataset_of(rows, artefacts), quiet) != copies_id, "a photo that is back has a copy again"
    for photo_hash in rows["photo_hash"]:
        artefacts.photo(photo_hash).unlink()
    assert training_copies(dataset_of(rows, artefacts), "MSTFE", "group", quiet) is None
