"""Linear algebra: in compiled functions for CPUs without LAPACK, and one eigendecomposition outside of them."""

from jaxlmm.linalg.eigen import eigh as eigh
from jaxlmm.linalg.inverse import MAX_SIZE_SWEPT as MAX_SIZE_SWEPT
from jaxlmm.linalg.inverse import MAX_SIZE_UNROLLED as MAX_SIZE_UNROLLED
from jaxlmm.linalg.inverse import inverse_logdet
from jaxlmm.linalg.recurrences import after as after
from jaxlmm.linalg.recurrences import backward_recurrence as backward_recurrence
from jaxlmm.linalg.recurrences import before as before
from jaxlmm.linalg.recurrences import linear_recurrence as linear_recurrence
from jaxlmm.linalg.recurrences import riccati_recurrence as riccati_recurrence
from jaxlmm.linalg.roots import semidefinite_cholesky, semidefinite_root
from jaxlmm.linalg.rotations import singular_vectors as singular_vectors
from jaxlmm.linalg.solutions import apply_inverse as apply_inverse
from jaxlmm.linalg.solutions import normal_equations as normal_equations
from jaxlmm.linalg.solutions import shifted_solutions as shifted_solutions
from jaxlmm.linalg.solutions import solve as solve
from jaxlmm.linalg.triangles import inverse_triangle as inverse_triangle
from jaxlmm.linalg.triangles import orthonormal_basis as orthonormal_basis

__all__ = ["inverse_logdet", "semidefinite_cholesky", "semidefinite_root"]
