"""The examinations of `vps doctor` of what we keep: tables, files, models."""

import json
import os
import shlex
import shutil
import stat
import time
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import duckdb

from vps_assets.assets.champion_decisions import BEHIND, champion_of, champion_rows
from vps_assets.commands.findings import BAD, FRESH_WITHIN, LEAST_FREE_GIB, LOOK, ROOM_FOR_TABLES, Examined, Finding, ok
from vps_assets.definitions import defs
from vps_assets.errors import one_line
from vps_assets.home import Home
from vps_assets.landing.inbox import dropped
from vps_assets.landing.landed import landed_index
from vps_assets.landing.landings import ForeignFile, is_damaged, landed_files, unreadable
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration.instance import UNFINISHED, alive
from vps_assets.orchestration.internals import newest_evaluations
from vps_assets.orchestration.state import lineage_state
from vps_assets.warehouse.catalogue import quoted
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.named_files import lost
from vps_assets.warehouse.publication import publication_of
from vps_ml.artefacts import Artefacts
from vps_ml.backbones.files import tensors
from vps_ml.stores import DamagedArtefact


def examine_disk(home: Home) -> Finding:
    """Whether the data directory can be written, by nobody else read, and has room."""
    if not home.path.exists():
        return Finding(BAD, f"there is no {home.path}", "is VPS_HOME right? vps land FILE or vps demo makes it")
    existing = home.path
    if not os.access(existing, os.W_OK):
        return Finding(BAD, f"{home.path} cannot be written", "give the user that runs this the right to")
    free = shutil.disk_usage(existing).free / 2**30
    messages, to_do = [f"{free:.1f} GiB free in {home.path}"], []
    if home.path.stat().st_mode & stat.S_IRWXO:
        messages.append(f"every account can read {home.path}")
        to_do.append(f"chmod -R o-rwx {shlex.quote(str(home.path))}")
    tables = home.warehouse.stat().st_size if home.warehouse.exists() else 0
    models = sum(path.stat().st_size for path in home.artefacts.models.folder.rglob("*") if path.is_file())
    if free < (enough := LEAST_FREE_GIB + (ROOM_FOR_TABLES * tables + models) / 2**30):
        to_do.append(f"make room before the next run, {enough:.1f} GiB at least")
    if not to_do:
        return ok(messages[0])
    return Finding(BAD if free < LEAST_FREE_GIB else LOOK, "; ".join(messages), "; ".join(to_do))


def examine_warehouse(examined: Examined) -> Finding:
    examined.warehouse.refuse_if_lost()
    if not examined.warehouse.exists():
        return Finding(LOOK, "nothing has been made yet", "vps land FILE, then vps run")
    with examined.warehouse.connect(read_only=True) as connection:
        query = "select schema_name, table_name from duckdb_tables() where database_name = current_database()"
        tables = connection.execute(query).fetchall()
        for schema, table in tables if examined.reads_all else ():
            name = f"{quoted(schema)}.{quoted(table)}"
            connection.execute(f"select bit_xor(hash(rows)) from {name} as rows").fetchall()  # noqa: S608
    count = sum(schema == "main" for schema, _ in tables)
    return ok(f"{count} tables{examined.left_out}")


def examine_copy(examined: Examined) -> Finding:
    if not examined.warehouse.exists():
        return ok("nothing to publish yet")
    try:
        is_current = publication_of(Warehouse(examined.home)).is_current()
    except duckdb.Error as error:
        to_do = f"rm {examined.home.analytics}; vps run"
        return Finding(BAD, f"the analysts' copy cannot be read: {one_line(error)[:150]}", to_do)
    withheld = sorted(examined.warehouse.unchecked())
    if withheld and runs_under_way(examined):
        return Finding(LOOK, f"a run is under way and has not checked yet: {', '.join(withheld)}")
    if withheld:
        as_before = f"published as they were before: {', '.join(withheld)}"
        if check_failed(examined, withheld):
            return Finding(BAD, f"{as_before}; a check failed", "read the check in the UI, mend what it names, vps run")
        return Finding(BAD, f"{as_before}; a run broke off before it had checked them", "vps run")
    if is_current:
        return ok("the analysts' copy is current")
    return Finding(
        LOOK, "the analysts' copy is behind the warehouse", "it is renewed when a run ends; vps run does it now"
    )


def check_failed(examined: Examined, assets: Collection[str]) -> bool:
    """Whether a blocking check of these assets failed when it last ran, as far as Dagster's records can be read."""
    keys = [key for key in defs().resolve_asset_graph().asset_check_keys if key.asset_key.to_user_string() in assets]
    try:
        latest = newest_evaluations(examined.instance, keys)
    except Exception:  # that is another line's finding
        return False
    return any(not one.passed and one.severity == dg.AssetCheckSeverity.ERROR for one in latest.values())


