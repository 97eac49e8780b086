"""The log-mel front end once more, in plain Python loops, from the docstrings of `LogMel` and `log2` alone.

It takes only the tables from `LogMel`, and asserts at every step that 32 bits are enough.
"""

from __future__ import annotations

from sne_edge.ir.frontend import LogMel, log_table


def apply(config: LogMel, samples: list[int]) -> list[list[int]]:
    """What one recording becomes: [frames][bands]."""
    padded = (samples + [0] * config.samples)[: config.samples]
    starts = [frame * config.hop for frame in range(config.frames)]
    return [_frame(config, padded[start : start + config.window]) for start in starts]


def _frame(config: LogMel, s: list[int]) -> list[int]:
    count = config.window
    hann = [int(config.hann[min(n, count - n)]) for n in range(count)]
    y = [0] + [_fit(32 * s[n] - config.preemphasis * s[n - 1]) for n in range(1, count)]
    bits = _bits(y)
    y = [_round(value, bits - 15) if bits > 15 else value << (15 - bits) for value in y]
    x = [_round(_fit(y[n] * hann[n]), 15) for n in range(count)]
    exponent = bits - 20
    z, exponent = _fft(config, [[x[2 * n], x[2 * n + 1]] for n in range(count // 2)], exponent)
    z, exponent = _scaled(z, 14, exponent)
    energy = _bands(config, [_power(config, z, k) for k in range(count // 2 + 1)])
    out = []
    for total in energy:
        level = max(_log2(total) + 512 * exponent - 2048, -8192)
        assert level < 2**14
        out.append(max(-127, min(127, _round(_fit((level - config.offset) * config.gain), 16))))
    return out


def _fft(config: LogMel, z: list[list[int]], exponent: int) -> tuple[list[list[int]], int]:
    points = len(z)
    width = points.bit_length() - 1
    z = [z[int(format(n, f"0{width}b")[::-1], 2)] for n in range(points)]
    for stage in range(width):
        z, exponent = _scaled(z, 15, exponent)
        span = 1 << stage
        for block in range(0, points, 2 * span):
            for j in range(span):
                a, b = z[block + j], z[block + j + span]
                c, s = _twiddle(config, j * points // span)
                t = [_round(_fit(b[0] * c + b[1] * s), 15), _round(_fit(b[1] * c - b[0] * s), 15)]
                z[block + j], z[block + j + span] = [a[0] + t[0], a[1] + t[1]], [a[0] - t[0], a[1] - t[1]]
    return z, exponent


def _power(config: LogMel, z: list[list[int]], k: int) -> int:
    points = len(z)
    u, v = z[k % points], z[(points - k) % points]
    d = u[0] - v[0], u[1] + v[1]
    c, s = _twiddle(config, k)
    p = _round(_fit(d[0] * c + d[1] * s), 15), _round(_fit(d[1] * c - d[0] * s), 15)
    re, im = _round(u[0] + v[0] + p[1], 1), _round(u[1] - v[1] - p[0], 1)
    power = _fit(re * re) + _fit(im * im)
    assert power < 2**32
    return power


def _bands(config: LogMel, power: list[int]) -> list[int]:
    energy = [0] * config.bands
    first = int(config.edges[0])
    for segment in range(config.bands + 1):
        for k in range(int(config.edges[segment]), int(config.edges[segment + 1])):
            rise = int(config.rise[k - first])
            if segment < config.bands:
                energy[segment] += rise * power[k]
            if segment > 0:
                energy[segment - 1] += (256 - rise) * power[k]
    return energy


def _log2(value: int) -> int:
    if value == 0:
        return -256
    position = value.bit_length() - 1
    part = (value << 16 >> position) & 0xFFFF
    low, high = (int(log_table()[(part >> 11) + i]) for i in (0, 1))
    return 256 * position + _round(low + _round((high - low) * (part & 2047), 11), 7)


def _twiddle(config: LogMel, n: int) -> tuple[int, int]:
    """cos and sin of 2 pi n / window, n = 0 .. window / 2."""
    quarter = config.window // 4
    sine = [int(value) for value in config.sine]
    return (sine[quarter - n], sine[n]) if n <= quarter else (-sine[n - quarter], sine[2 * quarter - n])


def _scaled(z: list[list[int]], bits: int, exponent: int) -> tuple[list[list[int]], int]:
    shift = max(0, _bits([part for value in z for part in value]) - bits)
    return [[_round(part, shift) for part in value] for value in z], exponent + shift


def _bits(values: list[int]) -> int:
    return max((value if value >= 0 else ~value).bit_length() for value in values)


def _round(value: int, shift: int) -> int:
    return _fit(value + ((1 << shift) >> 1)) >> shift


def _fit(value: int) -> int:
    assert -(2**31) <= value < 2**31
    return value
