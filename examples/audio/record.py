"""Writes `recording.h`, what a microphone would say: digits, and the quiet between them.

The digits are the two recordings that the shipped model carries; yours come from an ADC or a PDM microphone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sne_edge import load

RATE, PAUSE = 8000, 0.8  # samples and seconds


def main() -> None:
    model = load("fsdd")
    rng = np.random.default_rng(0)
    pieces, spoken = [], []
    for recording, logits in zip(model.audio, model.vectors.logits, strict=False):
        pieces += [rng.normal(0, 3, int(PAUSE * RATE)), recording]
        spoken.append(int(logits.argmax()))
    samples = np.rint(np.concatenate([*pieces, rng.normal(0, 3, int(PAUSE * RATE))])).astype(np.int16)
    rows = ",\n    ".join(", ".join(map(str, row)) for row in np.array_split(samples, len(samples) // 20))
    Path("recording.h").write_text(
        "/* Digits and quiet. Made by record.py. */\n"
        f"static const int32_t spoken[] = {{{', '.join(map(str, spoken))}}};\n\n"
        f"static const int16_t recording[{len(samples)}] = {{\n    {rows}}};\n"
    )


if __name__ == "__main__":
    main()
