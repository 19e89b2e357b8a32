"""Price models that read words: better by what words tell, blind to them where they have only the photo."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from datasets import photographed_rows, quick_recipe, sold_rows
from sklearn.linear_model import Ridge
from worlds import quiet

from vps_assets.assets.evaluation import BY_WORDS, rescued
from vps_ml.artefacts import Artefacts
from vps_ml.features.dataset import PricingDataset
from vps_ml.features.others import WithOthers
from vps_ml.photos.quality import NOTHING_BELOW
from vps_ml.pricing.models import Predictions, fit_variant, load_model
from vps_ml.pricing.predictor import Predictor
from vps_ml.pricing.refit import can_refit
from vps_ml.pricing.ridge import PENALTY, WordsRidge
from vps_ml.pricing.variants import SERVED, WORDS_RIVALS, Variant, words_variants
from vps_ml.words.files import save_words
from vps_ml.words.hashing import hashed
from vps_ml.words.masking import said
from vps_ml.words.reading import Reader

BLENDED = Variant(constraint_kind="percentile", constraint_value=0.7, objective="blended")


def predicted(dataset: PricingDataset, variant: Variant, rows: np.ndarray) -> pl.DataFrame:
    return predicted_by(dataset, variant, fit_variant(dataset, variant, quiet), rows)


def predicted_by(dataset: PricingDataset, variant: Variant, model_id: str, rows: np.ndarray) -> pl.DataFrame:
    predictions = Predictions(dataset)
    return predictions.of(variant, model_id, predictions.calibration(variant, model_id), rows)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PricingDataset:
    artefacts = Artefacts(tmp_path_factory.mktemp("home"))
    return PricingDataset(sold_rows(artefacts, 300), quick_recipe(), artefacts)


def test_models_of_words_learn_what_only_words_tell(dataset: PricingDataset) -> None:
    """Titles tell the dearer half, the photo's first feature the price itself."""
    test = dataset.role("group", "test")
    middle = np.abs(dataset.log_price[test] - np.median(dataset.log_price)).mean()
    error = {
        features: np.abs(dataset.log_price[test] - predicted(dataset, replace(BLENDED, features=features), test)[
            "predicted_log_price"
        ].to_numpy()).mean()
        for features in ("WORDS", "MSTFE+WORDS")
    }  # fmt: skip
    assert error["WORDS"] < 0.8 * middle
    assert error["MSTFE+WORDS"] < error["WORDS"]


def silent(dataset: PricingDataset) -> PricingDataset:
    """The same listings, whose sellers say something else."""
    rows = dataset.rows
    other = rows.with_columns(
        rows["text_row"].reverse(), brand=pl.lit("Other"), condition=pl.lit("broken"), title=pl.lit("other")
    )
    return PricingDataset(other, dataset.recipe, dataset.artefacts)


def test_a_model_of_the_photo_does_not_see_words_and_one_of_words_not_the_photo(dataset: PricingDataset) -> None:
    test, other = dataset.role("group", "test"), silent(dataset)
    photo, words = BLENDED, replace(BLENDED, features="WORDS")
    ids = {variant: fit_variant(dataset, variant, quiet) for variant in (photo, words)}
    for variant, moves in ((photo, False), (words, True)):
        before, after = (predicted_by(d, variant, ids[variant], test) for d in (dataset, other))
        same = before["predicted_log_price"].equals(after["predicted_log_price"])
        assert same != moves, variant.features
    assert load_model(dataset.artefacts, ids[words])[2]["text_id"] == dataset.text_id
    assert load_model(dataset.artefacts, ids[photo])[2]["text_id"] is None


def test_listings_that_were_not_stored_are_read_as_those_that_were(dataset: PricingDataset) -> None:
    variant = replace(BLENDED, features="MSTFE+WORDS")
    model_id = fit_variant(dataset, variant, quiet)
    test = dataset.role("group", "test")
    expected = predicted_by(dataset, variant, model_id, test)["predicted_log_price"].to_numpy()
    rows, visual = dataset.rows[test], np.concatenate([block for _, block in dataset.visual_blocks("MSTFE", test)])
    beside = WithOthers(dataset.rows, rows, {"category": visual}, dataset.recipe, dataset.artefacts)
    found = predicted_by(beside, variant, model_id, beside.others)["predicted_log_price"].to_numpy()
    assert found == pytest.approx(expected, abs=1e-5)
    model = Predictor.load(dataset.artefacts, model_id)
    for given in (rows, rows.drop("text_id")):  # stored, and read now
        served = [p.log_price for p in model.predict(visual, given)]
        assert served == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_photo_that_shows_nothing_is_not_qualified_whatever_the_gate_says(dataset: PricingDataset) -> None:
    test = dataset.role("group", "test")
    contrast = np.where(np.arange(len(test)) % 2, NOTHING_BELOW, NOTHING_BELOW - 1e-9)
    for features in ("MSTFE", "MSTFE+WORDS"):
        model_id = fit_variant(dataset, replace(BLENDED, features=features), quiet)
        model, rows = Predictor.load(dataset.artefacts, model_id), dataset.rows[test]
        visual = np.concatenate([block for _, block in dataset.visual_blocks(features, test)])
        judged, shown, dark = (
            np.array([p.qualification for p in model.predict(visual, rows, contrast=of)])
            for of in (None, np.full(len(test), 0.2), contrast)
        )
        assert (shown > 0).all() and (judged == shown).all()
        assert dark == pytest.approx(np.where(contrast < NOTHING_BELOW, 0, shown))


