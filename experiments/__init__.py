"""Experiments: one file is one figure of one paper, and a figure is a claim that can fail.

``python -m experiments list`` names them, ``python -m experiments all`` regenerates them,
``python -m experiments verify`` prints every claim beside the paper's number. README.md in this
folder states what a module must hold.

This file is hashed with every experiment that imports it, so it stays as small as it can be:
it exports `Claim` and nothing of the runner.
"""

from experiments._claims import Claim as Claim
