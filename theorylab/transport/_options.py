"""What each method can be told, and its defaults.

Differs from the paper / reference:
  1. No paper. ``density`` of 2 / n is Tang et al.'s (2024); PASSES bounds the work.
"""

from typing import Any

from theorylab.transport._arguments import whole

PASSES = {"newton": 2000, "sns": 2000, "sinkhorn": 20_000}


def chosen_options(method: str, given: dict[str, Any], smaller: int) -> tuple[tuple[str, Any], ...]:
    """Options of a method, with their defaults; hashable."""
    defaults: dict[str, Any] = {}
    if method == "sinkhorn":
        defaults = {"momentum": 1.0, "domain": "auto", "scaling": False}
    if method == "sns":
        defaults = {"sparsify": "count", "sweeps": 20, "density": min(1.0, 2 / smaller)}
    unknown = [name for name in given if name not in defaults]
    if unknown:
        known_ones = ", ".join(defaults) or "none"
        raise TypeError(
            f"{unknown[0]} is no option of method {method!r}; its options: {known_ones}"
        )
    options = defaults | given
    if method == "sinkhorn":
        if not 0 < float(options["momentum"]) < 2:
            raise ValueError(f"momentum must lie in (0, 2), got {options['momentum']!r}")
        if options["domain"] not in ("auto", "log"):
            raise ValueError(f"domain must be 'auto' or 'log', got {options['domain']!r}")
        options |= {"momentum": float(options["momentum"]), "scaling": bool(options["scaling"])}
    if method == "sns":
        density, rule = float(options["density"]), options["sparsify"]
        if rule not in ("count", "budget"):
            raise ValueError(f"sparsify must be 'count' or 'budget', got {rule!r}")
        if rule == "budget" and "density" in given:
            raise TypeError("density is no option of sparsify='budget', which finds it")
        if not 0 < density <= 1:
            raise ValueError(f"density must lie in (0, 1], got {options['density']!r}")
        options = {"sparsify": rule, "sweeps": whole("sweeps", options["sweeps"])}
        options |= {"density": density} if rule == "count" else {}
    return tuple(options.items())
