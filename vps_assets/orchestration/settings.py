"""All settings that the environment gives, read at once: a command says what is wrong before it starts others."""

from vps_assets.home import Home, executor_from_environment, recipe_from_environment, tracked_by_mlflow
from vps_assets.lineage.retraining import policies_from_environment
from vps_assets.orchestration.retention import days_from_environment
from vps_assets.orchestration.sensors import default_status
from vps_assets.tables.partitions import first_listing_date

READ = (
    Home.from_environment,
    executor_from_environment,
    tracked_by_mlflow,
    recipe_from_environment,
    policies_from_environment,
    days_from_environment,
    default_status,
    lambda: first_listing_date(None),
)


def refuse_wrong_settings() -> None:
    """Read all that the environment sets.

    Raises:
        WrongSetting: one of them makes no sense.
    """
    for read in READ:
        read()
