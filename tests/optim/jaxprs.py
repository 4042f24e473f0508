"""Equations of a traced function, in loops and branches too."""


def inner_jaxprs(equation):
    """The traced functions inside of an equation."""
    for value in equation.params.values():
        for inner in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield inner


def equations(jaxpr):
    """Every equation, depth first."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in inner_jaxprs(equation):
            yield from equations(inner)
