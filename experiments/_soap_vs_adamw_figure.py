"""The picture of ``soap_vs_adamw``: losses over rates, over steps and over time."""

import numpy as np

NAMES = {"adamw": "AdamW", "soap": "SOAP", "lion": "Lion", "muon": "Muon"}
SMOOTH = 25  # steps in a running mean of training losses


def figure(arrays):
    """Draw three panels."""
    from experiments import _style

    colors = dict(zip(NAMES, (_style.BLUE, _style.ORANGE, _style.GREEN, _style.PINK), strict=True))
    fig, (left, middle, right) = _style.subplots(1, 3, width="wide", aspect=0.42)
    for name, word in NAMES.items():
        for seed in range(int(arrays["seeds"])):
            if f"{name}_{seed}_rates" not in arrays:
                continue
            left.plot(
                arrays[f"{name}_{seed}_rates"],
                arrays[f"{name}_{seed}_loss"],
                ("o-", "s--", "^:")[seed % 3],
                color=colors[name],
                markersize=3.5,
                label=f"{word}, {_steps(arrays, name)} steps" if seed == 0 else None,
            )
            if seed == 0:
                _training(middle, arrays, name, colors[name], word)
            _time(right, arrays, name, seed, colors[name])
    best = min(arrays[f"adamw_{seed}_windows"].mean() for seed in range(int(arrays["seeds"])))
    left.set_ylim(best - 0.05, best + 0.55)
    left.set_xscale("log", base=2)
    tried = sorted({rate for name in arrays if name.endswith("_rates") for rate in arrays[name]})
    octaves = tried[-1] / 2.0 ** np.arange(1 + round(np.log2(tried[-1] / tried[0])))
    left.set_xticks(octaves, [f"{rate:.2g}" for rate in octaves], rotation=45)
    left.minorticks_off()
    left.set(xlabel="peak learning rate", ylabel="held-out loss (nats)", title="(a) search")
    middle.set(xlabel="step", ylabel="training loss (nats)", title="(b) best runs of seed 0")
    middle.set_ylim(best - 0.1, best + 1.2)
    fig.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    right.set(xlabel="seconds", ylabel="held-out loss (nats)", title="(c) wall clock")
    right.set_xlim(0, 1.15 * right.get_xlim()[1])
    right.margins(y=0.15)
    return fig


def _steps(arrays, name):
    return int(arrays["steps"][1 if name == "soap" else 0])


def _training(axes, arrays, name, color, word):
    losses = arrays[f"{name}_0_training"]
    width = min(SMOOTH, len(losses))
    smooth = np.convolve(losses, np.ones(width) / width, "valid")
    axes.plot(np.arange(width, len(losses) + 1), smooth, color=color, label=word)
    axes.plot(len(losses), arrays[f"{name}_0_windows"].mean(), "o", color=color, markersize=4)


def _time(axes, arrays, name, seed, color):
    axes.plot(
        arrays[f"{name}_{seed}_wall"],
        arrays[f"{name}_{seed}_windows"].mean(),
        ("o", "s", "^")[seed % 3],
        color=color,
        markersize=4,
    )


def caption(arrays):
    """Return what is drawn."""
    text = (
        f"A character transformer (2 layers) on {arrays['data']}, {arrays['characters']} "
        "characters a step. (a) Loss on held-out text at the end of a run over its peak rate; "
        "circles, squares, triangles: seeds 0, 1, 2. Seed 0 tries all rates of both; later seeds "
        "search AdamW's rate anew and take SOAP's from seed 0. (b) Training losses of best runs of "
        f"seed 0, mean over {SMOOTH} steps; points: held-out loss at the end. (c) Held-out loss "
        "of best runs over the median time of runs of their kind, compilation left out, on the "
        "machine that drew this."
    )
    if "frequencies" in arrays:
        pairs = zip(arrays["frequencies"], arrays["frequency_loss"], strict=True)
        listed = ", ".join(f"{loss:.3f} at {frequency}" for frequency, loss in pairs)
        text += (
            f" SOAP with other refresh frequencies than {int(arrays['frequency'])}, seed 0: "
            f"{listed}."
        )
    return text


def alt(arrays):
    """Return the figure in words."""
    seeds = range(int(arrays["seeds"]))
    words = []
    for seed in seeds:
        ends = {name: arrays[f"{name}_{seed}_windows"].mean() for name in ("adamw", "soap")}
        words.append(
            f"seed {seed}: AdamW {ends['adamw']:.3f} at rate "
            f"{float(arrays[f'adamw_{seed}_best']):g}, SOAP {ends['soap']:.3f} at rate "
            f"{float(arrays[f'soap_{seed}_best']):g}"
        )
    long, short = arrays["steps"]
    wall = {n: np.median([arrays[f"{n}_{s}_wall"] for s in seeds]) for n in ("adamw", "soap")}
    return (
        f"Three panels. Left: final held-out losses over peak rates, AdamW with {long} steps and "
        f"SOAP with {short}; best ones: {'; '.join(words)}. Middle: training losses over steps. "
        f"Right: the same ends over time: AdamW {wall['adamw']:.0f} s, SOAP {wall['soap']:.0f} s."
    )
