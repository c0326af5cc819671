"""`reroll sandbox`: a small Kubernetes API to try things on."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def sandbox(
    *,
    load: Annotated[list[Path], Parameter(negative="")] = [],  # noqa: B006 - cyclopts shows it as the default
    port: int = 0,
    ready_after: str = "1s",
    kubeconfig: Path | None = None,
    output: Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"])] = "text",
) -> int:
    """Run a small Kubernetes API in memory, on loopback, until Ctrl-C.

    It knows the kinds that reroll touches and custom kinds, and plays what Kubernetes does with them: rollouts
    move, Pods become Ready and keep the configuration that they started with. kubectl works on it. It is a
    stage to try things on, and no second Kubernetes: nothing runs in its Pods, and all is gone at the end.

    Example: `reroll sandbox --load ./manifests`

    Parameters
    ----------
    load
        Files or folders of manifests to begin with; can be given several times.
    port
        The port to listen on; 0 takes a free one.
    ready_after
        How long a Pod takes to become Ready, such as 500ms.
    kubeconfig
        Where to write the kubeconfig; by default a file that only you can read, which is removed at the end.
    output
        text for people; json prints one line with the address and the kubeconfig when it is ready.
    """
    import asyncio

    from reroll.cli.failure import Failure
    from reroll.core.durations import parse_duration
    from reroll.insight.simulation.bad_input import BadInput
    from reroll.insight.simulation.documents import Document, read
    from reroll.sandbox.loading import load as put
    from reroll.sandbox.server import Sandbox

    try:
        seconds = parse_duration(ready_after)
    except ValueError as error:
        raise Failure(f"--ready-after {ready_after}: {error}", 2) from error
    try:
        documents: list[Document] = [d for path in load for d in read(str(path), sys.stdin.buffer)]
    except BadInput as error:
        raise Failure(f"--load: {error}", 2) from error

    async def work(path: Path) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with Sandbox(port=port, ready_after=seconds) as box:
            loaded = await put(box, [(str(d.origin), d.value) for d in documents])
            box.write_kubeconfig(path)
            tell(box.url, path, loaded)
            await stop.wait()

    def tell(url: str, path: Path, loaded: list[str]) -> None:
        if output == "json":
            import msgspec

            print(msgspec.json.encode({"server": url, "kubeconfig": str(path)}).decode(), flush=True)
            return
        for line in loaded:
            print(f"# {line}")
        print(_WORDS.format(url=url, kubeconfig=path), flush=True)

    with tempfile.TemporaryDirectory(prefix="reroll-sandbox-") as folder:
        path = (kubeconfig or Path(folder) / "kubeconfig").absolute()
        try:
            asyncio.run(work(path))
        except OSError as error:
            raise Failure(
                f"the sandbox can't listen on port {port}: {os.strerror(error.errno or 0)}", 1
            ) from error
        finally:
            if kubeconfig is not None:
                with suppress(FileNotFoundError):
                    path.unlink()
    return 0


_WORDS = """\
# The sandbox is at {url}, until Ctrl-C. In another terminal:
export KUBECONFIG={kubeconfig}
# and for example:
#   kubectl create configmap app --from-literal=LEVEL=info
#   kubectl create deployment web --image=web:1
#   kubectl set env deployment/web --from=configmap/app
#   kubectl annotate deployment/web reroll.dev/auto=true
#   reroll controller --key-namespace default     # in a terminal of its own
#   kubectl patch configmap/app -p '{{"data":{{"LEVEL":"debug"}}}}'
#   kubectl rollout status deployment/web
#   reroll explain deployment/web --key-namespace default
# What each Pod runs with, and what of it is old:
#   curl -s $(kubectl config view --minify -o 'jsonpath={{.clusters[0].cluster.server}}')/sandbox/pods"""
