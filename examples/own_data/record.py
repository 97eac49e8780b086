"""Data of one's own: six axes of a motion sensor over 64 timesteps, as a lab would write them into one file.

Writes `motion.npz`. The array `layout` says which axis is which, so that nothing is asked; `classes` has the names.
"""

from __future__ import annotations

import numpy as np

NAMES = ("still", "walk", "turn")
STEPS, AXES = 64, 6


def recorded(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Samples float32 [N, STEPS, AXES]: stands for what your sensor says."""
    t = np.arange(STEPS)[None, :, None]
    phase, speed = rng.uniform(0, 6.28, (len(labels), 1, 1)), rng.uniform(0.8, 1.2, (len(labels), 1, 1))
    walk = np.sin(2 * np.pi * t / 16 * speed + phase) * np.array([1.0, 0.2, 1.6, 0.1, 0.3, 0.1])
    turn = np.sin(2 * np.pi * t / 40 * speed + phase) * np.array([0.2, 0.2, 0.1, 0.3, 0.2, 1.8])
    clean = np.choose(labels[:, None, None], [np.zeros_like(walk), walk, turn])
    return (clean + rng.normal(0, 0.35, clean.shape)).astype(np.float32)


def main() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, len(NAMES), 900)
    x = recorded(y, rng)
    np.savez(
        "motion.npz", x_train=x[:700], y_train=y[:700], x_test=x[700:], y_test=y[700:], layout="NLC", classes=NAMES
    )


if __name__ == "__main__":
    main()
