"""`vps judge`, on listings of the marketplace that its models have not learnt from."""

from pathlib import Path

import polars as pl
import pytest
from conftest import Marketplace, vps
from scenario import quiet

from vps_assets.commands.judge import NothingToJudge, read_others


def others(marketplace: Marketplace, folder: Path) -> tuple[Path, str]:
    """(a file of one day's test listings with their photos, that day)."""
    rows = marketplace.polars(
        """
        select listing_id, category, seller_id, photo_hash, sold_price, listed_on, title, description, brand, condition,
            attributes, specifications
        from clean_listings
        where listing_id in (select listing_id from evaluation_predictions p join champion_model c using (model_id))
        order by listed_on, listing_id
        """
    )
    day = rows["listed_on"].value_counts(sort=True)["listed_on"][0]
    chosen = rows.filter(pl.col("listed_on") == day)
    paths = [str(marketplace.home.artefacts.photo(photo)) for photo in chosen["photo_hash"]]
    file = folder / "others.parquet"
    chosen.with_columns(image_path=pl.Series(paths)).drop("listed_on", "photo_hash").write_parquet(file)
    return file, str(day)


@pytest.mark.slow
def test_every_model_judges_the_listings_as_the_tables_have_it(marketplace: Marketplace, tmp_path: Path) -> None:
    """As of their own day, so that the same statistics are seen: the predictions are those of the evaluation."""
    file, day = others(marketplace, tmp_path)
    out = tmp_path / "judged.parquet"
    arguments = ("--images", "/", "--as-of", day, "--out", str(out))
    ran = vps("judge", str(file), *arguments, home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    found = pl.read_parquet(out)
    count = pl.read_parquet(file).height
    assert found.group_by("model_id").len()["len"].unique().to_list() == [count]
    expected = marketplace.frame("evaluation_predictions")
    both = found.join(expected, on=["model_id", "listing_id"], suffix="_expected")
    assert both["model_id"].n_unique() >= 20
    for name in ("predicted_log_price", "low_log_price", "qualification", "log_price"):
        assert both[name].to_list() == pytest.approx(both[f"{name}_expected"].to_list(), abs=2e-3)
    prices_as = marketplace.query("select coalesce(served_as, model_id) from champion_model")[0][0]
    assert prices_as in set(found["model_id"])
    best = float(ran.stdout.split("MALE ")[1].split()[0])
    errors = found.group_by("model_id").agg(
        (pl.col("predicted_log_price") - pl.col("log_price")).abs().mean().alias("e")
    )
    assert best == pytest.approx(errors["e"].min(), abs=1e-4)


@pytest.mark.slow
def test_listings_without_a_price_are_predicted_and_those_without_a_photo_left_out(
    marketplace: Marketplace, tmp_path: Path
) -> None:
    file, _ = others(marketplace, tmp_path)
    rows = pl.read_parquet(file).head(2).select("listing_id", "image_path", category=pl.lit("never seen"))
    broken = pl.DataFrame({"listing_id": ["x"], "image_path": ["/no/photo.jpg"], "category": ["phone"]})
    pl.concat([rows, broken], how="diagonal").write_csv(tmp_path / "others.csv")
    out = tmp_path / "judged.parquet"
    arguments = ("--images", "/", "--out", str(out))
    ran = vps("judge", str(tmp_path / "others.csv"), *arguments, home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    assert "2 listings; 1 without an id, category or readable photo" in ran.stderr
    assert pl.read_parquet(out)["log_price"].null_count() == pl.read_parquet(out).height


@pytest.mark.parametrize(
    ("columns", "words"),
    [({"listing_id": ["1"]}, "category, image_path"),
     ({"listing_id": ["1"], "category": ["c"], "image_path": ["none.jpg"]}, "no listing of")],
)  # fmt: skip
def test_a_file_that_cannot_be_judged_is_the_users_mistake(tmp_path: Path, columns: dict, words: str) -> None:
    pl.DataFrame(columns).write_parquet(tmp_path / "bad.parquet")
    with pytest.raises(NothingToJudge, match=words):
        read_others(tmp_path / "bad.parquet", tmp_path, quiet)
    (tmp_path / "bad.parquet").write_bytes(b"no table")
    with pytest.raises(NothingToJudge, match="cannot be read"):
        read_others(tmp_path / "bad.parquet", tmp_path, quiet)
