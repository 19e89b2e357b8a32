"""Photos, landings, embeddings and models in a bucket that several hosts share; here a host is a disk of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import REPOSITORY, vps
from scenario import listing, listings_file

from vps_assets.errors import WrongSetting
from vps_assets.home import Home
from vps_assets.landing import mirror
from vps_assets.landing.land import land
from vps_assets.landing.landed import landed_rows
from vps_assets.landing.landings import landed_files
from vps_assets.landing.packs import TOGETHER, rewrite_landings
from vps_assets.sweeping import sweep
from vps_ml.artefacts import Artefacts
from vps_ml.buckets import Bucket
from vps_ml.cards import Contents
from vps_ml.stores import DamagedArtefact

pytestmark = pytest.mark.scale
IDS = ["listing_id"]


@pytest.fixture
def one(bucket_address: str, tmp_path: Path) -> Home:
    return Home(tmp_path / "one", bucket=bucket_address)


@pytest.fixture
def two(bucket_address: str, tmp_path: Path) -> Home:
    return Home(tmp_path / "two", bucket=bucket_address)


def of(value: float) -> Contents:
    return Contents({"kind": "test"}, arrays={"state": {"w": np.full(3, value)}})


def w(artefacts: Artefacts, artefact_id: str) -> list[float]:
    return artefacts.models.arrays(artefact_id, "state")["w"].tolist()


def test_a_name_is_given_once(bucket_address: str) -> None:
    bucket = Bucket(bucket_address)
    assert bucket.create("a/b", b"first") and not bucket.create("a/b", b"second")
    assert bucket.read("a/b") == b"first"
    assert bucket.read("a/c") is None and bucket.facts("a/c") is None


def test_what_one_host_has_made_another_reads_and_does_not_make_again(one: Home, two: Home) -> None:
    one.artefacts.models.make("m", lambda: of(1))
    assert "m" in two.artefacts.models and two.artefacts.models.ids() == ["m"]
    assert two.artefacts.models.card("m") == {"kind": "test"}
    two.artefacts.models.share("m")  # as a run does with what a task has made on another host
    assert not (two.path / "models" / "m").exists()  # a card alone fetches nothing else
    two.artefacts.models.make("m", lambda: pytest.fail("it is there"))
    assert w(two.artefacts, "m") == [1, 1, 1]


def test_of_two_hosts_that_make_the_same_at_the_same_time_one_is_everybodys(one: Home, two: Home) -> None:
    """On two accelerators the same training ends with other bytes."""

    def while_the_other_is_faster() -> Contents:
        one.artefacts.models.make("m", lambda: of(1))
        return of(2)

    two.artefacts.models.make("m", while_the_other_is_faster)
    assert w(one.artefacts, "m") == w(two.artefacts, "m") == [1, 1, 1]
    assert not two.artefacts.models.faults("m", deep=True)


def test_a_copy_that_a_disk_has_damaged_is_fetched_again(one: Home, two: Home) -> None:
    one.artefacts.models.make("m", lambda: of(1))
    assert w(two.artefacts, "m") == [1, 1, 1]
    file = two.path / "models" / "m" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedArtefact):
        w(two.artefacts, "m")
    assert w(two.artefacts, "m") == [1, 1, 1]


def test_what_is_deleted_on_one_host_is_gone_from_the_others_disks_at_their_next_run(one: Home, two: Home) -> None:
    one.artefacts.models.make("m", lambda: of(1))
    assert w(two.artefacts, "m") == [1, 1, 1]
    one.artefacts.models.delete("m")
    assert "m" not in one.artefacts.models
    sweep(two)
    assert "m" not in two.artefacts.models and not (two.path / "models" / "m").exists()
    one.artefacts.models.make("m", lambda: of(3))  # made again: no longer to be deleted
    assert w(two.artefacts, "m") == [3, 3, 3]
    sweep(two)
    assert (two.path / "models" / "m").exists()


def test_what_lands_on_one_host_is_read_on_another_with_its_photos(one: Home, two: Home, tmp_path: Path) -> None:
    land([listings_file(tmp_path / "in", [listing(1), listing(2)])], None, one, print)
    rows = landed_rows(two, ["listing_id", "photo_hash"])
    assert rows["listing_id"].to_list() == ["L1", "L2"]
    photos = two.artefacts.photos(rows["photo_hash"])
    assert [photo.read_bytes() for photo in photos] == [
        one.artefacts.photo(photo_hash).read_bytes() for photo_hash in rows["photo_hash"]
    ]


def test_the_same_file_landed_on_two_hosts_has_landed_once(one: Home, two: Home, tmp_path: Path) -> None:
    file = listings_file(tmp_path / "in", [listing(1)])
    assert not land([file], None, one, print)[0].already_landed
    assert land([file], None, two, print)[0].already_landed
    assert len(Bucket(one.bucket).listed("landing/")) == 1


LANDER = """
import sys
from pathlib import Path
from vps_assets.home import Home
from vps_assets.landing.land import land
for file in sys.argv[3:]:
    land([Path(file)], None, Home(Path(sys.argv[1]), bucket=sys.argv[2]), print)
