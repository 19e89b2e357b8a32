"""What stands beside a price: sold items that look similar, and what is known of the asking price."""

import asyncio
import threading
from dataclasses import replace
from datetime import date
from io import BytesIO
from math import exp, log
from pathlib import Path

import polars as pl
import pytest
from conftest import Marketplace
from PIL import Image
from publications import published_again
from services import client_of, once_ready

from vps_assets.errors import UserError
from vps_assets.home import Home
from vps_assets.serving import photos
from vps_assets.serving.beside import Chances, asking_of, by_category, comparables_of
from vps_assets.serving.offers import Offer
from vps_assets.serving.photos import MOST_WAITING, SIDE_PX, Shrinkers
from vps_assets.serving.problems import Refused
from vps_assets.serving.snapshot import Snapshot, Suggested
from vps_assets.tables.sales import SALE_CHANCES
from vps_assets.tables.schemas import aligned
from vps_ml.pricing.calibration import Prediction
from vps_ml.pricing.sold_items import SHOWN

PRICED = Prediction(log(100.0), log(80.0), log(130.0), 0.9)
ROW = {
    "inputs": "both",
    "category": "phone",
    "within_days": 7,
    "log_ratio": [-1.0, 0.0, 1.0],
    "chance": [0.9, 0.7, 0.3],
    "chance_low": [0.8, 0.6, 0.2],
    "chance_high": [1.0, 0.8, 0.4],
    "chosen_chance": [0.95, 0.7, 0.0],
    "price_at_50": 0.2,
    "price_at_50_low": 0.1,
    "price_at_50_high": 0.3,
}


def chances(*rows: dict) -> Chances:
    return by_category(aligned(pl.DataFrame(list(rows)), SALE_CHANCES))


@pytest.fixture(scope="module")
def snapshot(marketplace: Marketplace) -> Snapshot:
    return Snapshot.read(marketplace.home)


def suggested(snapshot: Snapshot, offer: Offer) -> Suggested:
    (answer,) = snapshot.suggestions([offer])
    assert isinstance(answer, Suggested), answer
    return answer


def priced_rows(marketplace: Marketplace) -> list[dict]:
    """Open listings with a price, by what they were priced by, and the sold items beside each in the table."""
    return marketplace.polars("""
        with shown as (
            select listing_id, list(comparable_id order by rank) as comparables from suggestion_comparables group by 1
        )
        select c.*, s.inputs, comparables
        from price_suggestions s join clean_listings c using (listing_id) join shown using (listing_id)
        qualify row_number() over (partition by s.inputs order by listing_id) <= 5
    """).to_dicts()


def offer_of(row: dict, image: Path) -> Offer:
    named = {name: row[name] for name in ("title", "description", "brand", "condition", "listed_on")}
    labels = {name: tuple(row[name] or ()) for name in ("attributes", "specifications")}
    return Offer(row["category"], image, row["seller_id"], **named, **labels)


def test_the_service_shows_the_sold_items_that_the_table_has(marketplace: Marketplace, snapshot: Snapshot) -> None:
    rows = priced_rows(marketplace)
    assert len(rows) > 5
    for row in rows:
        answer = suggested(snapshot, offer_of(row, marketplace.home.artefacts.photo(row["photo_hash"]))).answer
        assert answer["inputs"] == row["inputs"]
        assert [one["listing_id"] for one in answer["comparables"]] == row["comparables"]


def test_the_table_has_items_of_the_category_that_sold_before_one_of_each_group(marketplace: Marketplace) -> None:
    wrong = marketplace.query("""
        select k.listing_id from suggestion_comparables k
        join clean_listings mine using (listing_id) join clean_listings other on other.listing_id = k.comparable_id
        where other.category <> mine.category or other.sold_on >= mine.listed_on or other.group_key = mine.group_key
            or other.sold_price <> k.sold_price or other.photo_hash <> k.photo_hash
    """)
    assert wrong == []
    most = marketplace.query("""
        select max(items), max(items - distinct_items) from (
            select count(*) as items, count(distinct group_key) as distinct_items
            from suggestion_comparables group by listing_id)
    """)
    assert most == [(SHOWN, 0)]
    assert marketplace.query(
        "select count(*) from price_suggestions s anti join suggestion_comparables k using (listing_id) "
        "where s.qualified and s.listed_on > (select min(listed_on) + 30 from clean_listings)"
    ) == [(0,)]


