import numpy as np
import pytest

from vps_ml.evaluation import metrics, resampling
from vps_ml.evaluation.resampling import (
    METRICS,
    Drawn,
    Draws,
    Judged,
    all_resampled,
    aurc,
    aurcs,
    difference,
    male_at,
    middle,
    middles,
    numbered,
    resampled,
    simultaneous,
    summed_up,
    verdict,
)

ALL = {"male_of_all": METRICS["male_of_all"]}


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "RESAMPLES", 400)


def judged(error: np.ndarray, seed: int = 0) -> Judged:
    """A model with these errors, half of whose gate is luck."""
    rng = np.random.default_rng(seed)
    return Judged(np.abs(error), 1 / (1 + np.exp(np.abs(error) + rng.normal(size=error.size))))


def test_the_error_at_a_coverage_is_that_of_the_most_qualified_items() -> None:
    model = Judged(np.array([1.0, 2.0, 4.0, 8.0]), np.array([0.1, 0.9, 0.8, 0.2]))
    assert male_at(model, np.ones((1, 4)), 0.5)[0] == pytest.approx(3.0)
    assert male_at(model, np.ones((1, 4)), 1.0)[0] == pytest.approx(model.log_error.mean())


def test_the_last_item_counts_with_the_part_of_it_that_the_coverage_needs() -> None:
    model = Judged(np.array([1.0, 4.0]), np.array([0.9, 0.1]))
    assert male_at(model, np.ones((1, 2)), 0.75)[0] == pytest.approx((1.0 + 0.5 * 4.0) / 1.5)


def test_an_item_that_is_drawn_twice_counts_twice() -> None:
    rng = np.random.default_rng(0)
    error, qualification = rng.random(30), rng.random(30)
    drawn = rng.integers(0, 3, 30)
    repeated = np.repeat(np.arange(30), drawn)
    model, longer = Judged(error, qualification), Judged(error[repeated], qualification[repeated])
    ones = np.ones((1, len(repeated)))
    assert male_at(model, drawn[None].astype(float), 0.6) == pytest.approx(male_at(longer, ones, 0.6))
    in_the_end = np.cumsum(longer.log_error[np.argsort(-longer.qualification, kind="stable")])[-1] / len(repeated)
    assert METRICS["male_of_all"](Drawn(model, drawn[None].astype(float))) == pytest.approx(in_the_end)


def test_every_item_once_gives_the_aurc_of_the_tables() -> None:
    model = judged(np.random.default_rng(1).normal(size=50))
    curve = metrics.risk_coverage(model.log_error, model.qualification, np.arange(50))
    assert aurc(Drawn(model, np.ones((1, 50))))[0] == pytest.approx(metrics.aurc(curve))


def test_listings_of_one_group_are_drawn_together() -> None:
    group = numbered(np.array(["b", "a", "b", "c"]))
    for weights in Draws(group):
        assert (weights[:, 0] == weights[:, 2]).all()
        assert weights[:, [0, 1, 3]].sum(axis=1) == pytest.approx(3)


def test_copies_of_listings_in_one_group_say_no_more_than_the_listings() -> None:
    error = np.random.default_rng(2).normal(size=60)
    once = resampled([judged(error)], ALL, Draws(np.arange(60)))["male_of_all"]
    fourfold = Judged(np.tile(np.abs(error), 4), np.tile(judged(error).qualification, 4))
    copied = resampled([fourfold], ALL, Draws(np.tile(np.arange(60), 4)))["male_of_all"]
    assert copied.drawn.std() == pytest.approx(once.drawn.std(), rel=1e-9)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    inside = 0
    for world in range(60):
        rng = np.random.default_rng(world)
        first, second = np.abs(rng.normal(size=(2, 150)))
        models = [resampled([Judged(e, rng.random(150))], ALL, Draws(np.arange(150))) for e in (first, second)]
        low, high = difference(models[0]["male_of_all"], models[1]["male_of_all"]).interval
        inside += low <= 0 <= high
    assert 52 <= inside <= 60


def test_a_difference_between_seeds_widens_the_interval() -> None:
    rng = np.random.default_rng(3)
    error = np.abs(rng.normal(size=200))
    alike = [Judged(error, error), Judged(error, error)]
    apart = [Judged(error + 0.3, error), Judged(error - 0.3, error)]
    other = resampled([Judged(error, error)] * 2, ALL, Draws(np.arange(200)))["male_of_all"]
    widths = []
    for seeds in (alike, apart):
        mine = resampled(seeds, ALL, Draws(np.arange(200)))["male_of_all"]
        low, high = difference(mine, other).interval
        widths.append(high - low)
    assert widths[0] == pytest.approx(0) and widths[1] > 0.5


def test_among_many_comparisons_the_luckiest_is_not_believed() -> None:
    """Forty models that are all as good as the first: by itself each is right 19 times in 20, together they are not."""
    by_itself = together = 0
    for world in range(20):
        rng = np.random.default_rng(world)
        errors = np.abs(rng.normal(size=(41, 120)))
        all_of = [resampled([Judged(e, e)], ALL, Draws(np.arange(120)))["male_of_all"] for e in errors]
        differences = [difference(other, all_of[0]) for other in all_of[1:]]
        by_itself += any(verdict(*d.interval) != "cannot tell" for d in differences)
        together += any(verdict(*ends) != "cannot tell" for ends in simultaneous(differences))
    assert by_itself >= 10
    assert together <= 5


