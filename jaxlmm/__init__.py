"""Linear mixed models as pure JAX functions: lme4's formulas, a certificate instead of warnings.

>>> import jaxlmm as lmm
>>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
>>> fit.status
'interior'
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxlmm._version import __version__

if TYPE_CHECKING:
    from jaxlmm import covariance, datasets, families, genetics, plot, solvers, testing
    from jaxlmm.api import design, design_from_arrays, deviance, estimate, fit, fit_many, loglik, simulate
    from jaxlmm.errors import (
        DataError,
        FormulaError,
        GenotypeError,
        JaxlmmError,
        KinshipError,
        OptionError,
        OutputError,
        PrecisionError,
        ResumeError,
        WorkerError,
    )
    from jaxlmm.inference import STATUS
    from jaxlmm.loading import load
    from jaxlmm.model import Design
    from jaxlmm.results import Certificate, Fit, FitMany, compare
    from jaxlmm.scanning import scan
    from jaxlmm.scanning.output import Scan

__all__ = [
    "STATUS",
    "Certificate",
    "DataError",
    "Design",
    "Fit",
    "FitMany",
    "FormulaError",
    "GenotypeError",
    "JaxlmmError",
    "KinshipError",
    "OptionError",
    "OutputError",
    "PrecisionError",
    "ResumeError",
    "Scan",
    "WorkerError",
    "__version__",
    "compare",
    "covariance",
    "datasets",
    "design",
    "design_from_arrays",
    "deviance",
    "estimate",
    "families",
    "fit",
    "fit_many",
    "genetics",
    "load",
    "loglik",
    "plot",
    "scan",
    "simulate",
    "solvers",
    "testing",
]


_HOMES = {
    "api": ("design", "design_from_arrays", "deviance", "estimate", "fit", "fit_many", "loglik", "simulate"),
    "errors": (
        "DataError", "FormulaError", "GenotypeError", "JaxlmmError", "KinshipError", "OptionError", "OutputError",
        "PrecisionError", "ResumeError", "WorkerError",
    ),
    "inference": ("STATUS",),
    "loading": ("load",),
    "model": ("Design",),
    "results": ("Certificate", "Fit", "FitMany", "compare"),
    "scanning": ("scan",),
    "scanning.output": ("Scan",),
}  # fmt: skip
"""The module of each name. It is imported when the name is first asked for: what a program does not use, it does not
wait for."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        home = next((home for home, names in _HOMES.items() if name in names), None)
        if home is not None:
            globals()[name] = getattr(importlib.import_module(f"jaxlmm.{home}"), name)
            return globals()[name]
        if name in __all__:
            return importlib.import_module(f"jaxlmm.{name}")
        if name.startswith("__"):
            raise AttributeError(f"module 'jaxlmm' has no attribute {name!r}")
        raise importlib.import_module("jaxlmm.api").no_attribute(name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
