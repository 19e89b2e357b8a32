import numpy as np

from vps_ml.pricing.baselines import judge_median, medians


def test_the_category_median_stands_in_for_every_listing_and_the_overall_one_for_a_new_category() -> None:
    learnt = medians(np.array(["a", "a", "b", None]), np.array([1.0, 2.0, 9.0, 3.0]))
    judged = judge_median(learnt, np.array(["a", "b", "new"]))
    assert judged.log_price.tolist() == [1.5, 9.0, 2.5]