def test_an_items_own_photo_is_never_shown_whatever_its_file_says_besides(
    marketplace: Marketplace, snapshot: Snapshot, tmp_path: Path
) -> None:
    """A seller lists again what she has sold; the page has cut the photo's metadata, or her phone has added some."""
    (sold,) = marketplace.polars("""
        select * from clean_listings c where sold_on is not null and category = 'phone'
        and image_path in (select image_path from clean_listings group by 1 having count(*) = 1)
        order by listing_id limit 1
    """).to_dicts()
    model = snapshot.champions.of("photo")
    assert model.items is not None
    number = model.items.items["listing_id"].to_list().index(sold["listing_id"])
    point = model.items.points[number].float().numpy() / model.items.scale.clip(1e-12)
    listed = {"category": "phone", "listed_on": date(2030, 1, 1)}
    kept = marketplace.home.artefacts.photo(sold["photo_hash"])
    with_comment = tmp_path / "commented.jpg"
    content = kept.read_bytes()
    with_comment.write_bytes(content[:2] + b"\xff\xfe\x00\x08secret" + content[2:])
    for image, found in ((None, True), (content, False), (with_comment, False)):
        shown = comparables_of(model.items, point, listed, marketplace.home.artefacts, image)
        assert len(shown) == SHOWN
        assert (sold["listing_id"] in [one["listing_id"] for one in shown]) is found, (
            "no photo says that it is the same"
        )


def test_a_price_does_not_depend_on_sold_items_that_are_gone(marketplace: Marketplace, tmp_path: Path) -> None:
    home = marketplace.copied(tmp_path / "copy")
    before = suggested(Snapshot.read(home), Offer("phone", title="Corvane phone, like new"))
    for (path,) in marketplace.query("select path from comparable_items"):
        (home.path / path / "items.arrow").unlink()  # a link
        (home.path / path / "items.arrow").write_bytes(b"damaged")
    after = suggested(Snapshot.read(home), Offer("phone", title="Corvane phone, like new"))
    assert before.answer["comparables"]
    assert after.answer == before.answer | {"comparables": []}
    published_again(home, "delete from sale_chances; delete from comparable_items")
    assert suggested(Snapshot.read(home), Offer("phone", title="Corvane phone, like new")).answer["asking"] is None


def test_nothing_stands_beside_an_item_that_is_not_priced(marketplace: Marketplace, snapshot: Snapshot) -> None:
    rows = marketplace.polars("""
        select c.* from price_suggestions s join clean_listings c using (listing_id) where not s.qualified limit 5
    """).to_dicts()
    assert rows
    for row in rows:
        offer = offer_of(row, marketplace.home.artefacts.photo(row["photo_hash"]))
        answer = suggested(snapshot, replace(offer, asking_price=9.0)).answer
        assert (answer["qualified"], answer["comparables"], answer["asking"]) == (False, [], None)


def test_an_asking_price_has_a_place_and_chances_between_those_that_are_known() -> None:
    told = asking_of(chances(ROW), "both", "phone", PRICED, 100 * exp(0.5))
    assert told is not None
    assert told["place"] == "above"
    assert told["chances"] == [{"within_days": 7, "chance": 0.5, "low": 0.4, "high": 0.6, "chosen_chance": 0.35}]
    beyond = asking_of(chances(ROW), "both", "phone", PRICED, 100 * exp(1.1))
    assert beyond is not None
    assert (beyond["place"], beyond["chances"]) == ("above", []), "nobody asks so much"
    places = {price: asking_of(chances(ROW), "both", "phone", PRICED, price) for price in (79.0, 80.1, 129.9, 131.0)}
    assert [told and told["place"] for told in places.values()] == ["below", "within", "within", "above"]