def test_a_model_that_is_surely_better_is_called_better_both_ways() -> None:
    error = np.abs(np.random.default_rng(4).normal(size=300))
    better, worse = (
        resampled([Judged(e, e)], {"aurc": aurc}, Draws(np.arange(300)))["aurc"] for e in (error, error + 0.2)
    )
    ((low, high),) = simultaneous([difference(better, worse)])
    assert verdict(low, high) == "yes"
    ((low, high),) = simultaneous([difference(worse, better)])
    assert verdict(low, high) == "no"


def test_the_aurc_of_many_models_is_that_of_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Computed some models at a time, with draws in which the most qualified items are not."""
    rng = np.random.default_rng(6)
    models = [judged(rng.normal(size=23), seed) for seed in range(7)]
    weights = rng.integers(0, 3, (90, 23)).astype(float)
    monkeypatch.setattr(resampling, "WEIGHTS_AT_ONCE", 2 * weights.size)
    order = np.stack([np.argsort(-model.qualification, kind="stable") for model in models])
    found = aurcs(np.stack([model.log_error for model in models]), order, weights)
    for model, row in zip(models, found, strict=True):
        for drawn, value in zip(weights.astype(int), row, strict=True):
            repeated = np.repeat(np.arange(23), drawn)
            error, qualification = model.log_error[repeated], model.qualification[repeated]
            taken = error[np.argsort(-qualification, kind="stable")]
            assert value == pytest.approx(_by_items(taken, qualification)), "an item that was drawn twice stands twice"


def _by_items(error: np.ndarray, qualification: np.ndarray) -> float:
    """The mean over places of the error up to there; items that are the same share the error after the last."""
    same = -np.sort(-qualification)
    last = np.searchsorted(-same, -same, side="right")
    return float(np.mean([error[:end].mean() for end in last]))


def test_the_middles_of_rows_are_those_of_numpy_where_some_draws_have_no_figure() -> None:
    rng = np.random.default_rng(7)
    drawn = rng.normal(size=(5, 401))
    drawn[1, :300] = np.nan
    drawn[2, 1:] = np.nan
    drawn[4] = np.nan
    low, high = middles(drawn)
    for row in range(4):
        assert (low[row], high[row]) == pytest.approx(middle(drawn[row]))
    assert np.isnan([low[4], high[4]]).all()


def test_draws_that_are_too_many_to_keep_are_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "WEIGHTS_AT_ONCE", 3000)
    draws = Draws(np.arange(50) // 2)
    first, second = np.concatenate(list(draws)), np.concatenate(list(draws))
    assert draws.whole is None and first.shape == (400, 50)
    assert (first == second).all()


@pytest.mark.parametrize("coverage", [0.05, 0.3, 0.7, 1.0])
def test_the_error_at_a_coverage_is_that_of_going_through_the_items_one_by_one(coverage: float) -> None:
    """In draws in which the most qualified items are not, others are several times, and items tie."""
    rng = np.random.default_rng(9)
    model = Judged(rng.random(25), rng.integers(0, 6, 25) / 6)
    weights = np.where(rng.random((60, 25)) < 0.5, 0, rng.integers(0, 4, (60, 25))).astype(float)
    for drawn, value in zip(weights, male_at(model, weights, coverage), strict=True):
        left, total = coverage * drawn.sum(), 0.0
        for item in sorted(range(25), key=lambda item: -model.qualification[item]):
            counted = min(left, drawn[item])
            left, total = left - counted, total + counted * model.log_error[item]
        assert value == pytest.approx(total / (coverage * drawn.sum()))


def test_kinds_that_are_measured_together_have_the_figures_of_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each the metrics that it is asked for, and the draws are made once for all of them."""
    monkeypatch.setattr(resampling, "WEIGHTS_AT_ONCE", 1500)
    rng, made, draw = np.random.default_rng(10), list[int](), Draws.drawn
    kinds = [([judged(rng.normal(size=50), seed)], {name: METRICS[name]}) for seed, name in enumerate(METRICS)]
    alone = [resampled(*kind, Draws(np.arange(50) // 2)) for kind in kinds]
    monkeypatch.setattr(Draws, "drawn", lambda draws, rng, count: made.append(count) or draw(draws, rng, count))
    together = all_resampled(kinds, Draws(np.arange(50) // 2))
    assert sum(made) == 400
    for (_, asked), one, other in zip(kinds, alone, together, strict=True):
        assert one.keys() == other.keys() == asked.keys()
        for name in asked:
            assert (one[name].measured == other[name].measured).all()
            assert (one[name].drawn == other[name].drawn).all()


@pytest.mark.parametrize("wide", [1, 10**9])
def test_sums_up_to_each_row_are_those_of_numpy_of_wide_rows_and_of_narrow_ones(
    wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "WIDE", wide)
    values = np.random.default_rng(11).normal(size=(40, 3, 7))
    expected = np.cumsum(values, axis=0)
    assert (summed_up(values) == expected).all()
