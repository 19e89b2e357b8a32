"""Figures as the report's tables show them."""

import pytest
from scenario import by_seed

from vps_assets.report.tables import over_seeds, range_bar


def test_a_mean_over_seeds_has_its_standard_error_and_that_of_one_seed_has_none() -> None:
    assert over_seeds(by_seed(0.4), "aurc") == "0.4000"
    assert over_seeds(by_seed(0.4, 0.6), "aurc") == "0.5000 ± .1000"


def test_a_range_may_be_off_by_two_points_or_three_standard_errors() -> None:
    assert range_bar(0.8, 100) == pytest.approx(0.12)
    assert range_bar(0.8, 1_000_000) == 0.02
