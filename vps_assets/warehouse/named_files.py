"""The models and embeddings that the tables name, and those of them that are gone."""

from collections.abc import Mapping

import duckdb

from vps_assets.lineage.graph import LINEAGE
from vps_assets.tables.partitions import PARTITIONINGS, WHOLE
from vps_ml.artefacts import Artefacts, id_in_path

MODEL_TABLES = (
    "task_backbones",
    "percentile_pricing_models",
    "threshold_pricing_models",
    "baseline_pricing_models",
    "ablation_pricing_models",
    "words_pricing_models",
    "champion_model",
)
"""Tables whose column `path` names models."""
SOLD_ITEMS = "comparable_items"
"""The table whose column `path` names the sold items that comparables are searched in."""
EMBEDDINGS = ("image_embeddings", "text_embeddings")
"""Tables whose column `path` names files of embeddings."""

NamedFiles = Mapping[tuple[str, str], set[str]]
"""(asset, partition) -> paths under the data directory."""


def named_files(connection: duckdb.DuckDBPyConnection) -> NamedFiles:
    """What the tables name."""
    found: dict[tuple[str, str], set[str]] = {}
    here = "select table_name from duckdb_tables() where database_name = current_database()"
    tables = {name for (name,) in connection.execute(here).fetchall()}
    for asset in (*MODEL_TABLES, SOLD_ITEMS, *EMBEDDINGS):
        if asset not in tables:
            continue
        column = PARTITIONINGS[LINEAGE[asset].partitions].column
        partition = f"{column}::text" if column else f"'{WHOLE}'"
        query = f"select distinct {partition}, path from {asset} where path is not null"  # noqa: S608
        for key, path in connection.execute(query).fetchall():
            found.setdefault((asset, key), set()).add(path)
    return found


def lost(named: NamedFiles, artefacts: Artefacts) -> dict[str, set[str]]:
    """Asset -> partitions that name what is gone or, by the length of its files, damaged."""
    found: dict[str, set[str]] = {}
    embeddings = set().union(*(paths for (asset, _), paths in named.items() if asset in EMBEDDINGS))
    models = {path: id_in_path(path) for path in set().union(*named.values()) - embeddings}
    unusable = artefacts.unusable(set(models.values()))
    gone = {*artefacts.lost_embeddings(embeddings), *(path for path, one in models.items() if one in unusable)}
    for (asset, partition), paths in named.items():
        if paths & gone:
            found.setdefault(asset, set()).add(partition)
    return found
