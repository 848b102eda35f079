"""Evaluation of finished runs."""

from tfcaps.evaluation.attack import accuracy_under_attack, attack_table
from tfcaps.evaluation.report import evaluate, table
from tfcaps.evaluation.subject import Subject, load_subject

__all__ = [
    "Subject",
    "accuracy_under_attack",
    "attack_table",
    "evaluate",
    "load_subject",
    "table",
]
