"""``pgsched openapi`` prints the document that the server serves."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner

from pgsched.entrypoints.cli.openapi import command


@pytest.mark.parametrize(
    ("options", "read"), [([], json.loads), (["--json"], json.loads), (["--yaml"], yaml.safe_load)]
)
def test_openapi_prints_the_document(options: list[str], read) -> None:
    done = CliRunner().invoke(command, options)
    assert done.exit_code == 0, done.output
    document = read(done.output)
    assert document["openapi"].startswith("3.1.")
    assert "/api/queries/{qid}/runs/latest" in document["paths"]


def test_openapi_takes_one_form() -> None:
    assert CliRunner().invoke(command, ["--yaml", "--json"]).exit_code == 2
