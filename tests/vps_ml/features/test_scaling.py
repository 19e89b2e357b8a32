"""From raw features to what price networks take."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from worlds import columns_of, tabular_rows

from vps_ml.artefacts import Artefacts
from vps_ml.cards import Contents
from vps_ml.features.scaling import MAP, UNNAMED_COLUMNS, FeatureMap, VisualMoments, principal_axes, tabular_moments
from vps_ml.features.tabular import TABULAR, tabular_columns, tabular_matrix


def test_a_missing_statistic_enters_as_the_training_mean() -> None:
    columns = tabular_columns(beyond_paper=False)
    visual = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float16)
    moments = tabular_moments(tabular_matrix(tabular_rows(50), columns))
    fitted = FeatureMap(*principal_axes(visual, 5, 0), *moments, columns)
    missing = pl.DataFrame([dict.fromkeys(columns)], schema=dict.fromkeys(columns, pl.Float64))
    row = fitted.matrix(np.zeros((1, 20), dtype=np.float16), missing)[0]
    assert row[5:].tolist() == [0.0] * 12


def test_moments_of_blocks_are_those_of_all_rows() -> None:
    visual = np.random.default_rng(0).normal(3, 2, (40, 12)).astype(np.float16)
    moments = VisualMoments.of([visual[:1], visual[1:15], visual[15:]])
    assert moments.mean == pytest.approx(visual.astype(np.float64).mean(axis=0), rel=1e-6)
    assert moments.scale == pytest.approx(1 / visual.astype(np.float64).std(axis=0), rel=1e-5)


def fitted_on(rows: pl.DataFrame, columns: tuple[str, ...]) -> FeatureMap:
    visual = np.random.default_rng(1).normal(size=(rows.height, 20)).astype(np.float16)
    return FeatureMap(*principal_axes(visual, 5, 0), *tabular_moments(tabular_matrix(rows, columns)), columns)


def test_a_stored_map_gives_the_features_that_were_trained_on_whatever_columns_are_added_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, artefacts = tabular_rows(40), Artefacts(tmp_path)
    fitted = fitted_on(rows, columns_of(rows))
    artefacts.models.make("m", lambda: fitted.contents("all", "group"))
    first = {"weight_kg": TABULAR["seller_sales"], **TABULAR}
    monkeypatch.setattr("vps_ml.features.tabular.TABULAR", first)
    loaded = FeatureMap.load(artefacts, "m")
    assert loaded.columns == fitted.columns
    assert np.array_equal(loaded.tabular(rows), fitted.tabular(rows))


@pytest.mark.parametrize("columns", [UNNAMED_COLUMNS[:12], UNNAMED_COLUMNS])
def test_a_map_whose_card_names_no_columns_has_those_of_its_time(tmp_path: Path, columns: tuple[str, ...]) -> None:
    rows, artefacts = tabular_rows(40), Artefacts(tmp_path)
    fitted = fitted_on(rows, columns)
    unnamed = fitted.contents("all", "group")
    card = {name: value for name, value in unnamed.card.items() if name != "columns"}
    artefacts.models.make("m", lambda: Contents(card, arrays={MAP: unnamed.arrays[MAP]}))
    assert FeatureMap.load(artefacts, "m").columns == fitted.columns
