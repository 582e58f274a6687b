"""``python -m jaxlmm.cli``."""

from jaxlmm.cli import app

app()
