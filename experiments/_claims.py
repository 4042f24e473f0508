"""What a figure claims, and the three words that a claim can get.

A claim is a measured number, the interval that it must lie in, and where that interval comes
from: a stated requirement, a paper, or a derivation in the experiment's docstring, never the run
itself. A claim names the presets in which it *binds*; elsewhere its verdict is "not tested",
whatever the number says, because a smaller run has no right to pass or to fail it.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

PRESETS = ("smoke", "quick", "paper")

Verdict = Literal["pass", "MISS", "not tested"]


@dataclass(frozen=True)
class Claim:
    """One number that a figure stands for.

    Parameters
    ----------
    name
        What is measured, in a few words; unique within the experiment.
    measured
        The value that came out. NaN in a preset where the claim binds is a MISS.
    error
        One standard error of `measured`, in its units; None where the value is exact.
    low, high
        The accepted closed interval; ``-math.inf`` and ``math.inf`` leave a side open.
    source
        Where the interval comes from: paper with its equation, table or figure, or
        "derived in the docstring", or "measured here".
    binds
        The presets in which the claim is tested: a tuple out of "smoke", "quick", "paper".
    paper
        The paper's own number or statement, as short text for the table ("-1/2"); empty where
        the paper gives none.

    Raises
    ------
    ValueError
        An empty name or source, an empty or NaN interval, a negative error, an unknown preset.
    TypeError
        `binds` is not a tuple: ``("quick")`` is a string, ``("quick",)`` a tuple.

    Examples
    --------
    >>> slope = Claim("slope", -0.49, 0.01, -0.56, -0.44, "theorem 1", ("quick", "paper"), "-1/2")
    >>> verdict(slope, "quick"), verdict(slope, "smoke")
    ('pass', 'not tested')
    """

    name: str
    measured: float
    error: float | None
    low: float
    high: float
    source: str
    binds: tuple[str, ...]
    paper: str = ""

    def __post_init__(self) -> None:
        # NumPy and JAX scalars come in here; only plain floats may reach the JSON files.
        for field in ("measured", "low", "high"):
            object.__setattr__(self, field, float(getattr(self, field)))
        if self.error is not None:
            object.__setattr__(self, "error", float(self.error))
        if not self.name or not self.source:
            raise ValueError(
                f"a claim needs a name and a source, got {self.name!r}, {self.source!r}"
            )
        if not self.low <= self.high:
            raise ValueError(
                f"claim {self.name!r}: low must not exceed high, got [{self.low}, {self.high}]"
            )
        if self.error is not None and self.error < 0:
            raise ValueError(f"claim {self.name!r}: error must be >= 0, got {self.error}")
        if not isinstance(self.binds, tuple):
            raise TypeError(f"claim {self.name!r}: binds must be a tuple, got {self.binds!r}")
        for preset in self.binds:
            if preset not in PRESETS:
                raise ValueError(
                    f"claim {self.name!r}: binds must name presets out of {PRESETS}, got {preset!r}"
                )


def verdict(claim: Claim, preset: str | None) -> Verdict:
    """Return "pass", "MISS" or "not tested".

    Parameters
    ----------
    claim
        The claim.
    preset
        The preset that was run; None for a configuration of the reader's own, in which no claim
        binds.

    Examples
    --------
    >>> nan = Claim("identity", float("nan"), None, 0.0, 1e-6, "derived here", ("smoke",))
    >>> verdict(nan, "smoke"), verdict(nan, None)
    ('MISS', 'not tested')
    """
    if preset not in claim.binds:
        return "not tested"
    return "pass" if claim.low <= claim.measured <= claim.high else "MISS"


def to_json(claim: Claim, preset: str | None) -> dict[str, Any]:
    """Return the claim as JSON fields; NaN becomes None, an open side of the interval None."""

    def number(value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None

    return {
        "name": claim.name,
        "preset": preset or "custom",
        "measured": number(claim.measured),
        "error": number(claim.error),
        "low": number(claim.low),
        "high": number(claim.high),
        "paper": claim.paper,
        "source": claim.source,
        "binds": list(claim.binds),
        "verdict": verdict(claim, preset),
    }


def from_json(fields: dict[str, Any]) -> Claim:
    """Rebuild a claim from `to_json`; its verdict follows anew from the preset."""

    def number(value: float | None, missing: float) -> float:
        return missing if value is None else value

    return Claim(
        name=fields["name"],
        measured=number(fields["measured"], math.nan),
        error=fields["error"],
        low=number(fields["low"], -math.inf),
        high=number(fields["high"], math.inf),
        source=fields["source"],
        binds=tuple(fields["binds"]),
        paper=fields["paper"],
    )
