"""Linear mixed models as pure JAX functions: lme4's formulas, a certificate instead of warnings.

>>> import jaxlmm as lmm
>>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
>>> fit.status
'interior'
"""

from typing import NoReturn

from jaxlmm import covariance, datasets, genetics, plot
from jaxlmm.api import design, deviance, estimate, fit, fit_many, load, loglik, no_attribute, scan
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
from jaxlmm.model import Design
from jaxlmm.results import Certificate, Fit, FitMany, Scan

__version__ = "0.1.0"

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
]


def __getattr__(name: str) -> NoReturn:
    raise no_attribute(name)
