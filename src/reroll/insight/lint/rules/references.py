"""R1xx: references that lead nowhere."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from reroll.insight.lint.finding import Finding, Rule
from reroll.insight.lint.uses import Use
from reroll.insight.lint.world import Workload, World

RULES = (
    Rule(
        "R101",
        "missing-object",
        "error",
        "A reference to a ConfigMap or Secret that does not exist",
        "Pods do not start: a variable gives CreateContainerConfigError, a volume FailedMount. "
        "Checked with `--complete` or `--lookup` only, for manifests are rarely all there is.",
        "Correct the name, add the object, or mark the reference `optional: true`.",
    ),
    Rule(
        "R102",
        "misspelt-object",
        "warning",
        "A reference to a name that is almost that of an object in the input",
        "It is most likely a slip: the object that is meant is there, and the one that is named is not.",
        "Write the name of the object, or tell lint by a comment that the other one exists.",
    ),
    Rule(
        "R103",
        "missing-key",
        "error",
        "A reference to a key that the object does not have",
        "A variable gives CreateContainerConfigError, an item of a volume FailedMount: pods do not start.",
        "Correct the key, or add it to the object.",
    ),
    Rule(
        "R104",
        "optional-hides-slip",
        "warning",
        "An optional reference that leads nowhere",
        "The pods start, without the variable or the file, and nothing ever tells that the name is wrong.",
        "Correct the name or the key, or leave the reference out.",
    ),
)


def check(world: World) -> Iterator[Finding]:
    for workload in world.workloads:
        for use in workload.uses:
            yield from _use(world, workload, use)


def _use(world: World, workload: Workload, use: Use) -> Iterator[Finding]:
    path = (*workload.template_at, *use.path)
    what = f"{use.kind} {use.name}"
    config = world.find(use.kind, workload.namespace, use.name)
    live = world.live.get((use.kind, workload.namespace, use.name))
    asked = (use.kind, workload.namespace, use.name) in world.live
    if config is None and live is None:
        close = nearest(use.name, world.names(use.kind, workload.namespace))
        meant = f": did you mean {close}?" if close else ""
        known = asked or world.complete
        place = "the cluster or the input" if asked else "the input"
        if use.optional and (known or close):
            yield workload.found(
                "R104",
                "warning",
                path,
                f"{use.where} is optional, and there is no {what} in {place}{meant} Nothing tells: "
                f"the pods start without it"
                if close
                else f"{use.where} is optional, and there is no {what} in {place}. Nothing will tell: the pods start "
                f"without it",
            )
        elif known:
            yield workload.found(
                "R101",
                "error",
                path,
                f"{use.where} needs {what}, which is not in {place}{meant or ': add it, or correct the name'}",
            )
        elif close:
            yield workload.found(
                "R102",
                "warning",
                path,
                f"{use.where} names {what}, which is not in the input, but {close} is: did you mean it?",
            )
        return
    if config is not None:
        keys = config.keys
    else:
        assert live is not None
        keys = live.keys
    for key, key_path in use.keys or ():
        if key in keys:
            continue
        close = nearest(key, keys, 0.75)
        hint = f"did you mean {close}?" if close else _listed(keys)
        if use.optional:
            yield workload.found(
                "R104",
                "warning",
                (*workload.template_at, *key_path),
                f"{use.where} is optional, and {what} has no key {key}: {hint}",
            )
        else:
            yield workload.found(
                "R103",
                "error",
                (*workload.template_at, *key_path),
                f"{use.where} needs the key {key}, which {what} does not have: {hint}",
            )


def nearest(name: str, names: Iterable[str], cutoff: float = 0.82) -> str:
    """The one of `names` that `name` is most likely a slip for; "" if none is near.

    Names that differ in a number only (``app-1``, ``app-2``) are no slips.
    """
    known = [one for one in dict.fromkeys(names) if abs(len(one) - len(name)) <= 3 and len(one) < 254]
    for close in difflib.get_close_matches(name[:254], known, n=3, cutoff=cutoff):
        if close != name and _letters(close) != _letters(name):
            return close
        if close != name and sorted(close) == sorted(name) and not any(c.isdigit() for c in name):
            return close
    folded = name.lower().replace("_", "-").replace(".", "-")
    return next(
        (one for one in known if one != name and one.lower().replace("_", "-").replace(".", "-") == folded),
        "",
    )


def _letters(name: str) -> str:
    return "".join(char for char in name if not char.isdigit())


def _listed(keys: Iterable[str]) -> str:
    names = sorted(keys)
    if not names:
        return "it has none"
    return f"it has {', '.join(names[:5])}{' and more' if len(names) > 5 else ''}"
