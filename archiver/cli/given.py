"""Which options stand on the command line: what was left out, or comes from the environment, is nobody's question."""

from __future__ import annotations

import click
from click.core import ParameterSource


def given_options() -> dict[str, str]:
    """The options of the running command that were written down: by the parameter's name, the option as help shows it."""
    running = click.get_current_context()
    return {
        each.name: each.opts[0]
        for each in running.command.params
        if isinstance(each, click.Option) and each.name and running.get_parameter_source(each.name) is ParameterSource.COMMANDLINE
    }
