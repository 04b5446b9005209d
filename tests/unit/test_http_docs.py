"""The reference page says what the routes do, and the OpenAPI document says the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from pgsched.adapters.formats.shape import MEDIA_TYPES
from pgsched.domain.runs import Run
from pgsched.entrypoints.http import problems
from pgsched.entrypoints.http.app import openapi_document

#: bytes: there is nothing to show
NO_TEXT = {"application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"}
PAGE = (Path(__file__).parents[2] / "docs/reference/http.md").read_text()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    # as it goes over the wire
    return json.loads(json.dumps(openapi_document("0.1.0")))


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def cells(title: str) -> list[list[str]]:
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_reference_lists_every_route_with_its_parameters(document: dict[str, Any]) -> None:
    routes = {
        f"{method.upper()} {path}": ", ".join(
            parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"
        )
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    assert {row[0]: row[2] for row in cells("Paths")} == routes


def test_reference_explains_every_parameter(document: dict[str, Any]) -> None:
    known = {
        parameter["name"]
        for item in document["paths"].values()
        for operation in item.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
    }
    assert {row[0] for row in cells("Parameters")} == known


def test_reference_lists_the_fields_of_a_run(document: dict[str, Any]) -> None:
    shown = re.search(r"`\{([^}]*)\}`", section("A run"))
    assert shown is not None
    names = re.findall(r'"(\w+)"', shown[1])
    assert names == [field.name for field in fields(Run)]
    assert document["components"]["schemas"]["Run"]["required"] == names
    assert document["components"]["schemas"]["RunWithResult"]["required"] == [*names, "result"]


def test_reference_lists_the_formats_there_are() -> None:
    there = {str(format_): media_type for format_, media_type in MEDIA_TYPES.items()}
    assert {row[0]: row[1] for row in cells("Formats")} == there


def test_reference_lists_the_frameworks_codes() -> None:
    listed = {(int(row[0]), row[1]) for row in cells("Errors")}
    assert {(status, code) for status, (code, _) in problems._FRAMEWORK.items()} <= listed


def test_document_is_openapi_3_1_and_every_reference_in_it_leads_somewhere(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    found = set(re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(document)))
    assert found
    assert found <= document["components"]["schemas"].keys()


def test_document_gives_every_operation_a_name_of_its_own_and_problems(document: dict[str, Any]) -> None:
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"]


def test_document_says_which_operations_take_a_login(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"].keys() == {"session", "token"}
    assert {} in document["security"]
    needs = {
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
        if operation.get("security") == [{"session": []}]
    }
    assert {"logOut", "getMe", "addUser", "listAudit", "addToken"} <= needs
    assert needs.isdisjoint({"logIn", "listQueries", "getLatestRun", "healthz"})


def contents(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every body and answer: whose, of which media type, and what is said of it."""
    for operation in (each for item in document["paths"].values() for each in item.values()):
        name = operation["operationId"]
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{name} body", media_type, content
        for status, answer in operation["responses"].items():
            for media_type, content in answer.get("content", {}).items():
                yield f"{name} {status}", media_type, content


def validator(document: dict[str, Any], content: dict[str, Any]) -> Any:
    return jsonschema_rs.Draft202012Validator({**content["schema"], "components": document["components"]})


def test_every_body_and_answer_has_examples_that_its_own_schema_accepts(document: dict[str, Any]) -> None:
    shown = 0
    for where, media_type, content in contents(document):
        found = content.get("examples", {})
        assert found or media_type in NO_TEXT or media_type.startswith("text/plain"), where
        schema = validator(document, content)
        for example in found.values():
            assert [each.message for each in schema.iter_errors(example["value"])] == [], where
            shown += 1
    assert shown > 200


def test_a_body_with_a_field_too_many_is_not_what_the_schema_says(document: dict[str, Any]) -> None:
    for where, _, content in contents(document):
        if where.endswith(" body"):
            (example,) = content["examples"].values()
            assert not validator(document, content).is_valid(example["value"] | {"made_up": 1}), where