def runs_under_way(examined: Examined) -> bool:
    """Whether a run is going on, as far as Dagster's records can be read."""
    try:
        unfinished = examined.instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
        return any(alive(examined.instance, run.run_id) for run in unfinished)
    except Exception:  # that is another line's finding
        return False


def examine_inbox(examined: Examined) -> Finding:
    inbox = examined.home.inbox
    if notes := sorted(examined.home.erasures.glob("*.json")):
        seller = json.loads(notes[0].read_text())["seller"]
        return Finding(
            BAD, "an erasure was interrupted and is not complete", f"vps forget --seller {shlex.quote(seller)}"
        )
    refused = [path for path in inbox.glob("refused/*") if not path.name.endswith(".reason.txt")]
    message = f"{len(dropped(inbox))} files wait, {len(refused)} were refused"
    if refused:
        to_do = f"read {inbox}/refused/*.reason.txt, correct the file, drop it again, delete the refused one"
        return Finding(LOOK, message, to_do)
    return ok(message)


def examine_lineage(examined: Examined) -> Finding:
    if not landed_files(examined.home):
        return Finding(LOOK, "nothing has landed", "vps land FILE, or drop files in the inbox")
    if examined.reads_all and (damaged := next(filter(is_damaged, landed_files(examined.home)), None)):
        raise ForeignFile(unreadable(damaged))
    stale = lineage_state(landed_index(examined.home), examined.recipe, examined.warehouse).stale
    if not stale:
        return ok(f"all {len(LINEAGE)} assets are up to date with what has landed")
    names = ", ".join(list(stale)[:3]) + (f" and {len(stale) - 3} more" if len(stale) > 3 else "")
    to_do = (
        "a run is under way: wait for it" if runs_under_way(examined) else "the sensors make them; vps run does it now"
    )
    return Finding(LOOK, f"{names} are behind what has landed", to_do)


def examine_champion(examined: Examined) -> Finding:
    """The champion, and every artefact: one that is not what was written is set aside, as if it were opened."""
    artefacts = examined.home.artefacts
    damaged = damaged_artefacts(artefacts) if examined.reads_all else []
    if damaged:
        shown = ", ".join(damaged[:3]) + (f" and {len(damaged) - 3} more" if len(damaged) > 3 else "")
        return Finding(BAD, f"not what was written, and set aside: {shown}", "vps run makes them again")
    if gone := lost(examined.warehouse.known().files, artefacts):
        message = f"files of {', '.join(gone)} are gone or damaged"
        return Finding(
            BAD, message, "vps run, which makes them again or promotes another; or restore them from the backup"
        )
    champions = champion_rows(examined.warehouse)
    row = champion_of(champions, "photo")
    if row is None:
        return Finding(LOOK, "there is no champion: nothing can be suggested", "vps run")
    evidence = row["evidence"][0]
    in_force = {champion["inputs"]: told_of(champion) for champion in champions.to_dicts()}
    model_id = in_force.pop("photo")
    others = [f"{told} by {inputs}" for inputs, told in in_force.items()]
    if BEHIND in evidence:
        return Finding(LOOK, f"{model_id} is in force, but {evidence}", "see model_comparisons, or vps report")
    decision, day = row["decision"][0], f"{row['decided_at'][0]:%Y-%m-%d}"
    decided = f"a challenger was refused on {day}" if decision == "refused" else f"{decision} on {day}"
    return ok(f"{model_id}, {decided}{''.join(f'; {other}' for other in others)}{examined.left_out}")


def told_of(champion: Mapping[str, Any]) -> str:
    """A champion's id, and its refit's, which is what suggestions name."""
    served_as = champion["served_as"]
    return f"{champion['model_id']} (prices as {served_as})" if served_as else str(champion["model_id"])


def damaged_artefacts(artefacts: Artefacts) -> list[str]:
    """The artefacts and date files whose content is not what was written; they are set aside."""
    found = []
    for store in (artefacts.models, artefacts.embeddings):
        for artefact_id in store.ids():
            if faults := store.faults(artefact_id, deep=True):
                store.set_aside(artefact_id)
                found.append(f"{store.folder.name}/{artefact_id}/{faults[0]}")
    for path in sorted(artefacts.embeddings.folder.glob("[!.]*/[!.]*.safetensors")):
        try:
            tensors(path, mapped=False)
        except DamagedArtefact:
            found.append(f"embeddings/{path.parent.name}/{path.name}")
    return found


def examine_suggestions(examined: Examined) -> Finding:
    made = examined.warehouse.made_at().get("price_suggestions")
    if made is None:
        return Finding(LOOK, "no price has been suggested yet", "vps run")
    message = f"suggestions were last made {datetime.fromtimestamp(made):%Y-%m-%d %H:%M}"
    if timedelta(seconds=time.time() - made) < FRESH_WITHIN:
        return ok(message)
    return Finding(LOOK, message, "are listings still coming in? See the inbox")