"""


def test_hosts_that_land_at_once_and_pack_lose_and_double_nothing(one: Home, two: Home, tmp_path: Path) -> None:
    files = [listings_file(tmp_path / f"in{i}", [listing(i)], f"{i}.parquet") for i in range(2 * TOGETHER)]
    code = [sys.executable, "-c", LANDER]
    landers = [
        subprocess.Popen([*code, str(home.path), home.bucket, *map(str, files[half::2])], cwd=REPOSITORY)
        for half, home in enumerate((one, two))
    ]
    assert [lander.wait(timeout=300) for lander in landers] == [0, 0]
    expected = sorted(f"L{i}" for i in range(2 * TOGETHER))
    for home in (one, two):
        assert sorted(landed_rows(home, IDS)["listing_id"]) == expected
    assert len(landed_files(one)) < 2 * TOGETHER, "nothing was packed"


def test_what_another_host_packs_before_who_landed_it_has_looked_is_no_loss(
    one: Home, two: Home, tmp_path: Path
) -> None:
    """As where it does not look after a landing, since the other host is about to pack."""
    with mirror.leased(Bucket(one.bucket), wait=False):
        land([listings_file(tmp_path / "in", [listing(1)])], None, one, print)
    (landing,) = landed_files(two)
    pack = tmp_path / "pack.parquet"
    pack.write_bytes(Path(landing).read_bytes())
    mirror.put(two, pack, "pack.parquet")
    mirror.delete(two, Path(landing))
    for home in (one, two, one):
        assert landed_rows(home, IDS)["listing_id"].to_list() == ["L1"]
        assert [Path(file).name for file in landed_files(home)] == ["pack.parquet"]
        assert not list(home.landing.glob(f".*{mirror.SHARED}"))


def test_an_erased_seller_is_gone_from_the_bucket_and_from_every_disk(one: Home, two: Home, tmp_path: Path) -> None:
    rows = [listing(1, seller_id="secret-seller"), listing(2, seller_id="another")]
    land([listings_file(tmp_path / "in", rows)], None, one, print)
    (photo,) = landed_rows(two, ["seller_id", "photo_hash"]).filter(pl.col("seller_id") == "secret-seller")[
        "photo_hash"
    ]
    assert two.artefacts.photo(photo).exists()
    rewrite_landings(one, "secret-seller")
    one.artefacts.delete(one.artefacts.photo_key(photo))
    assert landed_rows(two, IDS)["listing_id"].to_list() == ["L2"]
    sweep(two)
    assert not (two.path / two.artefacts.photo_key(photo)).exists()
    assert not two.artefacts.photo(photo).exists()
    for home in (one, two):
        for path in home.path.rglob("*"):
            assert not path.is_file() or b"secret-seller" not in path.read_bytes(), path
    bucket = Bucket(one.bucket)
    assert all(b"secret-seller" not in (bucket.read(stored.key) or b"") for stored in bucket.listed("landing/"))


def test_the_lease_of_a_host_that_was_killed_is_taken_over(one: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(one.bucket)
    with mirror.leased(bucket, wait=False) as mine, mirror.leased(bucket, wait=False) as others:
        assert mine and not others
    bucket.create(mirror.LEASE, b"of a host that is gone")
    with mirror.leased(bucket, wait=False) as mine:
        assert not mine
    monkeypatch.setattr(mirror, "LEASED_FOR", mirror.LEASED_FOR * 0)
    with mirror.leased(bucket, wait=False) as mine:
        assert mine
    assert bucket.facts(mirror.LEASE) is None


def test_a_host_with_an_empty_disk_has_all_that_has_landed(one: Home, tmp_path: Path) -> None:
    land([listings_file(tmp_path / "in", [listing(1)])], None, one, print)
    shutil.rmtree(one.path)
    assert landed_rows(one, IDS)["listing_id"].to_list() == ["L1"]


def test_what_a_home_has_when_it_is_given_a_bucket_is_put_there_by_vps_init(
    one: Home, two: Home, tmp_path: Path
) -> None:
    before = Home(one.path)  # without a bucket
    land([listings_file(tmp_path / "in", [listing(1)])], None, before, print)
    before.artefacts.models.make("m", lambda: of(1))
    with pytest.raises(mirror.NotShared, match="vps init"):
        landed_rows(one, IDS)
    assert landed_rows(before, IDS).height == 1, "nothing is lost"
    ran = vps("init", home=one.path, VPS_STORAGE=one.bucket)
    assert ran.returncode == 0, ran.stderr
    rows = landed_rows(two, ["listing_id", "photo_hash"])
    assert rows["listing_id"].to_list() == landed_rows(one, IDS)["listing_id"].to_list() == ["L1"]
    assert two.artefacts.photo(rows["photo_hash"][0]).exists() and w(two.artefacts, "m") == [1, 1, 1]


@pytest.mark.parametrize("damage", ["gone", "other"])
def test_an_object_that_the_bucket_has_lost_is_made_again(one: Home, two: Home, damage: str) -> None:
    one.artefacts.models.make("m", lambda: of(1))
    bucket = Bucket(one.bucket)
    (stored,) = [one.key for one in bucket.listed("models/m/") if "state" in one.key]
    data = bucket.read(stored)
    assert data is not None
    bucket.delete([stored])
    if damage == "other":
        bucket.create(stored, data[:-1] + b"x")
    two.artefacts.models.make("m", lambda: of(1))
    shutil.rmtree(one.path / "models")
    assert w(one.artefacts, "m") == w(two.artefacts, "m") == [1, 1, 1]


def test_a_photo_that_this_disk_has_and_the_bucket_has_not_is_put_there(one: Home, two: Home, tmp_path: Path) -> None:
    """As after an erasure by another host of the same photo, or a home that has just been given a bucket."""
    file = listings_file(tmp_path / "in", [listing(1)])
    land([file], None, Home(one.path), print)
    shutil.rmtree(one.landing)
    land([file], None, one, print)
    (photo,) = landed_rows(two, ["photo_hash"])["photo_hash"]
    assert two.artefacts.photo(photo).exists()


def test_a_bucket_that_does_not_answer_is_one_line(tmp_path: Path, s3: str) -> None:
    for address, endpoint in (("s3://no-such-bucket/x", s3), ("s3://vps-tests/x", "http://127.0.0.1:9")):
        ran = vps("doctor", home=tmp_path, VPS_STORAGE=address, AWS_ENDPOINT_URL=endpoint)
        assert ran.returncode == 1 and "does not answer as a bucket" in ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr and len(ran.stderr.splitlines()) <= 1


@pytest.mark.parametrize("address", ["bucket/prefix", "memory://", "S3://bucket", "/srv"])
def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("VPS_STORAGE", address)
    with pytest.raises(WrongSetting, match="s3://bucket/prefix"):
        Home.from_environment()