def test_prices_are_multiples_of_the_suggested_one_and_those_that_are_not_known_are_not_told() -> None:
    told = asking_of(chances(ROW), "both", "phone", PRICED, None)
    assert told is not None
    at = {"price": pytest.approx(100 * exp(0.2), abs=0.01), "low": pytest.approx(100 * exp(0.1), abs=0.01)}
    assert told["prices"] == [{"within_days": 7, "chance": 0.5, **at, "high": pytest.approx(134.99, abs=0.01)}]
    assert (told["most_gain"], told["chances"], told["place"]) == (None, [], None)


def test_a_category_without_sales_is_told_of_as_the_average_one_and_inputs_without_any_are_not() -> None:
    everything = chances(ROW, ROW | {"category": "all", "chance": [0.5, 0.5, 0.5]})
    told = asking_of(everything, "both", "sofa", PRICED, 100.0)
    assert told is not None
    assert told["chances"][0]["chance"] == 0.5
    assert asking_of(everything, "photo", "phone", PRICED, 100.0) is None
    assert asking_of(chances(), "both", "phone", PRICED, 100.0) is None


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf"), 1e13])
def test_what_is_no_price_is_refused(price: float) -> None:
    with pytest.raises(UserError, match="asking price"):
        Offer("phone", title="a phone", asking_price=price).row()


def test_no_model_sees_the_asking_price(snapshot: Snapshot) -> None:
    answers = [suggested(snapshot, Offer("phone", title="Corvane phone", asking_price=price)) for price in (5.0, 900.0)]
    assert answers[0].prediction == answers[1].prediction
    assert [one.answer["comparables"] for one in answers][0] == answers[1].answer["comparables"]


def test_photos_of_sold_items_are_shown_small_and_no_others(marketplace: Marketplace, tmp_path: Path) -> None:
    home = marketplace.copied(tmp_path / "copy")
    (sold,) = marketplace.query("select photo_hash from clean_listings where sold_on is not null limit 1")[0]
    (still_open,) = marketplace.query(
        "select photo_hash from clean_listings c where sold_on is null and not exists "
        "(from clean_listings o where o.photo_hash = c.photo_hash and o.sold_on is not null) limit 1"
    )[0]
    with client_of(home) as client:
        once_ready(client)
        shown = client.get(f"/v1/photos/{sold}")
        assert shown.headers["content-type"] == "image/jpeg"
        with Image.open(BytesIO(shown.content)) as image:
            assert image.size == (SIDE_PX, SIDE_PX)
        for photo_hash in (still_open, "0" * 64, "..%2F..%2Fwarehouse.duckdb"):
            assert client.get(f"/v1/photos/{photo_hash}").status_code == 404
        home.artefacts.photo(sold).unlink()
        assert client.get(f"/v1/photos/{sold}").status_code == 404, "of one who is forgotten, though it was shown"


def test_so_many_may_wait_for_photos_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = threading.Event()
    monkeypatch.setattr(photos, "small", lambda _: waits.wait(20))
    shrinkers = Shrinkers()

    async def ask() -> list[object]:
        asked = [asyncio.ensure_future(shrinkers.small(tmp_path)) for _ in range(MOST_WAITING + 3)]
        await asyncio.sleep(0)
        waits.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(ask())
    assert sum(isinstance(answer, Refused) for answer in answers) == 3
    shrinkers.close()


def test_a_home_of_before_is_served_without_what_it_has_not(marketplace: Marketplace, tmp_path: Path) -> None:
    home: Home = marketplace.copied(tmp_path / "copy")
    published_again(home, "drop table sale_chances; drop table comparable_items")
    answer = suggested(Snapshot.read(home), Offer("phone", title="Corvane phone, like new")).answer
    assert (answer["comparables"], answer["asking"]) == ([], None)
