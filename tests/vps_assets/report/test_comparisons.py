"""The best baseline, and a difference with its interval, as the report shows them."""

from scenario import comparisons

from vps_assets.report.comparisons import best_baseline, differences, interval


def test_the_best_baseline_is_the_one_with_the_least_of_the_metric() -> None:
    published = comparisons(
        ("boosted_trees", "aurc", -0.02), ("deep_ensemble", "aurc", -0.05), ("deep_ensemble", "male_of_all", -0.01),
        ("cross_fitted", "aurc", 0.01),
    )  # fmt: skip
    best = best_baseline(published["model_comparisons"], "group")
    assert best is not None and best["against"] == "boosted_trees"  # cross_fitted is none, though ahead of all
    assert best_baseline(published["model_comparisons"], "group", "male_of_all")["against"] == "deep_ensemble"
    assert best_baseline(published["model_comparisons"], "time") is None


def test_a_difference_is_shown_with_the_interval_that_its_verdict_is_by() -> None:
    (row,) = differences(
        comparisons(("boosted_trees", "aurc", -0.02))["model_comparisons"], "served, group", "aurc"
    ).to_dicts()
    assert interval(row) == "-0.0200 [-0.0500, +0.0100], 90 groups, 2 seeds"
    assert row["verdict"] == "cannot tell"
