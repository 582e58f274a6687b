"""``kinship``: the kinship coefficients of a pedigree."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxlmm.errors import KinshipError, choose
from jaxlmm.genetics.ids import quoted
from jaxlmm.genetics.matrices import Relationship, canonical
from jaxlmm.genetics.pedigrees.descent import coefficients
from jaxlmm.genetics.pedigrees.pedigree import UNKNOWN_SEX, read_pedigree
from jaxlmm.genetics.pedigrees.twins import with_twins


def kinship(
    pedigree: Any,
    *,
    id: str = "id",
    father: str = "father",
    mother: str = "mother",
    sex: str | None = "sex",
    family: str | None = None,
    relations: Any = None,
    chromosome: str = "autosome",
) -> Relationship:
    """Return the matrix of kinship coefficients: the probability that two alleles are identical by descent.

    The alleles are drawn at one locus, one from each individual: 0.5 with oneself (more with inbreeding), 0.25 between
    siblings, or parent and child. A model of additive effects takes twice as much: ``kinship={"id": 2 * K}``.

    Parameters
    ----------
    pedigree
        A data frame with a row for each individual, in any order; parents need rows of their own.
    id, father, mother
        Its columns. A father or mother who is not known is missing, 0, ``""``, ``"."`` or ``"NA"``, and stands for an
        unrelated founder, another one for each child: with one parent in common they are half-siblings.
    sex
        Its column of sexes: 1, M or male; 2, F or female; 0, 3 or missing if not known. Needed for ``chromosome="X"``,
        else used to check the parents. None, or no column ``sex``: not checked, and one individual may be father and
        mother, as a plant that fertilises itself.
    family
        Its column of families, where ids are unique within families alone: parents are looked for in their child's
        family, and if an id occurs in several families the labels are ``family:id``, as those of the grouping factor
        ``(1 | family:id)`` of a formula.
    relations
        Twins: a frame with columns ``id1``, ``id2``, ``code``: 1 or MZ for identical twins, 2 or DZ, 3 or UZ (unknown,
        taken as DZ); also the column ``family`` if ids repeat. Triplets are two or three pairs. Twins have the same
        parents, also those who are not known. 4, or spouse, means nothing here.
    chromosome
        ``"autosome"``, or ``"X"``: a man has one allele, so that his diagonal is 1.

    Returns
    -------
    Relationship
        Labels in the order of the rows.

    Raises
    ------
    KinshipError
        If an id is missing or twice, a parent is not in the pedigree, somebody is an ancestor of himself or a parent of
        the wrong sex, ids are numbers in one place and text in another, or twins differ in their parents.
    OptionError
        If ``chromosome`` is something else.

    Notes
    -----
    Generation by generation, from the kinship of parents (Lange 2002, *Mathematical and Statistical Methods for
    Genetic Analysis*, section 5.2): time and memory grow with the pairs of relatives, not with n². The X
    chromosome is treated as in the R package kinship2 (Sinnwell, Therneau and Schaid 2014, *Human Heredity* 78:91-93).

    Examples
    --------
    >>> import jaxlmm as lmm, pandas as pd
    >>> people = pd.DataFrame({
    ...     "id": ["dad", "mum", "ann", "bob", "cy"], "father": ["", "", "dad", "dad", "dad"],
    ...     "mother": ["", "", "mum", "mum", "mum"], "sex": ["M", "F", "F", "M", "M"],
    ... })
    >>> twins = pd.DataFrame({"id1": ["bob"], "id2": ["cy"], "code": ["MZ"]})
    >>> lmm.genetics.kinship(people, relations=twins).to_frame()
          dad   mum   ann   bob    cy
    dad  0.50  0.00  0.25  0.25  0.25
    mum  0.00  0.50  0.25  0.25  0.25
    ann  0.25  0.25  0.50  0.25  0.25
    bob  0.25  0.25  0.25  0.50  0.50
    cy   0.25  0.25  0.25  0.50  0.50
    """
    choose("chromosome", chromosome, ("autosome", "X"))
    on_x = chromosome == "X"
    people = read_pedigree(pedigree, id=id, father=father, mother=mother, sex=sex, family=family, needs_sex=on_x)
    labels, genome = people.labels, np.arange(len(people.labels))
    if relations is not None:
        people, genome = with_twins(people, relations, family)
    unknown = np.flatnonzero(people.sex == UNKNOWN_SEX)
    if on_x and unknown.size:
        raise KinshipError(
            f"pedigree: the X chromosome needs everybody's sex, got none for {unknown.size} individuals, the first is "
            f"{quoted(people.labels[unknown[0]])}; add it, or leave out those without children."
        )
    phi = coefficients(people, on_x)
    return Relationship(labels, canonical(phi[genome][:, genome]))
