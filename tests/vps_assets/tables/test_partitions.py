"""The first listing date that is a partition."""

from datetime import date

import pytest
from scenario import listing, listings_file, quiet

from vps_assets.errors import WrongSetting
from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.landing.landed import first_landed_day
from vps_assets.tables.partitions import first_listing_date


def test_the_first_partition_is_the_first_landed_day(home: Home, tmp_path_factory: pytest.TempPathFactory) -> None:
    land([listings_file(tmp_path_factory.mktemp("l"), [listing(2), listing(5)])], None, home, quiet)
    assert first_listing_date(first_landed_day(home)) == date(2024, 1, 3)


def test_the_first_partition_can_be_given(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPS_FIRST_DATE", "2017-06-01")
    assert first_listing_date(first_landed_day(home)) == date(2017, 6, 1)


def test_a_given_first_date_never_cuts_off_what_has_landed(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    land([listings_file(tmp_path_factory.mktemp("l"), [listing(2)])], None, home, quiet)
    monkeypatch.setenv("VPS_FIRST_DATE", "2025-01-01")
    assert first_listing_date(first_landed_day(home)) == date(2024, 1, 3)


def test_a_first_date_that_is_none_is_refused_with_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPS_FIRST_DATE", "yesterday")
    with pytest.raises(WrongSetting, match="VPS_FIRST_DATE.*2024-01-31"):
        first_listing_date(None)
