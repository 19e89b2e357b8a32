"""What is recorded of a table is what the run had read, whichever process wrote it."""

import inspect
import os
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from vps_assets.assets.options import WAREHOUSE, only
from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint, Records, basis_of
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration.instance import open_instance
from vps_assets.tables.partitions import WHOLE
from vps_assets.tables.schemas import TABLES, conforming, types
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.io_manager import WarehouseIOManager
from vps_assets.warehouse.settings import Settings
from vps_ml.recipes import demo

CHILD = next(
    name
    for name, node in LINEAGE.items()
    if node.partitions == "none" and not node.content and not node.kept_as and len(node.parents) == 1
    if LINEAGE[node.parents[0]].partitions == "none"
)
(PARENT,) = LINEAGE[CHILD].parents
NAMED = tuple(name for name, dtype in types(TABLES[PARENT]).items() if dtype == pl.String)[:2]
HOME = "TEST_OF_IO_MANAGER"


def chain() -> dg.JobDefinition:
    """A job of one asset: an op reads the parent, the next one writes, and fails where it is told to."""
    home = Path(os.environ[HOME])

    @dg.asset(name=PARENT, io_manager_key=WAREHOUSE)
    def parent() -> pl.DataFrame:
        return conforming(pl.DataFrame(), TABLES[PARENT])

    def reads(**parents: pl.DataFrame) -> int:
        return len(parents)

    read = dg.op(name="read_parent", ins={PARENT: dg.In(pl.DataFrame)}, out=dg.Out(int))(reads)

    @dg.op(out=dg.Out(io_manager_key=WAREHOUSE))
    def write(found: int) -> pl.DataFrame:
        if (home / "fails").exists():
            raise RuntimeError("the machine went down")
        return conforming(pl.DataFrame(), TABLES[CHILD])

    def made(**parents: pl.DataFrame) -> object:
        return write(read(**parents))

    made.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(PARENT, inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    )
    child = dg.graph_asset(name=CHILD, ins={PARENT: dg.AssetIn()})(made)
    settings = Settings(data_directory=str(home), recipe_name="demo")
    job = dg.define_asset_job("chain", dg.AssetSelection.assets(CHILD))
    resources = {
        "settings": settings,
        WAREHOUSE: WarehouseIOManager(settings=settings),
        "io_manager": dg.FilesystemIOManager(base_dir=str(Home(home).op_outputs)),
    }
    definitions = dg.Definitions([parent, child], jobs=[job], resources=resources, executor=dg.in_process_executor)
    return definitions.resolve_job_def("chain")


def test_a_run_that_goes_on_where_another_failed_records_what_that_one_had_read(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent is made anew in between: what is written now was made from the older one, and is out of date."""
    monkeypatch.setenv(HOME, str(home.path))
    warehouse = Warehouse(home)
    nothing = conforming(pl.DataFrame(), TABLES[PARENT])
    warehouse.replace(PARENT, nothing, "true", [], {WHOLE: Fingerprint("old")})
    (home.path / "fails").touch()
    job = dg.reconstructable(chain)
    with open_instance(home) as instance:
        failed = dg.execute_job(job, instance)
        assert not failed.success
        warehouse.replace(PARENT, nothing, "true", [], {WHOLE: Fingerprint("new")})
        (home.path / "fails").unlink()
        again = dg.ReexecutionOptions.from_failure(failed.run_id, instance)
        assert dg.execute_job(job, instance, reexecution_options=again).success
        recorded = warehouse.records().made[CHILD][WHOLE].basis
        of = {
            basis: basis_of(CHILD, WHOLE, demo(), Records({PARENT: {WHOLE: Fingerprint(basis)}}))
            for basis in ("old", "new")
        }
        assert recorded == of["old"] != of["new"]
        assert dg.execute_job(job, instance).success
        assert warehouse.records().made[CHILD][WHOLE].basis == of["new"]


def test_an_input_has_the_columns_that_it_names_and_no_others(home: Home) -> None:
    """Null where a table that older code wrote lacks one; of a table that is not there yet, none of a row."""
    seen: dict[str, pl.DataFrame] = {}

    @dg.asset(name=PARENT, io_manager_key=WAREHOUSE)
    def parent() -> pl.DataFrame:
        raise AssertionError("it is not made here")

    @dg.asset(name=CHILD, ins={PARENT: dg.AssetIn(metadata=only(*NAMED))}, io_manager_key=WAREHOUSE)
    def child(**parents: pl.DataFrame) -> pl.DataFrame:
        seen.update(parents)
        return conforming(pl.DataFrame(), TABLES[CHILD])

    settings = Settings(data_directory=str(home.path), recipe_name="demo")
    resources = {"settings": settings, WAREHOUSE: WarehouseIOManager(settings=settings)}
    with open_instance(home) as instance:
        for rows, expected in ((None, []), (pl.DataFrame({NAMED[0]: ["x"], "dropped_since": [1]}), [("x", None)])):
            if rows is not None:
                Warehouse(home).replace(PARENT, rows, "true", [], {WHOLE: None})
            ran = dg.materialize([parent, child], instance=instance, resources=resources, selection=[CHILD])
            assert ran.success
            assert (tuple(seen[PARENT].columns), seen[PARENT].rows()) == (NAMED, expected)
