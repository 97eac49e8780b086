"""What `calibrate` and `ensemble` share: the goals of a policy, and what was chosen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SneError
from .inputs import check_finite
from .output import print_json, print_table, tell

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..ir.ensemble import QuantEnsemble
    from ..quantize.calibrate import Promise


def check_goals(max_drop: float | None, target_ops: float | None) -> None:
    if max_drop is not None and target_ops is not None:
        raise SneError("--max-drop and --target-ops are both given", "accuracy or operations: give one of them")
    check_finite(max_drop=max_drop, target_ops=target_ops)


def check_policy(
    ensemble: QuantEnsemble, max_drop: float | None, target_ops: float | None, kind: str | None, early: str | None
) -> None:
    from ..quantize.calibrate import check_goal
    from ..quantize.early import check_rule

    check_goal(0.1 if max_drop is None else max_drop, target_ops, kind or "cascade")
    if early is not None:
        check_rule(early, ensemble.policy.timesteps or ensemble.encoder.timesteps)


def print_policy(made: QuantEnsemble, promised: Promise | None, dataset: Dataset, output: Path, as_json: bool) -> None:
    """What a calibrated policy does to validation and test samples; `promised`: where it was chosen now."""
    from ..quantize.calibrate import upper_bound
    from ..quantize.guarantee import samples_needed
    from ..quantize.reject import in_words

    if as_json:
        print_json(made.provenance)
        return
    print_table(
        f"{made.name}: {len(dataset.y_val):,} validation and {len(dataset.y_test):,} test samples",
        ["policy", "validation", "test", "students", "operations"],
        [
            [
                told["policy"],
                f"{chose['accuracy']:.2%}",
                f"{told['accuracy']:.2%}",
                f"{told['students_run']:.2f}",
                f"{told['operations']:,.0f}",
            ]
            for chose, told in zip(*(made.provenance["integer"][part] for part in ("validation", "test")), strict=True)
        ],
    )
    guarantee = made.provenance.get("calibration", {}).get("guarantee")
    if promised is not None and guarantee is not None:
        asked, sure = made.provenance["calibration"]["goal"]["max_drop"], guarantee["confidence"]
        print(
            f"promised: at most {asked:g} points of new samples are right or wrong unlike all students, with "
            f"{sure:.4g} confidence ({guarantee['differing']} of {guarantee['samples']:,} tested were); half of that "
            f"takes {samples_needed(asked / 2, sure):,} samples or more to test"
        )
    elif promised is not None:
        bound = upper_bound(round(promised.differing * len(dataset.y_val)), len(dataset.y_val))
        tell(
            f"right or wrong unlike all students: {promised.differing:.2%} of the validation samples, "
            f"with 95 % confidence at most {bound:.2%} of others like them"
        )
    rejection = made.provenance.get("calibration", {}).get("rejection")
    if rejection is not None:
        tell(in_words(rejection))
    print(f"wrote {output} ({output.stat().st_size:,} bytes)")
