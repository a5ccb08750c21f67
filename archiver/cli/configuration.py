"""``archiver config``: the settings' schema, and what is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from archiver.cli import output
from archiver.cli.main import Context

if TYPE_CHECKING:
    from archiver.settings import Settings


@click.group()
def config() -> None:
    """Look at settings."""


@config.command()
def schema() -> None:
    """Print the JSON schema of the settings file."""
    from archiver.settings import json_schema

    output.print_json(json_schema())


@config.command()
@click.option("--json", "as_json", is_flag=True, help="JSON instead of YAML.")
@click.pass_obj
def show(context: Context, *, as_json: bool) -> None:
    """Check the settings and print what is in force.

    File, environment and defaults together. Passwords are left out.
    """
    plain = redact(context.settings())
    if context.file is not None and context.file.said:
        output.say(f"settings: {context.file.said}")
    if as_json:
        output.print_json(plain)
    else:
        import yaml

        output.document(yaml.safe_dump(plain, sort_keys=False))


def redact(settings: Settings) -> object:
    """Plain data without any secret: a DSN is shown without its password, all others are references or the settings are refused."""
    plain = msgspec.to_builtins(settings)
    for source in plain["sources"].values():
        postgres = source.get("postgres")
        if postgres and not postgres["dsn"].startswith(("env:", "file:")):
            from archiver.capture.postgres.session.replication import describe

            postgres["dsn"] = describe(postgres["dsn"])
    return plain
