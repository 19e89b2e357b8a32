"""The report as a page: in Chromium where it is installed, wide and narrow, light, dark and printed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsers import axe_faults, chromium
from conftest import Marketplace, vps
from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def report(marketplace: Marketplace) -> str:
    ran = vps("report", home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    return Path(ran.stdout.strip()).as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def opened(browser: Browser, report: str, width: int, scheme: str = "light") -> Page:
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    page.goto(report)
    return page


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_in_the_report(browser: Browser, report: str, width: int, scheme: str) -> None:
    assert axe_faults(opened(browser, report, width, scheme), scrolls=True) == []


def test_on_a_phone_nothing_but_tables_scrolls_sideways_and_labels_stay_readable(browser: Browser, report: str) -> None:
    page = opened(browser, report, 390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shrunk = "[...document.querySelectorAll('img.wide')].map(i => i.clientWidth / (i.naturalWidth / 160 * 72))"
    scales = page.evaluate(shrunk)  # CSS pixels of a point; labels are of 8.5 points and more
    assert len(scales) >= 7
    assert min(scales) * 8.5 > 8.5


def test_every_link_of_the_contents_leads_to_a_section_and_every_picture_says_what_it_is(
    browser: Browser, report: str
) -> None:
    page = opened(browser, report, 1280)
    targets = page.evaluate("[...document.querySelectorAll('nav a')].map(a => a.hash.slice(1))")
    assert len(targets) > 25
    assert page.evaluate("ids => ids.filter(id => !document.getElementById(id))", targets) == []
    titles = page.evaluate("[...document.querySelectorAll('section[id^=table] h3')].map(h => h.textContent)")
    assert len(titles) == len(set(titles))
    assert page.evaluate("[...document.images].filter(i => !i.alt).length") == 0


def test_printed_it_is_black_on_white_without_contents_and_no_table_is_cut(browser: Browser, report: str) -> None:
    page = opened(browser, report, 794, "dark")  # A4 at 96 pixels an inch
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert page.evaluate("document.documentElement.scrollWidth") <= 794
