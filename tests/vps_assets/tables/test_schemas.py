"""Every table by name, and frames that conform to its schema."""

import polars as pl
import pytest

from vps_assets.assets.options import column_schema
from vps_assets.lineage.graph import LINEAGE
from vps_assets.tables.schemas import TABLES, aligned, check_labels, conforming, types
from vps_ml.backbones.tasks import TASKS, LabelKind, Task


def test_a_frame_of_older_code_reads_with_the_columns_of_today_in_their_order() -> None:
    schema = TABLES["corruption_reports"]
    older = pl.DataFrame({"severity": [1], "gone": ["x"], "corruption": ["blur"]})
    assert aligned(older, schema).columns == list(types(schema))
    assert aligned(older, schema).select("corruption", "severity", "change").row(0) == ("blur", 1, None)
    assert aligned(pl.DataFrame(), schema).schema == pl.Schema(types(schema))


@pytest.mark.parametrize("asset", TABLES)
def test_an_empty_table_conforms_to_its_schema(asset: str) -> None:
    frame = conforming(pl.DataFrame(), TABLES[asset])
    assert frame.schema == pl.Schema(types(TABLES[asset]))
    assert len(column_schema(TABLES[asset]).columns) == frame.width


def test_every_asset_has_its_table_and_no_table_is_without_an_asset() -> None:
    assert set(TABLES) == set(LINEAGE)


@pytest.mark.parametrize(
    ("label", "kind"),
    [("brand", LabelKind.MULTIPLE), ("price", LabelKind.SINGLE), ("attributes", LabelKind.SINGLE),
     ("materials", LabelKind.MULTIPLE)],
)  # fmt: skip
def test_a_task_whose_label_is_of_another_kind_or_missing_is_refused(label: str, kind: LabelKind) -> None:
    check_labels(TASKS)
    with pytest.raises(ValueError, match=f"task new: .*{label}"):
        check_labels({**TASKS, "new": Task(label, kind)})
