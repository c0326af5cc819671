"""R3xx and R4xx: what is in config objects."""

from __future__ import annotations

import re
from collections.abc import Iterator

from reroll.insight.lint.before import content_digest
from reroll.insight.lint.finding import Finding, Rule
from reroll.insight.lint.shape import mapping
from reroll.insight.lint.uses import Kind
from reroll.insight.lint.world import Known, World, near

RULES = (
    Rule(
        "R301",
        "immutable-edited",
        "error",
        "An immutable ConfigMap or Secret is edited in place",
        "The API server refuses the change. And where the object is deleted and created again, a node whose pods use "
        "it goes on serving the old content.",
        "Give the new content a new name, and change the references, as the generators of kustomize do.",
    ),
    Rule(
        "R401",
        "private-key-in-configmap",
        "error",
        "A private key in a ConfigMap",
        "ConfigMaps are not encrypted at rest and many may read them.",
        "Move it to a Secret, and replace the key: whoever could read the ConfigMap may have it.",
    ),
    Rule(
        "R402",
        "password-in-configmap",
        "warning",
        "A key of a ConfigMap that is named like a password and has a value",
        "ConfigMaps are not encrypted at rest and many may read them.",
        "Move it to a Secret; or rename the key if it is none.",
    ),
    Rule(
        "R403",
        "token-in-configmap",
        "error",
        "A ConfigMap holds a token of a form that is known",
        "ConfigMaps are not encrypted at rest and many may read them.",
        "Revoke the token, and put its successor into a Secret.",
    ),
)

_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PASSWORD = re.compile(
    r"(?:^|[._-])(?:passw(?:or)?d|passwd|passphrase|secret|api[._-]?key|access[._-]?key|secret[._-]?key|private[._-]?key"
    r"|(?:auth|access|api|bearer|refresh)[._-]?token|client[._-]?secret)\Z",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(
    r"\s*(?:|\$\{?\w.*|\$\(.*|<.*>|\{\{.*|/\S*|file:\S*|vault:\S*|true|false|null|none|x+|\*+|changeme)\s*\Z",
    re.I,
)
_TOKENS = (
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40,})")),
    ("a GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_-]{20}")),
    ("a Slack token", re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{20,}")),
    ("a Google API key", re.compile(r"\bAIza[A-Za-z0-9_-]{35}")),
    ("a Stripe key", re.compile(r"\b[sr]k_live_[A-Za-z0-9]{20,}")),
    ("an npm token", re.compile(r"\bnpm_[A-Za-z0-9]{36}\b")),
    ("a JSON web token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
)


def check(world: World) -> Iterator[Finding]:
    for config in world.configs:
        here = content_digest(config.value)
        for (kind, namespace, name), known in [*world.before.items(), *_live(world)]:
            same = kind == config.config and name == config.name and near(namespace, config.namespace)
            if same and known.immutable and known.digest and known.digest != here:
                yield config.found(
                    "R301",
                    "error",
                    ("immutable",) if config.immutable else (),
                    f"{config.shown} is immutable in {known.where}, and has other content here: give it a new name",
                )
                break
        if config.config != "configmap":
            continue
        for key, value in mapping(config.value.get("data")).items():
            if isinstance(key, str) and isinstance(value, str):
                found = _secret(key, value)
                if found is not None:
                    rule, what = found
                    yield config.found(
                        rule,
                        "warning" if rule == "R402" else "error",
                        ("data", key),
                        f"the key {key} of {config.shown} {what}: it belongs into a Secret",
                    )


def _live(world: World) -> list[tuple[tuple[Kind, str, str], Known]]:
    return [(at, known) for at, known in world.live.items() if known is not None]


def _secret(key: str, value: str) -> tuple[str, str] | None:
    """(rule, what it is), never the value."""
    if _PRIVATE_KEY.search(value):
        return "R401", "holds a private key"
    for what, pattern in _TOKENS:
        if pattern.search(value):
            return "R403", f"holds {what}"
    if _PASSWORD.search(key) and "\n" not in value.strip() and not _NO_SECRET.match(value):
        return "R402", "is named like a password and has a value"
    return None
