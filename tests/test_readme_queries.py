"""Each query of the README answers its own comment: the figures are checked, not only that it runs."""

import re
from collections.abc import Callable
from math import exp

import duckdb
import polars as pl
import pytest
from conftest import REPOSITORY, Marketplace

Check = Callable[[pl.DataFrame, Marketplace], None]
BLOCKS = re.findall(r"```sql\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
QUERIES = {
    statement.strip().split("\n")[0].removeprefix("-- "): statement
    for block in BLOCKS
    for statement in block.split(";")
    if statement.strip()
}
CHECKS: dict[str, Check] = {}


def answers(comment: str) -> Callable[[Check], Check]:
    """Register the check of the query with this comment, or of the one that begins with it."""

    def register(check: Check) -> Check:
        CHECKS[comment] = check
        return check

    return register


def test_every_query_has_a_check_and_every_check_a_query() -> None:
    begins = {query: [comment for comment in CHECKS if query.startswith(comment)] for query in QUERIES}
    assert [query for query, found in begins.items() if len(found) != 1] == []
    assert len(CHECKS) == len(QUERIES)


@pytest.mark.parametrize("query", QUERIES)
def test_the_query_answers_its_comment(marketplace: Marketplace, query: str) -> None:
    rows = marketplace.polars(QUERIES[query])
    (check,) = (check for comment, check in CHECKS.items() if query.startswith(comment))
    check(rows, marketplace)


def champion_of_the_photo(marketplace: Marketplace) -> str:
    return str(marketplace.query("select model_id from champion_model where inputs = 'photo'")[0][0])


def male_of(marketplace: Marketplace, model_id: str, where: str = "true") -> float:
    """The mean absolute log error, from the predictions alone."""
    query = f"""
        select avg(abs(predicted_log_price - p.log_price)) from evaluation_predictions p
        join clean_listings using (listing_id) where model_id = '{model_id}' and qualified and {where}
    """  # noqa: S608
    return float(marketplace.query(query)[0][0])


def falls(values: pl.Series) -> bool:
    return values.is_sorted(descending=True)


@answers("which model is better where 70% are to be priced, and where all are")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    for (split,), rivals in rows.group_by("split_kind"):
        objectives = marketplace.query(f"""
            select distinct objective from evaluation_reports where split_kind = '{split}'
        """)  # noqa: S608
        assert sorted(rivals["objective"]) == sorted(name for (name,) in objectives), "each once, the median too"
        assert rivals.sort("aurc", nulls_last=True)["aurc"].equals(rivals["aurc"]), "the best first"
    assert rows["coverage"].null_count() == rows["male_of_all"].null_count() == 0
    assert set(rows.filter(pl.col("aurc").is_null())["objective"]) == {"category_median"}


@answers("is what is served, by photo, words and both, surely better than what a user would choose instead")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    served = marketplace.query(f"""
        select objective from percentile_pricing_models where model_id = '{champion_of_the_photo(marketplace)}'
    """)[0][0]  # noqa: S608
    firsts = {claim.split(" beats ")[0] for claim in rows["claim"]}
    assert firsts == {served, "words", "both"}
    photo = {name for (name,) in marketplace.query("select distinct objective from baseline_pricing_models")}
    of_photo = rows.filter(pl.col("family").str.starts_with("served"))["claim"]
    assert {claim.split(" beats ")[1] for claim in of_photo} == photo, "no rival is left out"
    for cell in rows["male_of_all"]:
        verdict, low, high = re.fullmatch(r"(.*): \S+ \[(\S+), (\S+)\]", cell).groups()  # type: ignore[union-attr]
        assert verdict == ("yes" if float(high) < 0 else "no" if float(low) > 0 else "cannot tell"), cell


@answers("where the model of the photo in force is weak")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    worst = rows.drop_nulls("male")
    assert falls(worst["male"]) and worst["qualified"].min() >= 10
    champions = [model_id for (model_id,) in marketplace.query("select model_id from champion_model")]
    segment, male = worst.row(0, named=True)["segment"], worst["male"][0]
    assert male in [
        pytest.approx(male_of(marketplace, model_id, f"category = '{segment}'"))
        for model_id in champions
        if marketplace.query(f"select 1 from evaluation_reports where model_id = '{model_id}'")  # noqa: S608
    ]


@answers("what the seller's words are worth")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    assert {"WORDS", "MSTFE", "MSTFE+WORDS"} <= set(rows["features"])
    assert rows.filter(pl.col("gained").is_not_null())["features"].str.contains("WORDS|TEXT").all()


@answers("what would help a listing that cannot be priced")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    for _, inputs in rows.group_by("inputs", maintain_order=True):
        assert falls(inputs["priced_share"])


@answers("the whole risk-coverage curve of a model")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    for _, curve in rows.group_by("objective", "constraint_value", "split_kind", maintain_order=True):
        assert curve["percent"].to_list()[:20] == [5 * k for k in range(1, 21)]
    last = rows.filter(percent=100).select("objective", "constraint_value", "split_kind", "male")
    whole = marketplace.polars("select * from evaluation_reports where segment = 'all' and seed = 0")
    both = last.join(whole, on=["objective", "constraint_value", "split_kind"])
    assert both.filter(pl.col("constraint_kind") != "threshold").select(
        (pl.col("male") - pl.col("male_of_all")).abs().max()
    ).item() == pytest.approx(0, abs=1e-9)


@answers("do as many sell within their range as was promised, day by day")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    assert rows["within"].is_between(0, 1).all()
    assert rows["as_of"].n_unique() > 1
    assert rows["inputs"].is_sorted()


@answers("is the price range honest, and how wide is it")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    assert set(rows["promised"]) == {0.8}
    assert rows.drop_nulls("range_coverage")["range_coverage"].is_between(0, 1).all()


@answers("does the gate see bad photos")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    assert {"blur", "darken", "crop"} <= set(rows["corruption"])


@answers("why rows were kept out")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    assert falls(rows["listings"])
    every = marketplace.query("select sum(len(reasons)) from quarantined_listings")[0][0]
    assert rows["listings"].sum() == every


@answers("what sellers see")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    assert rows["listings"].sum() == marketplace.frame("price_suggestions").height
    assert rows.filter(pl.col("answer") != "priced")["median_price"].null_count() == (rows["answer"] != "priced").sum()


@answers("were suggestions right once the item had sold")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    assert rows["sold"].item() == 0, "nothing that was open has sold yet"
    made = """
        create table suggestion_history as from (values
            ('L1', 1, true, 9.0, 8.0, 10.0), ('L1', 2, true, 10.0, 8.0, 12.0), ('L2', 1, true, 10.0, 8.0, 12.0),
            ('L3', 1, false, null, null, null), ('L4', 1, true, 10.0, 8.0, 12.0))
            as t (listing_id, suggested_at, qualified, suggested_price, low, high);
        create table clean_listings as from (values ('L1', 11.0), ('L2', 15.0), ('L3', 7.0), ('L4', null))
            as t (listing_id, sold_price);
    """
    (query,) = (query for comment, query in QUERIES.items() if comment.startswith("were suggestions right"))
    with duckdb.connect() as connection:
        connection.execute(made)
        assert connection.sql(query).fetchall() == [(2, 0.5, 1.3)], "L1 within by its last one, L2 beyond"


@answers("how suggestions of a listing changed, day by day")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    now = marketplace.frame("price_suggestions").select("listing_id", now="suggested_price")
    both = rows.join(now, on="listing_id")
    assert both.height == rows.height > 0
    assert both["now"].equals(both["suggested_price"]), "each was suggested once"


@answers("what the newest champions changed for sellers")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    assert rows.is_empty(), "the first champions are in force"


@answers("the worst errors of the model in force among what it priced")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    model_id = champion_of_the_photo(marketplace)
    (worst,) = marketplace.query(f"""
        select max(abs(predicted_log_price - log_price)) from evaluation_predictions
        where model_id = '{model_id}' and qualified
    """)[0]  # noqa: S608
    first = rows.row(0, named=True)
    ratio = max(first["sold_price"] / first["predicted"], first["predicted"] / first["sold_price"])
    assert ratio == pytest.approx(exp(worst), rel=0.01)
    assert all((marketplace.home.path / path).is_file() for path in rows["photo_path"])


@answers("which sold items are shown beside a price")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    assert rows["rank"].is_between(1, 5).all()
    sold = marketplace.frame("clean_listings").select(comparable_id="listing_id", price="sold_price")
    both = rows.join(sold, on="comparable_id")
    assert both["price"].equals(both["sold_price"])


@answers("how fast things sell at multiples of the suggested price")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    for _, curve in rows.group_by("inputs", maintain_order=True):
        assert curve["asked"].is_sorted()
        assert falls(curve["chosen_chance"].round(9)), "dearer sells no faster"


@answers("was it foretold")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    assert (rows["brier"] - rows["brier_kaplan_meier"] - rows["difference"]).abs().max() in (
        None,
        pytest.approx(0, abs=1e-9),
    )


@answers("a seller's history as it was on a day")
def _(rows: pl.DataFrame, marketplace: Marketplace) -> None:
    assert rows["seller_id"].n_unique() == rows.height
    assert falls(rows["sales"])
    seller, as_of = rows.select("seller_id", "as_of").row(0)
    (sales,) = marketplace.query(
        f"select count(*) from clean_listings where seller_id = '{seller}' and sold_on < '{as_of}'"  # noqa: S608
    )[0]
    assert rows["sales"][0] == sales
