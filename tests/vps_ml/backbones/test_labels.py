import numpy as np
import pytest
import torch

from vps_ml.backbones.labels import learning_of


def test_missing_labels_are_masked_and_rare_ones_dropped() -> None:
    targets = learning_of("brand").targets(["a"] * 5 + ["b"] * 5 + [None, "rare"])
    assert targets.names == ("a", "b")
    assert targets.present.tolist() == [True] * 10 + [False, False]


def test_several_labels_become_zeros_and_ones() -> None:
    targets = learning_of("attribute").targets([["x", "y"]] * 5 + [["x"], [], None])
    assert targets.values[[0, 5]].tolist() == [[1, 1], [1, 0]]
    assert targets.present.tolist() == [True] * 6 + [False, False]


def test_prices_are_standardised_and_open_listings_masked() -> None:
    targets = learning_of("price").targets([1.0, 3.0, None])
    assert targets.values[:, 0].tolist() == [-1.0, 1.0, 0.0]
    assert targets.present.tolist() == [True, True, False]


def test_the_multi_label_loss_is_summed_over_labels_and_averaged_over_photos() -> None:
    loss = learning_of("attribute").loss(torch.zeros(2, 3), torch.ones(2, 3))
    assert loss.item() == pytest.approx(3 * np.log(2), rel=1e-6)
