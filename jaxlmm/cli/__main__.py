"""``python -m jaxlmm.cli``."""

from jaxlmm.cli.common import app

app()
