"""What is said about models: studies, tables, cards, pictures, energy."""

from ..moved import attributes

__getattr__ = attributes(__name__, "study.lab")
