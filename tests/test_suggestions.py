"""What sellers get: a price or a reason, from the table and from `vps suggest`."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from conftest import Marketplace, vps
from PIL import Image

from vps_assets.commands.suggest import photos_in, warnings_of
from vps_assets.errors import UserError
from vps_assets.serving.offers import Offer
from vps_assets.serving.snapshot import Snapshot


def test_open_listings_get_a_price_or_a_reason(marketplace: Marketplace) -> None:
    suggestions = marketplace.frame("price_suggestions")
    assert suggestions.height == marketplace.frame("clean_listings")["sold_on"].null_count()
    priced, refused = suggestions.filter("qualified"), suggestions.filter(~pl.col("qualified"))
    assert (priced["low"] <= priced["suggested_price"]).all()
    assert (priced["suggested_price"] <= priced["high"]).all()
    assert priced["reason"].null_count() == priced.height
    assert refused["suggested_price"].null_count() == refused.height
    assert set(refused["reason"]) <= {"blurred", "dark", "overexposed", "too_little_information"}


@pytest.mark.slow
def test_suggest_prices_one_photo(marketplace: Marketplace) -> None:
    photo = next((marketplace.home.path / "demo" / "images").glob("*.jpg"))
    ran = vps("suggest", str(photo), "--category", "phone", "--seller", "S001", home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    expected = {
        "qualified",
        "suggested_price",
        "low",
        "high",
        "currency",
        "qualification",
        "reason",
        "model_id",
        "inputs",
    }
    assert expected <= set(answer)
    assert answer["currency"] == "EUR"
    assert (answer["suggested_price"] is None) == (not answer["qualified"]) == ("advice" in answer)


def test_suggest_agrees_with_the_table_of_suggestions(marketplace: Marketplace) -> None:
    """Both judge the photo of an open listing of the newest day; only the statistics have moved on by that day."""
    rows = marketplace.query(
        "select image_path, category, seller_id, title, description, brand, condition, attributes, specifications, "
        "s.inputs, s.qualified, s.qualification, s.suggested_price "
        "from price_suggestions s join clean_listings using (listing_id) where seller_id is not null "
        "order by s.listed_on desc, abs(s.qualification - 0.5) desc, listing_id limit 2",
    )
    for image, category, seller, *said, inputs, qualified, qualification, price in rows:
        photo = str(marketplace.home.path / "demo" / image)
        options = ["--category", category, "--seller", seller]
        for name, value in zip(("title", "description", "brand", "condition"), said[:4], strict=True):
            options += [f"--{name}", value] if value is not None else []
        for name, values in zip(("attribute", "specification"), said[4:], strict=True):
            options += [part for value in values or () for part in (f"--{name}", value)]
        ran = vps("suggest", photo, *options, home=marketplace.home.path)
        answer = json.loads(ran.stdout)
        assert (answer["qualified"], answer["inputs"]) == (qualified, inputs)
        assert answer["qualification"] == pytest.approx(qualification, abs=0.1)
        assert price is None or answer["suggested_price"] == pytest.approx(price, rel=0.3)


@pytest.mark.slow
def test_a_file_that_is_no_photo_is_the_users_mistake(marketplace: Marketplace, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("<html>")
    ran = vps("suggest", str(tmp_path / "a.jpg"), "--category", "phone", home=marketplace.home.path)
    assert ran.returncode == 2
    assert len(ran.stderr.strip().splitlines()) == 1


def test_words_alone_are_priced_and_a_refusal_says_what_would_help(marketplace: Marketplace) -> None:
    title = ("--category", "phone", "--title", "Aldera phone, like new")
    answer = json.loads(vps("suggest", *title, home=marketplace.home.path).stdout)
    assert answer["inputs"] == "words"
    assert ("advice" in answer) == ("would_help" in answer) == (not answer["qualified"])
    ran = vps("suggest", "--category", "phone", home=marketplace.home.path)
    assert ran.returncode == 2
    assert "neither a photo nor words" in ran.stderr


def test_a_category_is_known_by_its_name_whatever_its_capitals(marketplace: Marketplace) -> None:
    snapshot = Snapshot.read(marketplace.home)
    asked = [Offer(name, title="Aldera phone, like new") for name in ("phone", " Phone ", "PHONE")]
    answers = [suggested.answer for suggested in snapshot.suggestions(asked)]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["category_known"] is True


def test_what_no_sold_item_had_is_named(marketplace: Marketplace) -> None:
    said = ("--brand", "No such brand", "--condition", "good", "--attribute", "no such attribute")
    ran = vps("suggest", "--category", "phone", "--title", "a phone", *said, home=marketplace.home.path)
    unknown = ["attributes=no such attribute", "brand=No such brand"]
    assert json.loads(ran.stdout)["unknown_labels"] == unknown
    assert [label for label in unknown if f"warning: nothing with {label} has sold" in ran.stderr] == unknown
    assert "condition=good" not in ran.stderr


def test_a_photo_under_another_category_than_it_shows_is_doubted(marketplace: Marketplace) -> None:
    """Of listings that the category's backbone has not learnt from; some landed under a wrong one themselves."""
    path = marketplace.query("select path from task_backbones where task = 'category'")[0][0]
    learnt = pl.read_parquet(marketplace.home.path / path / "learnt.parquet")["photo_hash"]
    rows = marketplace.frame("clean_listings").filter(~pl.col("photo_hash").is_in(learnt.implode())).head(120)
    snapshot = Snapshot.read(marketplace.home)
    photos = [marketplace.home.path / path for path in rows["photo_path"]]
    others = {name: snapshot.categories.names[number - 1] for number, name in enumerate(snapshot.categories.names)}

    def doubted(categories: list[str]) -> list[str | None]:
        offers = [Offer(category, image=photo) for category, photo in zip(categories, photos, strict=True)]
        return [suggested.answer["looks_like"] for suggested in snapshot.suggestions(offers)]

    own = rows["category"].to_list()
    rightly, wrongly = doubted([others[name] for name in own]), doubted(own)
    assert sum(name is not None for name in wrongly) <= 12
    assert sum(name is not None for name in rightly) > 2 * sum(name is not None for name in wrongly) + 5
    assert not any(name == category for name, category in zip(wrongly, own, strict=True))


