"""A process that has imported the packages, and becomes `reroll` by a fork: `python -m tests.cli.warm`.

Half of the time of a short command is the import of other people's packages, the same each time. Of reroll this
process has what every command imports first; what a command imports by itself, it imports after the fork, in its order.

Its standard input is a socket. Each message there hands over one end of a connection, on which a command comes as
JSON with its three standard streams; two lines go back, the number of the process and what waitpid said of its end.
It ends when nobody holds the other end of its standard input.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from io import TextIOWrapper
from typing import Any, TextIO

PACKAGES = (
    "aiohttp", "aiohttp.web", "asyncio", "cronsim", "cyclopts", "msgspec", "prometheus_client", "rich.console",
    "rich.markdown", "rich.table", "ssl", "structlog", "yaml", "reroll.cli.main",
)  # fmt: skip


def main() -> None:
    """Wait for commands; comes back only in the fork that is to be one, or at the end."""
    for name in PACKAGES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would copy all that is there
    commands = socket.socket(fileno=os.dup(0))
    while True:
        message, connections, _, _ = socket.recv_fds(commands, 1, 1)
        if not message:
            sys.exit()
        # Forked twice: this process waits for nobody, and whoever accompanies the command can wait for it alone.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        if os.fork() == 0:
            commands.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            accompany(socket.socket(fileno=connections[0]))
            return
        os.close(connections[0])


def accompany(connection: socket.socket) -> None:
    """Become the command in a fork, and here tell of its end."""
    text, streams, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while more := connection.recv(1 << 16):
        text += more
    if process := os.fork():
        for stream in (0, 1, 2, *streams):
            os.close(stream)
        connection.sendall(f"{process}\n".encode())
        connection.sendall(f"{os.waitpid(process, 0)[1]}\n".encode())
        os._exit(0)
    connection.close()
    become(json.loads(text), streams)


def become(command: dict[str, Any], streams: list[int]) -> None:
    """Take over the streams, the environment, the folder and the arguments, as a new Python would."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(command["cwd"])
    os.environ.clear()
    os.environ.update(command["environ"])
    time.tzset()
    sys.path[0] = command["cwd"]
    sys.argv = [command["program"], *command["arguments"]]
    sys.stdin, sys.stdout, sys.stderr = (anew(stream) for stream in (sys.stdin, sys.stdout, sys.stderr))


def anew(stream: TextIO) -> TextIO:
    """The same with nothing in its buffer, and with Python's own choice of how to read or write it."""
    binary = open(stream.fileno(), "rb" if stream.readable() else "wb", closefd=False)  # noqa: SIM115
    return TextIOWrapper(binary, encoding=stream.encoding, errors=stream.errors)


if __name__ == "__main__":
    main()
    from reroll.cli.main import run

    run()
