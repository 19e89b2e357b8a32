"""Where the UI and the service listen."""

import socket

from vps_assets.errors import Failure


def listening_on(host: str, port: int, waiting: int | None = None) -> socket.socket:
    """A socket that listens there.

    Args:
        host: a name or an address.
        port: 0: any that is free.
        waiting: connections that may wait to be accepted; None: as many as the system has by default.

    Raises:
        Failure: the address is taken, or none of this machine's.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=waiting)
    except OSError as error:
        raise Failure(f"{host}:{port} cannot be listened on: {error.strerror}") from error
