"""On which listings champion and challenger are compared, and which of them is fitted again."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from datasets import quick_recipe, sold_rows
from worlds import quiet

from vps_ml.artefacts import Artefacts
from vps_ml.cards import Contents
from vps_ml.evaluation.comparison import Comparison
from vps_ml.features.dataset import PricingDataset
from vps_ml.features.roles import LEARNT, ROLES
from vps_ml.ops.comparison import ComparisonJob, compared_by, comparison_of
from vps_ml.pricing import refit
from vps_ml.pricing.models import fit_variant
from vps_ml.pricing.variants import Variant
from vps_ml.recipes import demo


def frame(*items: str, **columns: str) -> pl.DataFrame:
    return pl.DataFrame({"group_key": list(items), "photo_hash": [f"photo of {item}" for item in items]}).with_columns(
        **{name: pl.lit(value) for name, value in columns.items()}
    )


def model(artefacts: Artefacts, name: str, *trained_on: str, backbone_trained_on: str) -> str:
    """A price model by its artefacts, each with the items that it has learnt from."""
    roles = frame(*trained_on, group_role="train", time_role="train")
    artefacts.models.make(f"{name} roles", lambda: Contents({}, frames={ROLES: roles}))
    artefacts.models.make(f"{name} backbone", lambda: Contents({}, frames={LEARNT: frame(backbone_trained_on)}))
    artefacts.embeddings.make(f"{name} e", lambda: Contents({"backbones": {"category": f"models/{name} backbone"}}))
    card = {"roles_id": f"{name} roles", "embedding_id": f"{name} e", "split_kind": "time"}
    return artefacts.models.make(name, lambda: Contents(card))


def test_they_are_compared_on_test_listings_that_neither_model_nor_a_backbone_of_either_has_learnt_from(
    tmp_path: Path,
) -> None:
    artefacts = Artefacts(tmp_path)
    champion = model(artefacts, "champion", "a", backbone_trained_on="b")
    challenger = model(artefacts, "challenger", "c", backbone_trained_on="d")
    rows = pl.concat([frame(*"abcdef", time_role="test"), frame(*"gh", time_role="train")])
    job = ComparisonJob(rows, "photo", champion, champion, challenger, 0.7, [], True, True, demo(), artefacts)
    assert comparison_of(job, champion).tested == 2  # e and f


def test_a_champion_that_holds_is_fitted_again_when_a_challenger_is_refused_for_the_first_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refit, "FEWEST_CALIBRATING", 0)
    for bound in ("MOST_MOVED", "MOST_COVERAGE_MOVED"):
        monkeypatch.setattr(refit, bound, 10.0)  # of tiny networks, which differ more
    artefacts, recipe = Artefacts(tmp_path), quick_recipe()
    side = pl.when(pl.col("time_role") == "train").then(pl.lit("train")).otherwise(pl.lit("validation"))
    rows = sold_rows(artefacts).with_columns(served_role=side)
    dataset = PricingDataset(rows, recipe, artefacts)
    kind = Variant(constraint_kind="percentile", constraint_value=0.7, objective="cross_fitted", split_kind="time")
    champion, challenger = (fit_variant(dataset, replace(kind, seed=seed), print) for seed in (0, 1))
    job = ComparisonJob(rows, "photo", champion, champion, challenger, 0.7, [], True, True, recipe, artefacts)
    first = compared_by(job, quiet)
    assert first.comparison is not None and not first.comparison.better  # twenty test listings are too few
    of_champion = fit_variant(dataset, replace(kind, split_kind="served"), print)
    assert first.served_as == of_champion and "20 test listings" in first.refit_evidence
    again = compared_by(replace(job, first=False), quiet)
    assert (again.served_as, again.refit_evidence) == (None, "")
    trained_otherwise = replace(recipe, pricing=replace(recipe.pricing, dropout=0.1))
    changed = compared_by(replace(job, recipe=trained_otherwise), quiet)
    assert (changed.served_as, changed.refit_evidence) == (None, ""), "that would be another model"
    worse = Comparison(80, "", "", 0.7, 0.5, 0.6, 0.05, 0.15, 1, 0.2)
    assert worse.surely_worse and not replace(worse, low=-0.01).surely_worse
    with monkeypatch.context() as judged:
        judged.setattr("vps_ml.ops.comparison.comparison_of", lambda job, champion: worse)
        spoilt = compared_by(job, quiet)
        assert spoilt.refit_evidence == "", "the refit would learn from what spoilt the challenger"
        judged.setattr("vps_ml.ops.comparison.comparison_of", lambda job, champion: replace(worse, low=-0.01))
        assert compared_by(job, quiet).served_as == of_champion
    other = rows.with_columns(embedding_id=pl.lit("of other backbones"))
    mixed = pl.concat([rows.head(1), other])
    assert not any(refit.can_refit(PricingDataset(frame, recipe, artefacts), champion) for frame in (other, mixed))
