"""When what was fitted is due again."""

from datetime import timedelta

import pytest

from vps_assets.errors import WrongSetting
from vps_assets.lineage.planning import policies_by_asset
from vps_assets.lineage.retraining import DEFAULT_POLICIES, RetrainingPolicy, policies_from_environment
from vps_assets.orchestration.lineage_decisions import FITTED

HOUR = timedelta(hours=1)


def test_what_was_fitted_lately_waits_unless_sales_have_doubled() -> None:
    policies = policies_by_asset(DEFAULT_POLICIES)
    assert set(policies) == FITTED
    assert policies["price_bounds"].at_age(8 * 86400) == DEFAULT_POLICIES["backbones"]
    young = policies["task_backbones"].at_age(3600)
    assert not young.due(199, 100)
    assert young.due(200, 100)
    patient = RetrainingPolicy(3.0, None, HOUR).at_age(0)
    assert not patient.due(399, 100), "waiting makes nobody less patient"


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("10% 24h", RetrainingPolicy(0.1, None, timedelta(hours=24))),
        ("5000 0.5h", RetrainingPolicy(None, 5000, timedelta(minutes=30))),
    ],
)
def test_a_policy_is_a_share_or_a_count_and_hours(
    text: str, policy: RetrainingPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VPS_RETRAIN_PRICE_MODELS", text)
    assert policies_from_environment() == {**DEFAULT_POLICIES, "price_models": policy}


@pytest.mark.parametrize("text", ["10%", "0% 24h", "often", "24h 10%"])
def test_a_policy_that_makes_no_sense_is_refused_with_an_example(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPS_RETRAIN_BACKBONES", text)
    with pytest.raises(WrongSetting, match="VPS_RETRAIN_BACKBONES.*10% 24h"):
        policies_from_environment()


def test_a_count_of_new_sales_is_enough_whatever_their_share() -> None:
    policy = RetrainingPolicy(None, 50, timedelta(0))
    assert not policy.due(1049, 1000)
    assert policy.due(1050, 1000)
