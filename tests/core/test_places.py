"""The table of places where a pod spec names a config object: whole, and read by everything that has to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from reroll.core.places import CONTAINERS, PLACES, Place
from reroll.core.records import Reference
from reroll.core.references import SECRETS_STORE, references
from reroll.core.template import PodTemplate
from reroll.insight.lint.uses import uses
from reroll.manifests.config_names import Key, names_in
from reroll.manifests.name_references import PLACES as KUSTOMIZES
from reroll.sandbox import content, schema
from reroll.sandbox.schema import Type

WORD = re.compile("secret|configmap", re.IGNORECASE)


def named(type: Type, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The fields of a type that hold the name of a ConfigMap or Secret, by what the API calls them: a plain
    `secretName`, or a `name` below a field that has one of the two words in it."""
    while type.code in ("list", "map"):
        type = type.items
    for field, inner in type.fields.items():
        if inner.code == "s" and (
            (WORD.search(field) and field.lower().endswith("name"))
            or (field == "name" and above and WORD.search(above[-1]))
        ):
            yield (*above, field)
        yield from named(inner, (*above, field))


def put(place: Place) -> dict[str, Any]:
    """A pod template with the name ``app`` at this place; if that is a volume, a container mounts it."""
    spec: dict[str, Any] = {"containers": [{"name": "main", "volumeMounts": []}]}
    here: Any = spec
    for field in place.fields[:-1]:
        held = here.setdefault(field, [] if field in _LISTS else {})
        if field in _LISTS:
            if not held or field == "containers":
                held[:] = [{**(held[0] if held else {}), "name": "main"}]
            held = held[0]
        here = held
    here[place.fields[-1]] = "app"
    if place.means == "env":
        here["key"] = "LEVEL"
    if place.fields[0] == "volumes":
        spec["containers"][0]["volumeMounts"] = [{"name": "main", "mountPath": "/main"}]
    if place.fields[1] == "csi":
        spec["volumes"][0]["csi"]["driver"] = SECRETS_STORE
    return {"spec": spec}


_LISTS = (*CONTAINERS, "env", "envFrom", "volumes", "sources", "imagePullSecrets")


def label(place: Place) -> str:
    return ".".join(place.fields)


def test_it_has_every_field_of_the_api_that_names_one() -> None:
    """A field that Kubernetes adds is found here, as soon as the schema of the sandbox is written anew."""
    pod = schema.called("v1", "Pod")
    assert pod is not None
    known = [place.fields for place in PLACES if place.kind != "secretproviderclass"]
    assert sorted(named(pod.fields["spec"])) == sorted(known)


@pytest.mark.parametrize("place", PLACES, ids=label)
def test_the_references_have_it(place: Place) -> None:
    template = msgspec.json.decode(msgspec.json.encode(put(place)), type=PodTemplate)
    found: tuple[Reference, ...] = references(template)
    assert [(each.kind, each.name, each.means, each.rolls) for each in found] == [
        (place.kind, "app", place.means, place.read)
    ]


@pytest.mark.parametrize("place", PLACES, ids=label)
def test_lint_has_what_a_container_reads_and_pull_secrets(place: Place) -> None:
    found = [(use.kind, use.name, use.path[-1]) for use in uses(put(place))]
    wanted = (place.read and place.kind != "secretproviderclass") or place.means == "imagePullSecret"
    assert found == ([(place.kind, "app", place.fields[-1])] if wanted else [])


@pytest.mark.parametrize("place", PLACES, ids=label)
def test_hash_names_has_it(place: Place) -> None:
    """Of each kind with pods; nothing renames a SecretProviderClass."""
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": put(place)}}
    found = [
        named.key
        for named in names_in(deployment, {("apps", "Deployment"): ("spec", "template")}, (), "shop")
    ]
    kinds = {"configmap": "ConfigMap", "secret": "Secret"}
    assert found == ([Key(kinds[place.kind], "shop", "app")] if place.kind in kinds else [])


@pytest.mark.parametrize("place", PLACES, ids=label)
def test_the_sandbox_gives_its_content_to_containers(place: Place) -> None:
    """An ephemeral container can't be started there, and there are no drivers."""
    pod = {"metadata": {"namespace": "shop"}, **put(place)}
    found = content.uses_in_variables(pod) | content.uses_in_files(pod)
    wanted = place.read and place.kind != "secretproviderclass" and place.fields[0] != "ephemeralContainers"
    assert found == ({(place.kind, "app")} if wanted else set())


def test_what_kustomize_renames_is_among_them() -> None:
    """Its table is shorter, and stays so: `generate` has to write what kustomize writes."""
    above = ("spec", "template", "spec")
    ways = {
        place.fields[3:]
        for place in KUSTOMIZES
        if place.referrer.kind == "Deployment" and place.target.kind in ("ConfigMap", "Secret")
    }
    assert ways
    assert all(place.fields[:3] == above for place in KUSTOMIZES if place.referrer.kind == "Deployment")
    assert ways <= {place.fields for place in PLACES}
