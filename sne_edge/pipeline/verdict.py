"""What makes a run's figures doubtful: its data before it, and what it reached against what needs no learning, the
commonest class, and against its own teacher.

In: a data set; a trained model's provenance, validation labels. Out: doubts in words, none where all is well.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..check.evaluation import commonest, of_no_use
from ..data.dataset import Dataset

KNOWN = 0.01  # of the test samples, which may be training samples as well, as some of large collections are
BEHIND = 0.10  # of all samples, which the teacher gets right and the students do not

WIDEST = 256  # columns of a table, at most; longer samples are signals
JUDGED = 2000  # samples that tell one from the other


def doubts_of_data(dataset: Dataset) -> list[str]:
    """What is probably wrong with the data, before anything is learned from them."""
    found = []
    if dataset.known > KNOWN * len(dataset.x_test):
        found.append(
            f"{dataset.known:,} of {len(dataset.x_test):,} test samples are training samples, too: test accuracy will "
            "not be that of new data; leave them out of one of both"
        )
    if dataset.repeated > KNOWN * len(dataset.x_val):
        found.append(
            f"{dataset.repeated:,} of {len(dataset.x_val):,} validation samples are training samples, too, since "
            "samples come more than once: epochs, order and margins are chosen by what was learned by heart"
        )
    if not dataset.stated and _is_table(dataset):
        found.append(
            f"neighbours among the {dataset.shape[1]} values of a sample have no more in common than others, as "
            "columns of a table: if they are, state --layout NC (if they follow each other in time, --layout NL)"
        )
    for part, labels in (("validation", dataset.y_val), ("test", dataset.y_test)):
        missing = sorted({*range(len(dataset.classes))} - {*labels.tolist()})
        if missing:
            names = ", ".join(dataset.classes[k] for k in missing[:5]) + (", ..." if len(missing) > 5 else "")
            found.append(f"there is no {part} sample of {names}: accuracy says nothing of them; give more samples")
    return found


def _is_table(dataset: Dataset) -> bool:
    """Whether samples [1, length, 1] look like rows of a table: of signals, neighbours go together most."""
    height, length, channels = dataset.shape
    if dataset.x_train.ndim != 4 or height * channels != 1 or not 3 <= length <= WIDEST:
        return False
    x = dataset.x_train[:JUDGED].reshape(-1, length).astype(np.float64)
    x = x[:, np.ptp(x, axis=0) > 0]
    if x.shape[1] < 3:
        return False
    common = np.abs(np.corrcoef(x.T))
    pairs = common[np.triu_indices(len(common), 1)]
    return bool(np.diagonal(common, 1).mean() < pairs.mean() + 0.05)


def doubts(provenance: dict[str, Any], labels: np.ndarray) -> list[str]:
    """What is probably wrong with the model that `provenance` describes, judged on validation samples [N]."""
    floor = commonest(labels)
    teacher = provenance["teacher"]["validation"]
    float_best = max(provenance["float"]["validation"])
    best = max(row["accuracy"] for row in provenance["integer"]["validation"])
    found = []
    if of_no_use(teacher, labels):
        found.append(
            f"the teacher is right on {teacher:.1%} of the validation samples, where the commonest class makes "
            f"{floor:.1%}: students learn no more from it; give it more epochs, or look at labels and layout"
        )
    if of_no_use(best, labels):
        found.append(
            f"the students are right on {best:.1%} of the validation samples, where the commonest class makes "
            f"{floor:.1%}: they learned nothing of use; give more epochs or channels"
        )
    elif best < teacher - BEHIND:
        found.append(
            f"the students are right on {best:.1%} of the validation samples, their teacher on {teacher:.1%}: more "
            "epochs, channels or students bring them nearer"
        )
    if best < float_best - BEHIND:
        found.append(
            f"the integers are right on {best:.1%} of the validation samples, the students that they were made from on "
            f"{float_best:.1%}: {provenance['config']['body']['bits']} bits are too few for these"
        )
    return found
