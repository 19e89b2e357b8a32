"""When what was fitted is fitted again: how many new sales it takes, and the minimum time between two fits."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from vps_assets.errors import WrongSetting


@dataclass(frozen=True)
class RetrainingPolicy:
    """When an asset that is kept is fitted again."""

    share: float | None
    """New sales as a share of those that it was fitted on; None if `count` decides."""
    count: int | None
    """New sales."""
    minimum_age: timedelta
    """The sensor retrains no sooner after the last fit; `vps run`, which a person starts, does not wait."""
    until_doubled: bool = False
    """Whether sales must also have doubled: the asset is below its minimum age."""

    def due(self, sales: int, fitted_on: int) -> bool:
        """Whether there are enough sales to fit again what was fitted on `fitted_on` of them."""
        if self.until_doubled and sales < 2 * fitted_on:
            return False
        needed = self.count if self.share is None else round((1 + self.share) * max(1, fitted_on)) - fitted_on
        return sales - fitted_on >= (needed or 1)

    def at_age(self, age_s: float) -> "RetrainingPolicy":
        """The policy for an asset that was fitted this many seconds ago.

        Below its minimum age an asset waits until sales have doubled: a marketplace that opens would otherwise be
        priced for a week by its first hour.
        """
        return replace(self, until_doubled=age_s < self.minimum_age.total_seconds())


DEFAULT_POLICIES: Mapping[str, RetrainingPolicy] = {
    "backbones": RetrainingPolicy(0.5, None, timedelta(days=7)),
    "price_models": RetrainingPolicy(0.1, None, timedelta(days=1)),
}
"""Rarely the backbones, often the price models (docs/adr/0008)."""
FORM = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<percent>%?)\s+(?P<hours>\d+(?:\.\d+)?)h")


def policies_from_environment() -> dict[str, RetrainingPolicy]:
    """`VPS_RETRAIN_BACKBONES` and `VPS_RETRAIN_PRICE_MODELS`: new sales, as a share or a count, and hours.

    Raises:
        WrongSetting: not like "10% 24h" or "5000 24h".
    """
    return {kind: policy_of(os.environ.get(f"VPS_RETRAIN_{kind.upper()}"), kind) for kind in DEFAULT_POLICIES}


def policy_of(text: str | None, kind: str) -> RetrainingPolicy:
    """The policy that a setting describes; the default without one."""
    if not text:
        return DEFAULT_POLICIES[kind]
    form = FORM.fullmatch(text.strip())
    if form is None or float(form["number"]) <= 0:
        raise WrongSetting(f'VPS_RETRAIN_{kind.upper()}: {text!r} is not like "10% 24h" or "5000 24h"')
    hours = timedelta(hours=float(form["hours"]))
    if form["percent"]:
        return RetrainingPolicy(float(form["number"]) / 100, None, hours)
    return RetrainingPolicy(None, round(float(form["number"])), hours)
