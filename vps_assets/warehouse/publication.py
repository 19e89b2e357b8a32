"""What is published for analysts, of a file or of a lake: the tables whose blocking checks have passed."""

from vps_assets.warehouse.copy_publication import Copy
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.file import File
from vps_assets.warehouse.lake_publication import Views


def publication_of(warehouse: Warehouse) -> Copy | Views:
    """The publication of a warehouse: a copy of its file, or views of its lake."""
    engine = warehouse.engine
    return Copy(engine) if isinstance(engine, File) else Views(engine)
