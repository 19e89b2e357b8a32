import numpy as np

from vps_ml.pricing.folds import fold_of_group


def test_folds_keep_groups_together_and_are_even() -> None:
    group = np.repeat(np.arange(50), 3)
    fold = fold_of_group(group, 5, 0)
    assert all(len(set(fold[group == g])) == 1 for g in range(50))
    assert np.bincount(fold).tolist() == [30] * 5
