"""An option of a fit has one name, type and default wherever it is spelled out: record, verbs, shell."""

import dataclasses
import inspect

import pytest

import jaxlmm as lmm
from jaxlmm.api import FitOptions
from jaxlmm.cli.options import OF_FAMILIES, FitArguments
from jaxlmm.formula import ModelOptions

NOT_IN_A_SHELL = {"covariance", "optimizer"}
"""Their values are objects of Python."""


def keywords(verb):
    parameters = inspect.signature(verb).parameters.values()
    return {p.name: (p.annotation, p.default) for p in parameters if p.kind is p.KEYWORD_ONLY}


def fields(record):
    return {field.name: (field.type, field.default) for field in dataclasses.fields(record)}


def test_verbs_have_the_options_of_the_record():
    assert keywords(lmm.fit) == fields(FitOptions)
    assert keywords(lmm.design) == fields(ModelOptions)
    many, scan = keywords(lmm.fit_many), keywords(lmm.scan)
    assert fields(FitOptions).items() <= many.items()
    scan["kinship"] = fields(FitOptions)["kinship"]  # which may be "auto" too
    assert scan["method"] == ("str", "REML")
    own = {name: one for name, one in fields(FitOptions).items() if name not in {*OF_FAMILIES, "method"}}
    assert own.items() <= scan.items()


@pytest.mark.parametrize("verb", [lmm.fit, lmm.fit_many, lmm.scan])
def test_verbs_document_their_options(verb):
    documented = {
        name
        for line in inspect.getdoc(verb).splitlines()
        if line and not line.startswith(" ")
        for name in line.split(", ")
    }
    assert keywords(verb).keys() <= documented


def test_the_shell_has_the_options_of_the_record():
    ours, theirs = fields(FitArguments), fields(FitOptions)
    assert ours.keys() == theirs.keys() - NOT_IN_A_SHELL
    assert {name: default for name, (_, default) in ours.items()} == {name: theirs[name][1] for name in ours}


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(FitOptions)])
def test_verbs_hand_on_each_option(name, monkeypatch):
    """A value that is no option's fails in the record or arrives there."""
    made = []

    class ArrivedError(Exception):
        pass

    def record(self):
        made.append(getattr(self, name))
        raise ArrivedError

    monkeypatch.setattr(ModelOptions, "__post_init__", record)
    mark = object()
    scans = [] if name in OF_FAMILIES else [(lmm.scan, {"genotypes": None})]
    for verb, options in ((lmm.fit, {}), (lmm.fit_many, {}), *scans):
        with pytest.raises(ArrivedError):
            verb("y ~ x", None, **options, **{name: mark})
    assert made == [mark] * (2 + len(scans))
