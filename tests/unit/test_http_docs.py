"""The reference page says what the routes do, and the OpenAPI document says the same."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pgsched.adapters.formats.shape import MEDIA_TYPES
from pgsched.domain.runs import Run
from pgsched.entrypoints.http import problems
from pgsched.entrypoints.http.app import openapi_document

PAGE = (Path(__file__).parents[2] / "docs/reference/http.md").read_text()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document("0.1.0")


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
