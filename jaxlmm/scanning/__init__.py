"""Scans: every response against every marker, with the variances refitted for each."""

from jaxlmm.scanning.scan import scan

__all__ = ["scan"]
