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

import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from pgsched.entrypoints.http.app import openapi_document

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


def test_document_is_valid(document: dict[str, Any]) -> None:
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(document)] == []


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
