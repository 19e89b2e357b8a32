"""Chromium, where it is installed, and what axe finds in a page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; skips the test where there is none."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


def axe_faults(page: Page, *, scrolls: bool = False) -> list[tuple[str, str]]:
    """(rule, element) of what axe finds, its incompletes too.

    Of what is scrolled out of sight, in a page that has such parts, it cannot tell the contrast.
    """
    page.evaluate(AXE.read_text())  # in the page's own policy, which stays on
    found = page.evaluate("rules => axe.run({runOnly: rules})", RULES)
    assert len(found["passes"]) > 15
    untold = [fault for fault in found["incomplete"] if not (scrolls and fault["id"] == "color-contrast")]
    return [(fault["id"], fault["nodes"][0]["html"]) for fault in found["violations"] + untold]
