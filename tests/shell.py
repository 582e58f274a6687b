"""The command line, and files for it, as tests use them."""

from typer.testing import CliRunner

from jaxlmm.cli import app


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def at(path, text):
    path.write_bytes(text.encode())
    return path
