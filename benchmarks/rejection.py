"""Which score tells inputs of no class from those of the model's: a table over kinds of unknown inputs.

    python benchmarks/rejection.py make FOLDER          unknown samples, and MNIST-1D without three classes
    python benchmarks/rejection.py MODEL DATA FILES...  the table, of unknown samples in .npz files with an array x

Of each score: the area under its ROC curve, and the share of known test samples that it rejects where 5 % of the
unknown ones get a label. Its limit is set on two thirds of the unknown samples, and told of the others. The last row is
the rule that `sne-edge calibrate --unknown` chooses, for its stricter promise: at most 5 % with 95 % confidence.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from sne_edge import ActivationPolicy, HostModel, QuantEnsemble, load
from sne_edge.data.dataset import load_dataset
from sne_edge.data.origin import load_for
from sne_edge.data.unknown import load_unknown
from sne_edge.deploy.engine import HostEngine
from sne_edge.ir.layout import encoder_layout
from sne_edge.quantize.reject import choose, report, seen, thirds

RATE = 0.05
KNOWN_CLASSES = 7  # of the ten of MNIST-1D, for the model that does not know the others


def make(folder: Path) -> None:
    """Noise like the data's values, shuffled samples, and classes that a model trained on `seven.npz` has never met."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, data = np.random.default_rng(3), load_dataset("mnist1d")
    x = np.concatenate([data.x_train, data.x_val])
    y = np.concatenate([data.y_train, data.y_val])
    own, own_test = y < KNOWN_CLASSES, data.y_test < KNOWN_CLASSES
    shape, flat = (2000, *x.shape[1:]), x.reshape(len(x), -1)[:2000]
    shuffled = np.take_along_axis(flat, rng.random(flat.shape).argsort(axis=1), axis=1).reshape(shape)
    unknown = {
        "gaussian": rng.normal(x.mean(), x.std(), shape),
        "uniform": rng.uniform(x.min(), x.max(), shape),
        "weak": rng.normal(0, x.std() / 4, shape),
        "shuffled": shuffled,
        "classes": np.concatenate([x[~own], data.x_test[~own_test]]),
    }
    for name, samples in unknown.items():
        np.savez(folder / f"{name}.npz", x=samples.astype(np.float32), layout="NHWC")
    known = {"x_train": x[own], "y_train": y[own], "x_test": data.x_test[own_test], "y_test": data.y_test[own_test]}
    np.savez(folder / "seven.npz", layout="NHWC", **known)


def scores(ensemble: QuantEnsemble, host: HostModel, x: np.ndarray) -> dict[str, np.ndarray]:
    """Of samples, by name: the higher, the more like a known one; float64 [N]."""
    inputs = ensemble.encoder.encode(x)
    found = host.run(inputs)
    logits, fired = found.logits.astype(np.float64), found.spikes.sum(axis=1) / found.students_run
    ordered = np.sort(logits, axis=1)
    margin, span = ordered[:, -1] - ordered[:, -2], ordered[:, -1] - ordered[:, 0]
    real = logits * ensemble.logit_scale
    energy = np.log(np.exp(real - real.max(axis=1, keepdims=True)).sum(axis=1)) + real.max(axis=1)
    alone = [host.run(inputs, ActivationPolicy("mask", mask=1 << k)).label for k in range(len(ensemble.students))]
    agreeing = np.sum([label == found.label for label in alone], axis=0)
    return {
        "margin": margin,
        "highest logit": ordered[:, -1],
        "energy: log of the sum of exponentials": energy,
        "students that agree, then margin": agreeing + margin / (1 + margin.max()),
        "margin over spikes": margin / (1 + fired),
        "few spikes": -fired,
        "margin over highest minus lowest logit": margin / (1 + span),
    }


def area(known: np.ndarray, unknown: np.ndarray) -> float:
    """Under the ROC curve: how often a known sample's score is above an unknown one's."""
    ordered = np.sort(unknown)
    below, upto = np.searchsorted(ordered, known, "left"), np.searchsorted(ordered, known, "right")
    return float((below + upto).mean() / 2 / len(unknown))


def table(model: str, data: str, files: list[str]) -> None:
    ensemble = load(model)
    host = HostModel(ensemble)
    dataset, _ = load_for(ensemble.provenance, ensemble.classes, data)
    known = scores(ensemble, host, dataset.x_test)
    rows: dict[str, list[str]] = {name: [] for name in (*known, "the calibrated rule")}
    engine = HostEngine(host)

    def values(x: np.ndarray) -> dict[str, np.ndarray]:
        return engine.run(ensemble.encoder.encode(x), None, None).values

    for file in files:
        unknown = load_unknown(file, dataset, encoder_layout(ensemble.encoder))
        forming, setting, judging = thirds(len(unknown))
        strangers = scores(ensemble, host, unknown)
        for name, score in strangers.items():
            limit = np.quantile(score[np.concatenate([forming, setting])], 1 - RATE)
            alarms = float((score[judging] > limit).mean())
            rejected = float((known[name] <= limit).mean())
            rows[name].append(f"{area(known[name], score):.2f}, {rejected:.0%} ({alarms:.1%})")
        whole, test = seen(values(unknown)), values(dataset.x_test)
        rule = choose(seen(values(dataset.x_val)), whole.picked(forming), whole.picked(setting), RATE)
        told = report(rule, seen(test), test["label"] == dataset.y_test, whole.picked(judging))
        rows["the calibrated rule"].append(f"{told['rejected']:.0%} ({told['false_alarms']:.1%})")
    print(f"| score | {' | '.join(Path(file).stem for file in files)} |\n|---|{'---|' * len(files)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"] and len(sys.argv) == 3:
        make(Path(sys.argv[2]))
    elif len(sys.argv) >= 4:
        table(sys.argv[1], sys.argv[2], sys.argv[3:])
    else:
        sys.exit(__doc__)