def test_others_are_priced_by_words_alone_too(dataset: PricingDataset) -> None:
    variant = replace(BLENDED, features="WORDS")
    test = dataset.role("group", "test")
    beside = WithOthers(
        dataset.rows, dataset.rows[test], {"category": np.ones((len(test), 6))}, dataset.recipe, dataset.artefacts
    )
    model_id = fit_variant(dataset, variant, quiet)
    expected = predicted_by(dataset, variant, model_id, test)["predicted_log_price"].to_list()
    found = predicted_by(beside, variant, model_id, beside.others)["predicted_log_price"].to_list()
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_market_whose_sellers_say_nothing_is_priced_all_the_same(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)
    rows = sold_rows(artefacts, 120)
    text_id = rows["text_id"][0]
    path = artefacts.embedding_path(text_id, "2024-01-01", "silent")
    save_words(artefacts.embedding_file(path), Reader(artefacts, text_id).read([""] * rows.height))
    said = [
        pl.lit(None, rows.schema[name]).alias(name)
        for name in ("title", "brand", "condition", "attributes", "specifications")
    ]
    dataset = PricingDataset(rows.with_columns(*said, text_path=pl.lit(path)), quick_recipe(), artefacts)
    for variant in words_variants(1):
        if (variant.split_kind, variant.constraint_value) == ("group", 0.7):
            frame = predicted(dataset, variant, dataset.role("group", "test"))
            assert frame["predicted_log_price"].is_finite().all(), variant


def test_a_title_that_tells_its_price_moves_nothing(dataset: PricingDataset) -> None:
    model = Predictor.load(dataset.artefacts, fit_variant(dataset, replace(BLENDED, features="WORDS"), quiet))
    rows = dataset.rows.head(1).drop("text_id").with_columns(title=pl.lit("golden phone £45 ono"))
    cheap, dear = (
        model.predict(np.empty((1, 0)), rows.with_columns(title=pl.lit(f"golden phone £{price} ono")))[0].log_price
        for price in (45, 9000)
    )
    assert cheap == dear


def test_a_refit_is_of_words_that_were_read_in_the_same_way(dataset: PricingDataset) -> None:
    model_id = fit_variant(dataset, replace(BLENDED, features="WORDS"), quiet)
    assert can_refit(dataset, model_id)
    otherwise = dataset.rows.with_columns(text_id=pl.lit("read otherwise"))
    assert not can_refit(PricingDataset(otherwise, dataset.recipe, dataset.artefacts), model_id)
    with pytest.raises(ValueError, match="materialise text_embeddings for all dates"):
        half = pl.concat([dataset.rows.head(10), otherwise.head(10)])
        _ = PricingDataset(half, dataset.recipe, dataset.artefacts).text_id


def test_worse_copies_of_photos_keep_their_listings_words(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)
    rows = photographed_rows(artefacts)
    dataset = PricingDataset(rows, quick_recipe(), artefacts)
    model_id = fit_variant(dataset, replace(BLENDED, features="MSTFE+WORDS"), quiet)
    assert artefacts.models.card(model_id)["copies"] > 0


def test_ridge_on_words_is_scikit_learns_on_the_same_matrix() -> None:
    texts = [f"{('lamp', 'sofa', 'coat')[i % 3]} {i % 5}" for i in range(120)]
    dense, price = np.arange(120)[:, None] % 7 / 7, np.array([(3.0, 5.0, 4.0)[i % 3] + i % 7 / 7 for i in range(120)])
    group = np.array([str(i) for i in range(120)])
    fitted = WordsRidge.fitted(hashed(texts), dense, np.ones(1), price, group, 0)
    found, expected_error = fitted.judge(hashed(texts), dense)
    from vps_ml.pricing.ridge import joined

    x = joined(hashed(texts), dense, fitted.kept, fitted.idf, np.ones(1))
    reference = Ridge(alpha=PENALTY).fit(x.toarray(), price)
    assert found == pytest.approx(reference.predict(x.toarray()), abs=1e-2)
    assert (expected_error > 0).all()


