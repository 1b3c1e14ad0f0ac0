"""KFP's intermediate representation, YAML or JSON, to the model; strict, and without the KFP SDK."""

from penstock.ir.arguments import parse_argument, resolve_arguments
from penstock.ir.canonical import dump
from penstock.ir.loader import load

__all__ = ["dump", "load", "parse_argument", "resolve_arguments"]