def test_a_photo_in_which_nothing_can_be_seen_does_not_look_like_a_category_though_words_price_the_item(
    marketplace: Marketplace, tmp_path: Path
) -> None:
    Image.new("RGB", (200, 200), (4, 4, 4)).save(black := tmp_path / "black.jpg")
    snapshot = Snapshot.read(marketplace.home)
    said = {"title": "Aldera, like new", "description": "works, with receipt", "image": black}
    offers = [Offer(name, **said) for name in snapshot.categories.names]
    suggested = snapshot.suggestions(offers)
    by_words = [one.answer["qualified"] and one.answer["inputs"] == "words" for one in suggested]
    assert any(by_words)
    assert {one.answer["looks_like"] for one in suggested} == {None}
    told = [[*warnings_of(*one)] for one in zip(suggested, offers, strict=True)]
    why = f"the price is by words alone, as the photo {black} shows too little: a better one may change it"
    assert [why in warnings for warnings in told] == by_words


@pytest.mark.parametrize(
    ("category", "near"), [("phnoe", "'phone'"), ("", None), ("spaceship", None), ("dresses", None)]
)
def test_a_category_of_which_nothing_has_sold_is_refused_with_the_nearest_names(
    marketplace: Marketplace, category: str, near: str | None
) -> None:
    snapshot = Snapshot.read(marketplace.home)
    named = f"is it {near}" if near else f"there is {', '.join(snapshot.categories.names[:20])}"
    good, refused = snapshot.suggestions([Offer("phone", title="a phone"), Offer(category, title="a thing")])
    assert not isinstance(good, UserError)
    assert isinstance(refused, UserError)
    assert f"nothing of the category {category!r} has sold: " in str(refused) and named in str(refused)
    (wanted,) = snapshot.suggestions([Offer(category, title="a thing", any_category=True)])
    assert wanted.answer["category_known"] is False


def test_photos_and_folders_are_answered_line_by_line_and_the_one_at_fault_is_named(
    marketplace: Marketplace, tmp_path: Path
) -> None:
    photos = sorted((marketplace.home.path / "demo" / "images").glob("*.jpg"))[:3]
    folder = tmp_path / "photos"
    folder.mkdir()
    for photo in photos[:2]:
        shutil.copyfile(photo, folder / photo.name)
    (folder / "no photo.jpg").write_text("<html>")
    (folder / "notes.txt").write_text("none")
    arguments = ("suggest", str(folder), str(photos[2]), "--category", "phone")
    ran = vps(*arguments, home=marketplace.home.path)
    assert ran.returncode == 2 and "1 of 4 photos have an error" in ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [Path(line["image"]) for line in lines] == [*sorted(folder.glob("*.jpg")), photos[2]]
    (at_fault,) = (line for line in lines if "error" in line)
    assert "no photo.jpg" in at_fault["image"] and "cannot be taken" in at_fault["error"]
    one = json.loads(vps("suggest", str(photos[2]), "--category", "phone", home=marketplace.home.path).stdout)
    assert {"image": str(photos[2]), **one} == lines[-1]


def test_a_picture_that_shows_nothing_has_no_price_whatever_the_gate_has_learnt(
    marketplace: Marketplace, tmp_path: Path
) -> None:
    reasons = {}
    for name, light in (("dark", 0), ("too_little_information", 128), ("overexposed", 255)):
        Image.new("RGB", (300, 300), (light, light, light)).save(tmp_path / f"{name}.png")
        reasons[name] = tmp_path / f"{name}.png"
    offers = [Offer("phone", image=photo) for photo in reasons.values()]
    offers.append(Offer("phone", image=reasons["dark"], title="Aldera phone, like new", brand="Aldera"))
    *alone, said = Snapshot.read(marketplace.home).suggestions(offers)
    assert [suggested.answer["reason"] for suggested in alone] == list(reasons)
    assert said.answer["inputs"] == "words" or not said.answer["qualified"]


def test_what_is_no_photo_or_has_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in ("empty", "missing.jpg"):
        with pytest.raises(UserError, match=path):
            photos_in([tmp_path / path])
