"""Which claims hold, beyond another draw of listings."""

from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from scenario import comparisons

from vps_assets.assets.corruptions import summarised
from vps_assets.report.comparisons import best_baseline
from vps_assets.report.published import Published
from vps_assets.report.shapes import beats, falls_with_severity, raw_coverage_lands, rises
from vps_ml.pricing.variants import WHOLE


@pytest.mark.parametrize(("difference", "verdict"), [(-0.04, "yes"), (0.04, "no"), (-0.02, "cannot tell")])
def test_a_claim_holds_only_beyond_another_draw_of_listings(difference: float, verdict: str) -> None:
    row = best_baseline(comparisons(("boosted_trees", "aurc", difference))["model_comparisons"], "group")
    assert beats(row, "ours is better").verdict == verdict
    assert beats(None, "ours is better").verdict == "not measured"


def test_a_reason_is_given_only_where_a_claim_does_not_hold() -> None:
    for difference, reason in ((-0.04, ""), (0.04, "because"), (0.0, "")):
        row = best_baseline(comparisons(("boosted_trees", "aurc", difference))["model_comparisons"], "group")
        assert beats(row, "", "because").explanation == reason


@pytest.mark.parametrize(
    ("steps", "verdict"),
    [((-0.04, -0.04, -0.08), "yes"), ((-0.01, -0.01, -0.08), "yes"), ((-0.1, 0.05, -0.05), "no"),
     ((-0.01, -0.01, -0.02), "cannot tell")],
)  # fmt: skip
def test_a_series_rises_if_its_ends_surely_do_and_no_step_surely_falls(
    steps: tuple[float, float, float], verdict: str
) -> None:
    """Differences of each value less the next, the last one of the first value less the last."""
    claims = ("paper: MALE at .3 below .4", "paper: MALE at .4 below .5", f"paper: MALE at .3 below .5{WHOLE}")
    rows = [(claim, "male", step) for claim, step in zip(claims, steps, strict=True)]
    published = comparisons(*rows, family="shapes")
    assert rises(published, "it rises", "paper: MALE").verdict == verdict
    assert rises(published, "it rises", "cross_fitted: MALE").verdict == "not measured"


def evaluated(coverage: dict[float, float], tested: int = 2000) -> Published:
    reports = pl.DataFrame(
        {
            "segment": "all",
            "split_kind": "group",
            "constraint_kind": "percentile",
            "objective": "paper",
            "constraint_value": list(coverage),
            "raw_coverage": list(coverage.values()),
            "tested": tested,
        }
    )
    return Published({"evaluation_reports": reports})


def test_raw_coverage_is_held_to_its_own_target() -> None:
    near = {0.3: 0.33, 0.4: 0.41, 0.5: 0.46, 0.6: 0.62, 0.7: 0.71}
    assert raw_coverage_lands(evaluated(near), "paper").verdict == "yes"
    assert raw_coverage_lands(evaluated(near | {0.5: 0.56}), "paper").verdict == "no"
    assert raw_coverage_lands(evaluated({0.5: 0.5}), "paper").verdict == "not measured"


def test_on_few_listings_nothing_is_said_of_raw_coverage_that_chance_could_undo() -> None:
    near = {0.3: 0.33, 0.4: 0.41, 0.5: 0.46, 0.6: 0.62, 0.7: 0.71}
    few = raw_coverage_lands(evaluated(near | {0.5: 0.58}, tested=90), "paper")
    assert few.verdict == "cannot tell" and "too few listings" in few.explanation
    assert raw_coverage_lands(evaluated(near | {0.5: 0.7}, tested=90), "paper").verdict == "no"


def judged(qualification: list[np.ndarray]) -> pl.DataFrame:
    """Photos' qualification at each severity, as the op has it."""
    frames = [
        pl.DataFrame({"qualification": values}).with_columns(
            listing_id=pl.int_range(pl.len()).cast(pl.String),
            corruption=pl.lit("blur" if severity else "none"),
            severity=pl.lit(severity),
            strength=pl.lit(0.1 * severity if severity else None, dtype=pl.Float64),
            model_id=pl.lit("m"),
        )
        for severity, values in enumerate(qualification)
    ]
    return pl.concat(frames)


