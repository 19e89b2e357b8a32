"""`vps ui`: the Dagster UI behind the guard, and the daemon, as `dagster dev` runs them.

    python -m vps_assets.orchestration.web [--port 3000]

One code server is shared by both. If the daemon dies, the UI ends too, so that whatever restarts it restarts both.
"""

import argparse
import logging
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
import yaml
from dagster_shared.serdes import serialize_value
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__

from vps_assets.errors import Failure, tell
from vps_assets.home import Home, private_files
from vps_assets.orchestration.guard import Guard, allowed_hosts
from vps_assets.orchestration.instance import open_instance
from vps_assets.orchestration.internals import code_server, prepare_server_process, workspace
from vps_assets.orchestration.listening import listening_on

ENDS_WITHIN_S = 60.0
DRAINS_WITHIN_S = 5
OWN_CODE = ("vps_assets.definitions", "defs", "vps")
"""As workspace.yaml has it, which is not everywhere that this is installed."""
log = logging.getLogger("vps")


@contextmanager
def daemon(arguments: list[str]) -> Iterator[subprocess.Popen]:
    """The Dagster daemon, ended with the block.

    Without `--shutdown-pipe`: with one a daemon that fails never exits (dagster_shared/ipc.py joins a blocked reader).
    """
    process = subprocess.Popen([sys.executable, "-m", "dagster._daemon", "run", *arguments])
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def serve(port: int) -> None:
    """Serve until a signal (KeyboardInterrupt), or until the daemon dies.

    Raises:
        Failure: the port is taken.
    """
    listening = listening_on("127.0.0.1", port)  # before anything is started
    config = uvicorn.Config(
        "",
        host="127.0.0.1",
        port=port,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=DRAINS_WITHIN_S,
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's `make ui &` starts with SIGINT ignored
    prepare_server_process()  # SIGTERM raises KeyboardInterrupt too, so what is open below is closed in order
    with (
        open_instance(Home.from_environment()) as instance,
        code_server(instance, *OWN_CODE) as specs,
        tempfile.TemporaryDirectory() as folder,
    ):
        shared = Path(folder) / "workspace.yaml"
        shared.write_text(yaml.dump({"load_from": list(specs)}))
        with daemon(["--instance-ref", serialize_value(instance.get_ref()), "--workspace", str(shared)]) as process:
            instance.optimize_for_webserver(statement_timeout=15000, pool_recycle=3600, max_overflow=20)
            with workspace(instance, str(shared), __version__) as context:
                config.app = Guard(create_app_from_workspace_process_context(context), allowed_hosts())
                server = uvicorn.Server(config)
                threading.Thread(target=ends_with, args=(process, server), daemon=True).start()
                log.warning("The UI is on http://127.0.0.1:%d, the lineage on /asset-groups", port)
                server.run([listening])
            log.error("The daemon has ended, so the UI ends too")


def ends_with(process: subprocess.Popen, server: uvicorn.Server) -> None:
    """Let the server end with the process."""
    process.wait()
    server.should_exit = True


def main() -> None:
    """Serve; exit 0 after a signal, 1 if the daemon died or the port is taken."""
    parser = argparse.ArgumentParser(description="The Dagster UI on loopback, with its daemon.")
    parser.add_argument("--port", type=int, default=3000)
    arguments = parser.parse_args()
    private_files()
    try:
        serve(arguments.port)
    except KeyboardInterrupt:
        sys.exit(0)
    except Failure as error:
        tell(f"vps: {error}")
    sys.exit(1)


if __name__ == "__main__":
    main()
