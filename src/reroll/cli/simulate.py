"""`reroll simulate`: what would roll if this changed?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from reroll.cli.settings_flags import GROUP, SettingsFlags

_SCENARIO = Group.create_ordered("What changes")
Change = tuple[str, str]
_CHANGES = ("--at", "--set", "--unset", "--delete", "--change", "--apply")


def _in_order(type_: Any, tokens: Sequence[Token]) -> list[Change]:
    """The options that make a scenario, in the order in which they were given: --at holds for what follows."""
    return [((token.keyword or "").lstrip("-"), token.value) for token in tokens]


def simulate(
    *files: Annotated[str, Parameter(allow_leading_hyphen=True)],
    changes: Annotated[
        list[Change] | None,
        Parameter(
            name=_CHANGES, negative="", converter=_in_order, n_tokens=1, accepts_keys=False, group=_SCENARIO
        ),
    ] = None,
    scenario: Annotated[str | None, Parameter(group=_SCENARIO)] = None,
    output: Annotated[Literal["table", "json", "yaml", "svg"], Parameter(name=["--output", "-o"])] = "table",
    everyone: Annotated[bool, Parameter(name="--all", negative="")] = False,
    default_namespace: str = "default",
    latency: str = "0",
    key_file: str | None = None,
    namespace: Annotated[
        list[str] | None, Parameter(name=["--namespace", "-n"], negative="", group=GROUP)
    ] = None,
    actors: Annotated[int | None, Parameter(group=GROUP)] = None,
    max_in_flight: Annotated[int | None, Parameter(group=GROUP)] = None,
    settings: SettingsFlags | None = None,
) -> int:
    """Tell what would roll, when, in which order and why, if this changed; and what would not, and why not.

    It reads manifests or a snapshot of a cluster (`reroll snapshot`), makes the changes on virtual time, and
    runs the controller's own decisions. Nothing is written anywhere, and no cluster is asked.

    Example: `reroll simulate app/ --set configmap/shop/app:level=debug --at 30s --delete secret/shop/db`

    Parameters
    ----------
    files
        Manifests (files, folders, - for standard input: the output of kustomize or helm), or one snapshot.
    changes
        What changes, in this order:

        - `--set configmap/NS/NAME:KEY=VALUE`: a key of a ConfigMap, or of `secret/NS/NAME`
        - `--unset configmap/NS/NAME:KEY`: that key is removed
        - `--delete KIND/NS/NAME`: that object is deleted
        - `--change FILE`: manifests as they will be, of objects that are there
        - `--apply FILE`: the same, and what is not there is created
        - `--at 30s`: the time of the changes after it, from the start
    scenario
        A YAML file with changes and their times, in place of these options.
    output
        table for people, json or yaml for programs, svg for a timeline picture.
    everyone
        Tell of every workload why it does not roll, also where no change concerns it.
    default_namespace
        Namespace of manifests and changes that name none.
    latency
        What each request to the API server takes, such as 10ms. By default they take no time.
    key_file
        The digest key of the snapshot, written by `reroll snapshot --key-file`: so values of Secrets can be
        compared.
    namespace
        Work in this namespace only; may be given several times.
    actors
        Workloads acted on at once. Default 100.
    max_in_flight
        Requests waiting for an answer at once. Default 120.
    """
    import gc
    import sys

    from reroll.cli.failure import Failure
    from reroll.cli.output import dump
    from reroll.core.durations import parse_duration
    from reroll.insight.simulation.bad_input import BadInput
    from reroll.insight.simulation.changes import Changes
    from reroll.insight.simulation.reading import read_world
    from reroll.insight.simulation.run import simulate as run
    from reroll.insight.simulation.scenario import from_file, from_options
    from reroll.logs import set_up

    in_force = (settings or SettingsFlags()).load(
        namespaces=tuple(namespace) if namespace else None, actors=actors, max_in_flight=max_in_flight
    )
    set_up("error", "human")
    unknown = [file for file in files if file.startswith("-") and file != "-"]
    if unknown:
        raise Failure(f"simulate knows no option {unknown[0]}; see reroll simulate --help", 2)
    if not files:
        raise Failure("name manifests, a snapshot, or - for standard input; see reroll simulate --help", 2)
    if scenario and changes:
        raise Failure(f"--scenario and {_CHANGES[1]} exclude each other: put the change in the file", 2)
    stdin = sys.stdin.buffer
    gc.disable()  # nearly all that is made stays until the end, which is soon: looking for garbage is in vain
    try:
        seconds = parse_duration(latency)
        steps = (
            from_file(scenario, default_namespace)
            if scenario
            else from_options(changes or [], default_namespace)
        )
        world = read_world(files, stdin, default_namespace=default_namespace, key_file=key_file)
        planned = Changes(steps, world.key, stdin, default_namespace=default_namespace)
        found = run(world, planned, in_force, latency=seconds, everyone=everyone)
    except BadInput as error:
        raise Failure(str(error), 2) from error
    except ValueError as error:
        raise Failure(str(error), 2) from error
    if output == "svg":
        from reroll.insight.simulation.timeline import picture

        sys.stdout.write(picture(found))
    elif output == "table":
        from reroll.cli.simulation import show

        show(found)
    else:
        dump(found, output)
    return 0
