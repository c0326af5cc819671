"""R7xx: generators whose objects do not get a new name with new content."""

from __future__ import annotations

from collections.abc import Iterator

from reroll.insight.lint.finding import Finding, Rule
from reroll.insight.lint.rules.updates import HASHED
from reroll.insight.lint.shape import entries, mapping, text
from reroll.insight.lint.world import World

RULES = (
    Rule(
        "R701",
        "hash-disabled",
        "warning",
        "A kustomization that turns the hash suffix off",
        "The name stays the same when the content changes, so no workload is rolled, and old pods that restart read "
        "the new content.",
        "Take `disableNameSuffixHash` away; or have the workloads follow, and say so with an ignore comment.",
    ),
    Rule(
        "R702",
        "unhashed-output",
        "warning",
        "An object that still asks for its hash suffix",
        "Its annotation says that a generator's output was to be hashed, and it was not: something dropped it.",
        "Run `kustomize build` as the last step.",
    ),
    Rule(
        "R703",
        "reference-not-hashed",
        "error",
        "A reference by the plain name of an object that has a hash suffix",
        "kustomize did not rewrite it, for it does not know the field: the object of that name does not exist.",
        "Add a nameReference configuration for the kind to the kustomization.",
    ),
)

_ASKS = {
    "kustomize.config.k8s.io/needs-hash": "true",
    "internal.config.kubernetes.io/needsHashSuffix": "enabled",
}


def check(world: World) -> Iterator[Finding]:
    for one in world.kustomizations:
        if mapping(one.value.get("generatorOptions")).get("disableNameSuffixHash") is True:
            yield one.found(
                "R701",
                "warning",
                ("generatorOptions", "disableNameSuffixHash"),
                "generatorOptions turn the hash suffix off for all generators: a change of content rolls nothing",
            )
        for field in ("configMapGenerator", "secretGenerator"):
            for number, generator in entries(one.value.get(field)):
                if mapping(generator.get("options")).get("disableNameSuffixHash") is True:
                    yield one.found(
                        "R701",
                        "warning",
                        (field, number, "options", "disableNameSuffixHash"),
                        f"{field} {text(generator.get('name')) or '?'} turns its hash suffix off: a change of content "
                        f"rolls nothing",
                    )
    hashed: dict[tuple[str, str], str] = {}
    for config in world.configs:
        if HASHED.search(config.name):
            hashed.setdefault((config.config, HASHED.sub("", config.name)), config.name)
            continue
        for key, value in _ASKS.items():
            if config.annotations.get(key) == value:
                yield config.found(
                    "R702",
                    "warning",
                    ("metadata", "annotations", key),
                    f"{config.shown} asks for a hash suffix ({key}) and has none: build it "
                    f"with kustomize, as the last step",
                )
    for workload in world.workloads:
        for use in workload.uses:
            name = hashed.get((use.kind, use.name))
            if name and world.find(use.kind, workload.namespace, use.name) is None:
                yield workload.found(
                    "R703",
                    "error",
                    (*workload.template_at, *use.path),
                    f"{use.where} names {use.kind} {use.name}, of which there is only {name}: this reference was not "
                    f"rewritten",
                )
