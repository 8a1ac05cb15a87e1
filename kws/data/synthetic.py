"""A spoken corpus made by eSpeak NG: its voices and voice variants are the speakers."""

from __future__ import annotations

from mcu_codegen.errors import InputError

from .corpus import Corpus

NAME = "synthetic"


def open_synthetic() -> Corpus:
    raise InputError("synthetic: not there yet")
