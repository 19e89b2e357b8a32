"""The lineage as data: layers, and the assets that a selection names."""

import pytest

from vps_assets.errors import UserError
from vps_assets.lineage.graph import LAYERS, LINEAGE, selected


def test_a_plus_adds_what_is_upstream_or_downstream() -> None:
    assert selected("+clean_listings") == {"clean_listings", "raw_listings", "price_bounds"}
    assert selected("champion_model+") == {
        "champion_model", "champion_history", "range_adaptation", "corruption_reports", "price_suggestions",
        "advice_gains", "comparable_items", "suggestion_comparables", "comparable_reports", "sale_chances",
        "sale_reports", "suggestion_history", "suggestion_changes",
    }  # fmt: skip
    assert selected("raw_listings, seller_statistics") == {"raw_listings", "seller_statistics"}
    assert selected(None) == set(LINEAGE)


def test_an_unknown_asset_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="there is no asset 'prices'"):
        selected("prices+")


def test_every_asset_is_in_exactly_one_layer_in_order() -> None:
    assert [asset for layer in LAYERS for asset in layer] == list(LINEAGE)


def test_parents_are_made_before_their_children_and_a_layer_has_one_partitioning() -> None:
    number = {asset: i for i, layer in enumerate(LAYERS) for asset in layer}
    order = list(LINEAGE)
    for asset, node in LINEAGE.items():
        assert all(number[parent] <= number[asset] for parent in node.parents), asset
        assert all(order.index(parent) < order.index(asset) for parent in node.parents), asset
    assert all(len({node.partitions for node in layer.values()}) == 1 for layer in LAYERS)
