from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import quick_recipe, sold_rows
from worlds import columns_of, tabular_rows

from vps_ml.artefacts import Artefacts
from vps_ml.backbones import files
from vps_ml.features.dataset import PricingDataset
from vps_ml.features.matrix import FeatureMatrix, JoinedRows, together
from vps_ml.features.scaling import FeatureMap, VisualMoments, principal_axes, tabular_moments
from vps_ml.features.tabular import tabular_matrix


def visual_blocks(visual: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows as two files would bring them, the later rows first."""
    odd, even = (np.arange(start, len(visual), 2) for start in (1, 0))
    return [(odd, visual[odd]), (even, visual[even])]


def test_recipes_that_see_other_columns_have_maps_of_their_own(tmp_path: Path) -> None:
    artefacts, recipe = Artefacts(tmp_path), quick_recipe()
    other = replace(recipe, pricing=replace(recipe.pricing, beyond_paper=False))
    rows = sold_rows(artefacts)
    widths = [PricingDataset(rows, seen, artefacts).matrix("MSTFE", "group")[1].features for seen in (recipe, other)]
    assert widths == [4 + 12 + 8 + 1 + 2, 4 + 12]


@pytest.mark.parametrize("at_once", [1, 30, 2048])
@pytest.mark.parametrize("reduced", [None, 5])
def test_a_matrix_assembled_block_by_block_is_that_of_all_rows_at_once(
    tmp_path: Path, reduced: int | None, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vps_ml.features.matrix.FEWEST_AT_ONCE", at_once)
    visual = np.random.default_rng(0).normal(3, 2, (40, 12)).astype(np.float16)
    rows = tabular_rows(40)
    columns = columns_of(rows)
    moments = VisualMoments.of(block for _, block in visual_blocks(visual))
    seen = principal_axes(visual, reduced, 0) if reduced else (moments.mean, moments.scale)
    fitted = FeatureMap(*seen, *tabular_moments(tabular_matrix(rows, columns)), columns)
    matrix = FeatureMatrix.assembled(fitted, visual_blocks(visual), rows, tmp_path)
    numbers = np.array([7, 0, 33])
    expected = fitted.matrix(visual, rows)[numbers]
    assert matrix.rows(numbers).array() == pytest.approx(expected, abs=1e-6 if reduced else 2e-3)
    assert matrix.rows(numbers).where(np.array([True, False, True])).array() == pytest.approx(
        expected[[0, 2]], abs=2e-3
    )
    assert list(tmp_path.iterdir()) == []  # the scratch file has no name


def test_small_blocks_are_transformed_together_and_keep_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vps_ml.features.matrix.FEWEST_AT_ONCE", 4)
    values = np.random.default_rng(0).normal(size=(9, 3))
    places = [np.array([8]), np.array([1, 5, 0]), np.array([], dtype=int), np.array([2, 3, 4, 6]), np.array([7])]
    found = list(together([(rows, values[rows]) for rows in places], np.concatenate))
    assert [len(rows) for rows, _ in found] == [4, 4, 1]
    for rows, block in found:
        assert (block == values[rows]).all()


def test_rows_of_two_matrices_are_read_as_if_they_were_of_one() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 30, 5)).astype(np.float32)
    kept = np.array([3, 20, 7])
    joined = JoinedRows(FeatureMatrix.of(first).rows(kept), FeatureMatrix.of(second).rows(np.arange(30)))
    expected = np.concatenate([first[kept], second])
    places = torch.tensor([32, 0, 2, 3, 1, 17])
    assert len(joined) == 33
    assert joined.batch(places)[:, :5].numpy() == pytest.approx(expected[places])
    assert torch.cat(list(joined.parts()))[:, :5].numpy() == pytest.approx(expected)


def test_a_dataset_opens_each_file_once_for_all_of_its_matrices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefacts, recipe = Artefacts(tmp_path), quick_recipe()
    rows, opened, read = sold_rows(artefacts), list[tuple](), files.tensors
    monkeypatch.setattr(files, "tensors", lambda path, names=None: opened.append((path, names)) or read(path, names))
    dataset = PricingDataset(rows, recipe, artefacts)
    for split in ("group", "time"):
        dataset.matrix("MSTFE+WORDS", split)
    assert len(opened) == len(set(opened)) == 2, "the photos' and the words'"
