"""When what was fitted is fitted again: how many new sales it bears, and how long it stays at least."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from vps_assets.home import WrongSetting


@dataclass(frozen=True)
class Patience:
    """What a kept model bears before it is retrained."""

    share: float | None
    """New sales as a share of those that it was fitted on; None where `count` decides."""
    count: int | None
    """New sales."""
    at_least: timedelta
    """The sensor retrains no sooner after the last time; `vps run`, which a person starts, does not wait."""
    until_doubled: bool = False
    """Whether, beyond that, sales have to have doubled: the time has not come yet."""

    def outgrown(self, sales: int, fitted_on: int) -> bool:
        """Whether so many sales are too many for a model that was fitted on `fitted_on`."""
        if self.until_doubled and sales < 2 * fitted_on:
            return False
        needed = self.count if self.share is None else round((1 + self.share) * max(1, fitted_on)) - fitted_on
        return sales - fitted_on >= (needed or 1)


DEFAULT: Mapping[str, Patience] = {
    "backbones": Patience(0.5, None, timedelta(days=7)),
    "price_models": Patience(0.1, None, timedelta(days=1)),
}
"""Rarely the backbones, often the price models (docs/adr/0008)."""
FORM = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<percent>%?)\s+(?P<hours>\d+(?:\.\d+)?)h")


def patience_from_environment() -> dict[str, Patience]:
    """`VPS_RETRAIN_BACKBONES` and `VPS_RETRAIN_PRICE_MODELS`: new sales, as a share or a count, and hours.

    Raises:
        WrongSetting: not like "10% 24h" or "5000 24h".
    """
    return {kind: patience_of(os.environ.get(f"VPS_RETRAIN_{kind.upper()}"), kind) for kind in DEFAULT}


def patience_of(text: str | None, kind: str) -> Patience:
    """A setting's meaning; the default's where there is none."""
    if not text:
        return DEFAULT[kind]
    form = FORM.fullmatch(text.strip())
    if form is None or float(form["number"]) <= 0:
        raise WrongSetting(f'VPS_RETRAIN_{kind.upper()}: {text!r} is not like "10% 24h" or "5000 24h"')
    hours = timedelta(hours=float(form["hours"]))
    if form["percent"]:
        return Patience(float(form["number"]) / 100, None, hours)
    return Patience(None, round(float(form["number"])), hours)