def judged_worse(levels: list[float], noise: float, photos: int = 200) -> pl.DataFrame:
    """Photos' qualification at each severity, spread about these levels, by a photo and its own noise."""
    rng = np.random.default_rng(0)
    photo = rng.normal(0, 0.05, photos)
    return summarised(judged([level + photo + rng.normal(0, noise, photos) for level in levels]))


def drawn_shares(shares: list[float], rng: np.random.Generator) -> pl.DataFrame:
    """150 photos of which these shares are priced, each photo's luck in part its own at all severities."""
    own = rng.normal(size=150)
    drawn = [0.6 * own + 0.8 * rng.normal(size=150) for _ in shares]
    return judged(
        [(values < NormalDist().inv_cdf(share)).astype(float) for values, share in zip(drawn, shares, strict=True)]
    )


@pytest.mark.parametrize(
    ("levels", "noise", "verdict"),
    [([0.7, 0.5, 0.3], 0.02, "yes"), ([0.7, 0.3, 0.302], 0.02, "yes"),  # a rise that nobody would call one
     ([0.7, 0.3, 0.302], 0.2, "cannot tell"),  # it may be a larger one
     ([0.645, 0.455, 0.449, 0.476, 0.491], 0.05, "no"), ([0.645, 0.455, 0.449, 0.476, 0.491], 0.3, "cannot tell"),
     ([0.7, 0.7], 0.1, "cannot tell"), ([0.5, 0.7], 0.1, "no")],
)  # fmt: skip
def test_qualification_has_to_fall_with_severity_at_no_step_to_rise(
    levels: list[float], noise: float, verdict: str
) -> None:
    claims = falls_with_severity(judged_worse(levels, noise))
    assert [claim.verdict for claim in claims if "qualifies less" in claim.claim] == [verdict] * 2  # average, blur


def test_that_fewer_are_priced_is_a_claim_of_its_own() -> None:
    prices_more = falls_with_severity(judged_worse([0.45, 0.6, 0.44], 0.001))
    verdicts = {claim.claim: claim.verdict for claim in prices_more}
    assert verdicts["the champion prices fewer, the worse photos are made: blur"] == "no"
    older = judged_worse([0.7, 0.5], 0.02).with_columns(rise=None, share_rise=None, share_change=None)
    assert {claim.verdict for claim in falls_with_severity(older)} == {"not measured"}


def test_a_gate_that_opens_again_is_seldom_said_to_close() -> None:
    """Shares of 150 photos that are priced, in truth .65, .5, .3 and then .34: of 200 draws one in twenty at most."""
    rng = np.random.default_rng(0)
    said = [
        shape.verdict
        for _ in range(200)
        for shape in falls_with_severity(summarised(drawn_shares([0.65, 0.5, 0.3, 0.34], rng)))
        if shape.claim == "the champion prices fewer, the worse photos are made: blur"
    ]
    assert said.count("yes") <= 10 and len(said) == 200


@pytest.mark.parametrize(
    ("levels", "noise", "photos", "said"),
    [([0.7, 0.3], 0.001, 19, "fewer than 20 photos"), ([0.7, 0.7], 0.1, 150, "may be no lower than the photos as"),
     ([0.7, 0.3, 0.302], 0.2, 150, "by chance severity 2 may lie 0.0")],
)  # fmt: skip
def test_what_cannot_be_told_says_what_it_takes(levels: list[float], noise: float, photos: int, said: str) -> None:
    claims = falls_with_severity(judged_worse(levels, noise, photos=photos))
    told = [claim for claim in claims if "qualifies less" in claim.claim]
    assert {claim.verdict for claim in told} == {"cannot tell"}
    assert all(said in claim.explanation for claim in told), told
