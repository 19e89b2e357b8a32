"""An address that is taken is named."""

import pytest

from vps_assets.errors import Failure
from vps_assets.orchestration.listening import listening_on


def test_a_port_that_is_taken_is_named() -> None:
    with listening_on("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(Failure, match=rf"127\.0\.0\.1:{port} cannot be listened on: Address already in use"):
            listening_on("127.0.0.1", port)
