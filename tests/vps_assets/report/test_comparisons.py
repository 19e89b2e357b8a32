"""Models held against each other over their seeds."""

import pytest
from scenario import by_seed

from vps_assets.report.comparisons import margin


def test_a_margin_is_paired_by_seed_and_counts_pairs_alone() -> None:
    # 0.1, 0.3, 0.2: mean 0.2, deviation 0.1, over the root of 3; the fourth seed has no partner
    gain = margin(by_seed(0.4, 0.4, 0.5), by_seed(0.5, 0.7, 0.7, 0.1), "aurc")
    assert (gain.mean, gain.error, gain.seeds) == (pytest.approx(0.2), pytest.approx(0.1 / 3**0.5), 3)
    assert str(gain) == "0.2000 ± 0.0577, 3 seeds"


def test_one_seed_has_no_standard_error() -> None:
    assert margin(by_seed(0.4), by_seed(0.5), "aurc").error is None
