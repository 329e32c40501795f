"""Optuna's dashboard on a study's storage, for one person on this machine."""

from __future__ import annotations

import errno
import ipaddress
import sys
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from epsearch.core.commands import install
from epsearch.core.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # Otherwise some Pythons let a second server share the port.
    allow_reuse_port = False


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # the name in the base class
        pass


def serve(storage: BaseStorage, *, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve Optuna's dashboard until Ctrl-C, and print its address; `port` 0 picks a free port.

    Raises:
        UserError: optuna-dashboard is not installed, or the server cannot listen on the address.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise UserError(f"The dashboard needs an extra: {install('dashboard')}") from error
    application = wsgi(storage)
    try:
        server = make_server(host, port, application, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"Port {port} is in use, perhaps by another dashboard: stop that one or choose another port."
            ) from error
        raise UserError(f"Cannot listen on {host}, port {port}: {error.strerror}.") from error
    if not _is_loopback(host):
        print(
            f"Warning: the dashboard has no login: anyone who can reach {host} can read and delete these studies.",
            file=sys.stderr,
        )
    with server:
        try:
            print(f"Optuna's dashboard: http://{host}:{server.server_port}/ (press Ctrl-C to stop)", flush=True)
            server.serve_forever()
        except KeyboardInterrupt:
            return  # the normal way to stop it


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
