"""KFP's intermediate representation, YAML or JSON, to the model; strict, and without the KFP SDK."""

from penstock.ir.arguments import parse_argument, resolve_arguments
from penstock.ir.canonical import dump
from penstock.ir.documents import read_mapping
from penstock.ir.features import Feature, FeatureName, features
from penstock.ir.loader import load

__all__ = [
    "Feature",
    "FeatureName",
    "dump",
    "features",
    "load",
    "parse_argument",
    "read_mapping",
    "resolve_arguments",
]
