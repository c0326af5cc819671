"""The sandbox's table of types is what the real API server says of itself."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from devcluster import versions
from tests.contract.openapi_table import proto_numbers, table, written
from tests.contract.servers import Server, differences

SCHEMA = Path(__file__).parents[2] / "src/reroll/sandbox/schema.json"
DOCUMENTS = (
    "api/v1",
    "apis/apps/v1",
    "apis/batch/v1",
    "apis/events.k8s.io/v1",
    "apis/coordination.k8s.io/v1",
    "apis/apiextensions.k8s.io/v1",
)
# Where Go keeps the sources of Kubernetes' modules; they are there where the dev cluster was built.
MODULES = Path(os.environ.get("GOMODCACHE", "~/go/pkg/mod")).expanduser() / "k8s.io"
VERSION = f"v0.{versions.DEFAULT.removeprefix('1.')}"
PROTO_FILES = (
    *(
        f"api@{VERSION}/{group}/v1"
        for group in ("core", "apps", "batch", "events", "coordination", "autoscaling")
    ),
    f"apimachinery@{VERSION}/pkg/apis/meta/v1",
    f"apimachinery@{VERSION}/pkg/runtime",
    f"apimachinery@{VERSION}/pkg/api/resource",
    f"apimachinery@{VERSION}/pkg/util/intstr",
    f"apiextensions-apiserver@{VERSION}/pkg/apis/apiextensions/v1",
)


async def test_the_table_is_the_servers(both: tuple[Server, Server]) -> None:
    """REROLL_WRITE_SCHEMA=1 writes the table anew; with it the sources of the modules must be there."""
    real_server = both[1]
    schemas: dict[str, Any] = {}
    for document in DOCUMENTS:
        answer = await real_server.request("GET", f"/openapi/v3/{document}")
        schemas |= answer.body["components"]["schemas"]
    files = [MODULES / folder / "generated.proto" for folder in PROTO_FILES]
    numbers = (
        proto_numbers(file.read_text() for file in files) if all(file.exists() for file in files) else {}
    )
    held = json.loads(SCHEMA.read_text())
    kinds = [tuple(("/" + key).rsplit("/", 2)) for key in held["kinds"]]
    found = table(
        schemas, [(group.removeprefix("/"), version, kind) for group, version, kind in kinds], numbers
    )
    if os.environ.get("REROLL_WRITE_SCHEMA") == "1":
        assert numbers, f"the numbers of protobuf stand in {files[0]} and others, which are not here"
        SCHEMA.write_text(written(found))
    if not numbers:
        held = without_numbers(held)
    wrong = differences(held, found)
    assert not wrong, "\n".join(wrong)


def without_numbers(content: Any) -> Any:
    """The table without what OpenAPI does not tell."""
    if isinstance(content, dict):
        return {key: without_numbers(value) for key, value in content.items()}
    return re.sub(r"#[\d.]+$", "", content)


@pytest.mark.parametrize("key", ["v1/ConfigMap", "apps/v1/Deployment", "v1/Event"])
def test_the_table_is_of_one_piece(key: str) -> None:
    """What a type refers to is there."""
    held = json.loads(SCHEMA.read_text())
    assert held["kinds"][key] in held["types"]
    for fields in held["types"].values():
        for text in fields.values() if isinstance(fields, dict) else ():
            for name in re.findall(r"[@&]!?(\w+)", text):
                assert name in held["types"]
