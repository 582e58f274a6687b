"""The same verbs from a shell."""

from jaxlmm.cli import fitting, genetics, scanning
from jaxlmm.cli.common import app

__all__ = ["app", "fitting", "genetics", "scanning"]
