"""`vps serve`: suggestions over HTTP, from the newest publication at any time."""

import os
import re
import signal
from contextlib import suppress

from vps_assets.errors import UserError, tell
from vps_assets.home import Home
from vps_assets.orchestration.guard import LOOPBACK, allowed_hosts
from vps_assets.orchestration.listening import listening_on

DRAINS_WITHIN_S = 10
WAITING_CONNECTIONS = 256


def serve(home: Home, host: str, port: int, requests_a_minute: int) -> None:
    """Serve until a signal; what waits is answered first.

    Raises:
        UserError: there is no champion, or the address is others' too and there is no key.
        Failure: the address is taken.
    """
    key = os.environ.get("VPS_API_KEY") or None
    if key is not None and not re.fullmatch(r"[!-~]+", key):
        raise UserError("VPS_API_KEY has spaces or letters that a header cannot carry: choose one of ASCII")
    if host not in LOOPBACK and key is None:
        raise UserError(f"others can reach {host}: set VPS_API_KEY to a key that clients have to send")
    # Not before: they bring torch, and a mistake is to be said at once.
    import uvicorn

    from vps_assets.serving.app import create_app
    from vps_assets.serving.gate import Gate
    from vps_assets.serving.observed import Metrics, log_as_json
    from vps_assets.serving.renewal import Renewal
    from vps_assets.serving.snapshot import Snapshot

    Snapshot.read(home)  # refuses before anything is bound
    metrics, renewal = Metrics(), Renewal(home)
    app = Gate(create_app(renewal, metrics, requests_a_minute), metrics, allowed_hosts() | {host}, key)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        backlog=WAITING_CONNECTIONS,
        timeout_graceful_shutdown=DRAINS_WITHIN_S,
    )
    with listening_on(host, port, WAITING_CONNECTIONS) as listening:
        shown = f"[{host}]" if ":" in host else host
        tell(f"serving on http://{shown}:{listening.getsockname()[1]}, POST /v1/suggestions")
        log_as_json()
        signal.set_wakeup_fd(-1)  # a signal is how a service ends: nothing of it is said, and no work is lost
        with suppress(KeyboardInterrupt):  # the signal again, after the server has drained
            uvicorn.Server(config).run(sockets=[listening])
