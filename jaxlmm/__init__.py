"""Linear mixed models as pure JAX functions: lme4's formulas, a certificate instead of warnings.

>>> import jaxlmm as lmm
>>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
>>> fit.status
'interior'
"""

from typing import NoReturn

from jaxlmm import covariance, datasets, genetics, plot, solvers, testing
from jaxlmm._version import __version__
from jaxlmm.api import design, deviance, estimate, fit, fit_many, loglik, no_attribute
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
)
from jaxlmm.inference import STATUS
from jaxlmm.loading import load
from jaxlmm.model import Design
from jaxlmm.results import Certificate, Fit, FitMany
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
    "__version__",
    "covariance",
    "datasets",
    "design",
    "deviance",
    "estimate",
    "fit",
    "fit_many",
    "genetics",
    "load",
    "loglik",
    "plot",
    "scan",
    "solvers",
    "testing",
]


def __getattr__(name: str) -> NoReturn:
    raise no_attribute(name)
