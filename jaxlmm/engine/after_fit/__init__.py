"""What is computed of fits on request: profiles of the deviance, derivatives of second order."""

from jaxlmm.engine.after_fit.kenward_roger import kenward_roger
from jaxlmm.engine.after_fit.profile import Profile, profile

__all__ = ["Profile", "kenward_roger", "profile"]
