"""lme4's sleepstudy with more columns, some of them of odd names, and the columns of a formula on it."""

import numpy as np

import jaxlmm as lmm
from jaxlmm.formula import ModelOptions, build_frame, parse

RNG = np.random.default_rng(3)
DATA = lmm.datasets.sleepstudy().assign(
    z=RNG.normal(size=180), k=np.tile([1.0, 2, 3], 60), w=RNG.uniform(1, 2, 180), o=RNG.normal(size=180)
)
ODD = DATA.rename(columns={"z": "my days", "k": "Days (d)", "w": "2nd dose", "o": "f's"}).assign(
    **{"body-weight": DATA["z"], "%fat": DATA["k"], "a|b": DATA["Subject"], "dose [mg]": DATA["o"], "x²": DATA["z"]}
)


def frame_of(formula, data=DATA, **options):
    return build_frame(parse(formula), data, ModelOptions(**options))
