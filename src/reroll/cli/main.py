"""`reroll`: the commands. Each imports what it needs only when it is run, so that help is quick."""

from __future__ import annotations

import errno
import os
import sys

from cyclopts import App

from reroll import __version__
from reroll.cli.apply import apply
from reroll.cli.controller import controller
from reroll.cli.demo import demo
from reroll.cli.diff import diff
from reroll.cli.explain import explain
from reroll.cli.generate import generate
from reroll.cli.history import history
from reroll.cli.lint import lint
from reroll.cli.migrate import migrate
from reroll.cli.reloader import app as reloader
from reroll.cli.restart import restart
from reroll.cli.retry import retry
from reroll.cli.rollback import rollback
from reroll.cli.sandbox import sandbox
from reroll.cli.simulate import simulate
from reroll.cli.snapshot import snapshot
from reroll.cli.stale import stale
from reroll.cli.stamp import stamp
from reroll.cli.unversion import unversion

_CANT_WRITE = (errno.EBADF, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

HELP = """Makes Kubernetes workloads follow their ConfigMaps and Secrets: automatically, exactly once, safely,
explainably.

See it work: `reroll demo`.
"""

app = App(name="reroll", help=HELP, help_format="markdown", version=__version__, version_flags=["--version"])
for _command in (
    apply,
    controller,
    demo,
    diff,
    explain,
    generate,
    history,
    lint,
    migrate,
    reloader,
    restart,
    retry,
    rollback,
    sandbox,
    simulate,
    snapshot,
    stale,
    stamp,
    unversion,
):
    app.command(_command)
app.register_install_completion_command(name="--install-completion")


def run() -> None:
    """The entry point. Exit codes: 0 done, 1 failed, 2 not understood."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller, who wants the exit code only
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    try:
        code = app(exit_on_error=False, print_error=True)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        code = 141
    except Exception as error:
        code = _known(error)
    sys.exit(code if isinstance(code, int) else 0)


def _drop_output() -> None:
    """What is left of the output can't be written: don't try again at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _known(error: Exception) -> int:
    from cyclopts import CycloptsError

    from reroll.cli.failure import Failure

    if isinstance(error, CycloptsError):
        return 2  # it was printed already, with the nearest valid word
    if isinstance(error, Failure):
        return _complain(str(error), error.code)
    from reroll.kube.config import ConfigError
    from reroll.kube.errors import ApiError
    from reroll.settings import SettingsError

    if isinstance(error, (ConfigError, SettingsError)):
        return _complain(str(error), 2)
    if isinstance(error, ApiError):
        return _complain(str(error), 1)
    if isinstance(error, OSError) and error.filename is not None:
        return _complain(f"{error.filename}: {error.strerror}", 1)
    if isinstance(error, OSError) and error.errno in _CANT_WRITE:
        _drop_output()
        return _complain(f"standard output: {error.strerror}", 1)
    raise error


def _complain(message: str, code: int) -> int:
    print(f"reroll: {message}", file=sys.stderr)
    return code
