"""The OpenAPI document is for programs: valid, an example of everything, and clients come out of it."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from pgsched.entrypoints.http.app import openapi_document

#: bytes: there is nothing to show
NO_TEXT = {"application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"}
#: apart from what pgsched runs with: the framework acts differently where pydantic is installed
GENERATORS = Path(sys.prefix) / "generators"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    # as it goes over the wire
    return json.loads(json.dumps(openapi_document("0.1.0")))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for item in document["paths"].values():
        for operation in item.values():
            yield operation["operationId"], operation


def contents(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every body and answer: whose, of which media type, and what is said of it."""
    for name, operation in operations(document):
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{name} body", media_type, content
        for status, answer in operation["responses"].items():
            for media_type, content in answer.get("content", {}).items():
                yield f"{name} {status}", media_type, content


def validator(document: dict[str, Any], content: dict[str, Any]) -> Any:
    return jsonschema_rs.Draft202012Validator({**content["schema"], "components": document["components"]})


def test_document_is_valid(document: dict[str, Any]) -> None:
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(document)] == []


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


def test_every_answer_names_the_headers_it_always_has(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            told = set(answer["headers"])
            assert "X-Request-Id" in told, name
            assert ("Retry-After" in told) == (status in ("429", "503")), (name, status)
            assert ("WWW-Authenticate" in told) == (status == "401"), (name, status)


def test_client_generator_makes_a_client_that_reads_the_answers(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not GENERATORS.exists():
        pytest.skip("make dev puts the generator there")
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    (tmp_path / "config.yaml").write_text("post_hooks: []\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
            *("--path", "openapi.json", "--config", "config.yaml", "--output-path", "generated_client"),
            "--fail-on-warning",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(GENERATORS)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(tmp_path)
    models = importlib.import_module("generated_client.models")
    for name, operation in operations(document):
        good = next(answer for status, answer in operation["responses"].items() if status < "300")
        content = good.get("content", {}).get("application/json", {})
        shape = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        if shape:
            value = content["examples"]["example"]["value"]
            assert getattr(models, shape).from_dict(value).to_dict().keys() == value.keys(), name
