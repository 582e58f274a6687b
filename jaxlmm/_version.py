"""The version, which other modules read without the package itself."""

__version__ = "0.1.0"
