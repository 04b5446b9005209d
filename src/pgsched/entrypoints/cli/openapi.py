"""``pgsched openapi``: the OpenAPI document, without a server or a database."""

from __future__ import annotations

import json

import click

from pgsched import __version__


@click.command()
@click.option("--yaml", "as_yaml", is_flag=True, help="Print YAML instead of JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, which is the default.")
def command(*, as_yaml: bool, as_json: bool) -> None:
    """Print the OpenAPI 3.1 document of the HTTP API."""
    if as_yaml and as_json:
        raise click.UsageError("--yaml and --json exclude each other")
    from pgsched.entrypoints.http.app import openapi_document

    # Through JSON first: what is left are the plain values that both forms have.
    text = json.dumps(openapi_document(__version__), indent=2, ensure_ascii=False)
    if as_yaml:
        import yaml

        text = yaml.safe_dump(json.loads(text), sort_keys=False, allow_unicode=True, width=110).rstrip("\n")
    click.echo(text)
