"""`vps suggest`: one suggestion for what a seller shows and says, from the champion and the newest statistics."""

import json

from vps_assets.errors import UserError
from vps_assets.home import Home
from vps_assets.serving.offers import Offer
from vps_assets.serving.snapshot import Snapshot


def suggest_one(offer: Offer, home: Home) -> str:
    """The suggestion as JSON, by what there is: the photo, what the seller says, or both.

    Reads the analysts' copy, so it works while runs go on, and never waits for a run.

    Raises:
        NoChampion: nothing has been promoted.
        UserError: the photo cannot be decoded, there is neither photo nor words, or a column is gone.
    """
    (suggested,) = Snapshot.read(home).suggestions([offer])
    if isinstance(suggested, UserError):
        raise suggested
    return json.dumps(suggested.answer)
