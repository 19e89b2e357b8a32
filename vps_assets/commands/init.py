"""`vps init`: what several hosts share is made once, before any of them needs it."""

from vps_assets.home import Home
from vps_assets.landing.mirror import share_landings
from vps_assets.orchestration.instance import open_instance
from vps_ml import durable
from vps_ml.ops import GPU_POOL


def initialise(home: Home, gpus: int | None) -> list[str]:
    """Make the data directory, Dagster's records and the lake, each unless it is there; what was done, by line.

    Args:
        home: the data directory.
        gpus: how many runs may use an accelerator at a time; None leaves it as it is.

    Raises:
        NoLake: the lake's database cannot be reached.
        WrongInstance: Dagster's settings make no sense.
    """
    durable.make_folder(home.path)
    if home.bucket:
        share_landings(home)
        home.artefacts.share_everything()
    with open_instance(home) as instance:
        if gpus is not None:
            instance.event_log_storage.set_concurrency_slots(GPU_POOL, gpus)
    lines = [f"{home.path}: settings and records of Dagster"]
    if gpus is not None:
        lines.append(f"{gpus} runs at a time may use an accelerator")
    if home.lake:
        from vps_assets.warehouse import lake

        lake.initialise(home)
        lines.append(f"{home.lake}: the lake and its schemas")
    if home.bucket:
        lines.append(f"{home.bucket}: has what this host has landed and made")
    return lines
