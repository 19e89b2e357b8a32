"""What a partition is made from: whatever changes that makes it out of date, and nothing else does."""

from dataclasses import replace

import pytest
from simulated_runs import KEYS, SALES, after_a_full_run, fingerprints_of, run, stale_after

from vps_assets.lineage.fingerprints import Records, cumulative, own_part
from vps_assets.lineage.graph import LINEAGE, STATISTICS
from vps_assets.lineage.planning import desired_fingerprints, out_of_date
from vps_assets.tables.partitions import WHOLE
from vps_ml.recipes import demo, small

OWN_PARTS = {
    "raw_listings": "5360b42248986cca",
    "price_bounds": "957035da39b9e305",
    "clean_listings": "7eb442584db33387",
    "quarantined_listings": "20266125a182998b",
    "marketplace_statistics": "8d3c4eb14928398e",
    "category_statistics": "76328b43115cd1e3",
    "seller_statistics": "5647f5eac009bdb4",
    "label_statistics": "51e7d2c209b1ae64",
    "task_backbones": "fe67881dbe866004",
    "image_embeddings": "92e562aba7b73f13",
    "text_embeddings": "fe79a9250532ce58",
    "percentile_pricing_models": "f2c8cc2cd78a3b65",
    "threshold_pricing_models": "b6bcfecfcaeea5b8",
    "baseline_pricing_models": "acfab35238dae932",
    "ablation_pricing_models": "eb8a07cb759c52ed",
    "words_pricing_models": "97bebc82d317a948",
    "evaluation_predictions": "20501479930d216b",
    "out_of_bounds_predictions": "dc54e1e7014a0e03",
    "evaluation_reports": "d0403459df09199b",
    "ablation_reports": "b00b01b841db7af1",
    "words_reports": "cc92604b2730a3a2",
    "model_comparisons": "90d9d0269c344253",
    "champion_model": "9a6b01b1103c66fd",
    "champion_history": "01119dff7af31b7f",
    "range_adaptation": "622ffbd4976194a0",
    "price_suggestions": "f66b81b11750dba1",
    "corruption_reports": "82d1f308cb31f0b4",
    "comparable_items": "0a82957f49acd9e8",
    "suggestion_comparables": "9483746dd294236d",
    "comparable_reports": "879e1cb223a03d6a",
    "sale_chances": "21980c66d3b328e9",
    "sale_reports": "d77d63d71fa9375f",
    "advice_gains": "377c01ed7f4ad90b",
    "suggestion_history": "e03fd0ebd6ef630f",
    "suggestion_changes": "5ee1314e79136924",
}
"""Of version 0.1 and since. A value changes with the asset's code version or recipe: on purpose, and then here too."""


def changed(recorded: Records, asset: str, **fields: object) -> Records:
    """The same, but for these fields of the asset's fingerprints."""
    made = {partition: replace(fingerprint, **fields) for partition, fingerprint in recorded.made[asset].items()}
    return recorded.updated(Records({asset: made}))


def test_a_change_of_recipe_refits_the_bounds() -> None:
    recorded = after_a_full_run({"2024-01-01": "a"})
    desired = desired_fingerprints(fingerprints_of({"2024-01-01": "a"}), SALES, recorded, small(), keys=KEYS)
    assert "price_bounds" in out_of_date(desired, recorded.made)
    assert own_part("price_bounds", demo()) != own_part("price_bounds", small())


def test_refitted_bounds_make_every_day_stale() -> None:
    recorded = after_a_full_run({"2024-01-01": "a"})
    refitted = changed(recorded, "price_bounds", content="other")
    assert stale_after({"2024-01-01": "a"}, refitted)["clean_listings"] == ["2024-01-01"]


def test_other_backbones_make_every_price_model_and_embedding_stale() -> None:
    recorded = after_a_full_run({"2024-01-01": "a"})
    stale = stale_after({"2024-01-01": "a"}, changed(recorded, "task_backbones", content="other"))
    assert {
        "image_embeddings",
        "percentile_pricing_models",
        "baseline_pricing_models",
        "ablation_pricing_models",
    } <= set(stale)


def test_a_champion_that_is_confirmed_changes_no_suggestion() -> None:
    """Its evaluation is new, so it is judged again; as long as it stays in force, nothing that it priced is stale."""
    landed = {"2024-01-01": "a", "2024-01-02": "b"}
    recorded = after_a_full_run(landed)
    forgotten = Records({asset: made for asset, made in recorded.made.items() if asset != "champion_model"})
    assert run(landed, forgotten)[0] == {"champion_model": [WHOLE]}
    other = run(landed, forgotten, content="another model")[0]
    assert other["price_suggestions"] == ["2024-01-01", "2024-01-02"]
    assert other["corruption_reports"] == [WHOLE]


def with_digests(recorded: Records, **by_day: str) -> Records:
    """The same, with the digest of each statistics table's rows as of days (d1 is the first of January)."""
    days = [(f"2024-01-{day[1:]:0>2}", digest) for day, digest in by_day.items()]
    return Records(recorded.made, {asset: cumulative(days) for asset in STATISTICS})


def test_a_late_sale_makes_suggestions_stale_from_the_day_on_that_the_statistics_include_it() -> None:
    """Listed on the 1st, sold on the 2nd: the 1st has a row less to price, the 3rd and later see other statistics."""
    landed = {f"2024-01-0{day}": "a" for day in range(1, 5)}
    recorded = run(landed, with_digests(Records(), d2="x", d4="y"))[1]
    assert run(landed, recorded)[0] == {}
    made, _ = run(landed | {"2024-01-01": "sold"}, with_digests(recorded, d2="x", d3="new", d4="other"))
    assert made["price_suggestions"] == ["2024-01-01", "2024-01-03", "2024-01-04"]


@pytest.mark.parametrize("above", ["clean_listings", "seller_statistics", "image_embeddings"])
def test_other_code_above_them_makes_price_models_stale(above: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = after_a_full_run({"2024-01-01": "a"})
    other = dict(LINEAGE) | {above: replace(LINEAGE[above], code_version="other")}
    monkeypatch.setattr("vps_assets.lineage.fingerprints.LINEAGE", other)
    assert {"percentile_pricing_models", "baseline_pricing_models", "ablation_pricing_models"} <= set(
        run({"2024-01-01": "a"}, recorded)[0]
    )


def test_a_champion_that_was_judged_again_has_its_history_written() -> None:
    """A refusal leaves the champion as it was; if the run ends there, the next one still notes it."""
    recorded = after_a_full_run({"2024-01-01": "a"})
    judged_again = changed(recorded, "champion_model", sales=SALES + 1)
    assert run({"2024-01-01": "a"}, judged_again)[0] == {"champion_history": [WHOLE]}


def test_the_fingerprints_are_those_that_were_meant() -> None:
    assert {asset: own_part(asset, demo()) for asset in LINEAGE} == OWN_PARTS