def test_what_is_trained_on_words_is_the_served_kind_at_every_constraint_and_its_rivals() -> None:
    variants = words_variants(2, "MSTFE")
    assert len(set(variants)) == len(variants)
    served = [v for v in variants if all(getattr(v, name) == value for name, value in SERVED.items())]
    assert {(v.features, v.split_kind) for v in served} == {
        *((features, split) for features in ("WORDS", "MSTFE+WORDS") for split in ("group", "time")),
        *((f"MSTFE+{part}", "group") for part in ("TEXT", "TEXT+LABELS")),
    }
    assert {v.objective for v in variants if v.constraint_kind == "baseline"} == set(WORDS_RIVALS)


def test_rows_that_the_photo_refused_are_priced_as_long_as_its_own_error_is_kept() -> None:
    """The photo takes a and b at errors of .1 and .3; words order c, a, d, b at errors of 0, .2, .4 and .9."""
    common = {"log_price": [1.0] * 4, "listing_id": list("abcd")}
    photo = {"predicted_log_price": [1.1, 1.3, 2.0, 3.0], "qualification": [0.9, 0.8, 0.2, 0.1]}
    words = {"predicted_log_price": [1.2, 1.9, 1.0, 1.4], "qualification": [0.8, 0.6, 0.9, 0.7]}
    both = (("p", photo), ("w", words))
    predictions = pl.concat([pl.DataFrame({"model_id": [name] * 4} | common | rows) for name, rows in both])
    predictions = predictions.with_columns(qualified=pl.col("qualification") >= 0.5)
    kind = {"split_kind": "group", "seed": 0, "objective": "blended", "constraint_kind": "percentile",
            "constraint_value": 0.7}  # fmt: skip
    models = pl.DataFrame(
        [{"model_id": "p", "features": "MSTFE"} | kind, {"model_id": "w", "features": "WORDS"} | kind]
    )
    assert rescued(predictions, models).row(0)[:5] == (
        "w",
        2,
        1.0,
        2,
        0,
    )  # c, a, d: their mean error is the photo's own
    worse = predictions.with_columns(
        predicted_log_price=pl.when(pl.col("model_id") == "w", pl.col("listing_id") == "d")
        .then(1.5)
        .otherwise("predicted_log_price")
    )
    assert rescued(worse, models).row(0)[:5] == ("w", 2, 0.5, 2, 0)
    refused = worse.with_columns(qualified=pl.col("qualified") & (pl.col("listing_id") != "a"))
    refused = refused.with_columns(
        qualified=pl.when(pl.col("model_id") == "p").then(worse["qualified"]).otherwise("qualified")
    )
    assert rescued(refused, models).row(0)[3:5] == (2, 1)


def test_what_words_alone_price_beside_a_model_of_both_is_told_with_its_error() -> None:
    """a is qualified by both, b by the photo, d by none; c by words alone, .3 off and within its range."""
    common = {"log_price": [1.0] * 4, "low_log_price": [0.9] * 4, "high_log_price": [1.2] * 4, "listing_id": [*"abcd"]}
    judged = {"p": [0.1, 0.9, 0.1, 0.1], "w": [0.9, 0.9, 0.9, 0.1], "b": [0.9, 0.1, 0.1, 0.1]}
    predictions = pl.concat(
        [
            pl.DataFrame(
                {"model_id": [name] * 4, "qualification": q, "predicted_log_price": [1.1, 1.2, 1.3, 1.4]} | common
            )
            for name, q in judged.items()
        ]
    ).with_columns(qualified=pl.col("qualification") >= 0.5)
    kind = {"split_kind": "time", "seed": 0, "objective": "blended", "constraint_kind": "percentile"}
    features = {"p": "MSTFE", "w": "WORDS", "b": "MSTFE+WORDS"}
    models = pl.DataFrame([{"model_id": m, "features": f, "constraint_value": 0.7} | kind for m, f in features.items()])
    told = {row["model_id"]: row for row in rescued(predictions, models).to_dicts()}
    assert [told["b"][name] for name in BY_WORDS] == [1, pytest.approx(0.3), 1.0]
    assert [told["w"][name] for name in BY_WORDS] == [None] * 3


def test_what_is_read_of_a_listing_is_its_masked_title_and_description(dataset: PricingDataset) -> None:
    numbers = np.array([7, 1, 0])
    texts = [said(*parts) for parts in dataset.rows[numbers].select("title", "description").iter_rows()]
    read = Reader(dataset.artefacts, dataset.text_id).read(texts)
    assert (dataset.words_of(numbers).hashed != read.hashed).nnz == 0
