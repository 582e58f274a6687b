"""The same verbs from a shell."""

from jaxlmm.cli import cache, fitting, genetics, scanning
from jaxlmm.cli.common import app

__all__ = ["app", "cache", "fitting", "genetics", "scanning"]
