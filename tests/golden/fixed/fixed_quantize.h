/* SPDX-License-Identifier: Apache-2.0 */
/* fixed: real values as the model's input, as Python's `encoder.encode` makes it. Made by sne-edge; fingerprint 2baefca5b45cb1be.
 *
 * q = (x - -1.0) / 0.5, rounded to the nearest integer, of two as near ones to the even one, and limited to
 * -128 .. 127. This needs double arithmetic; the library itself has no floating point, and sees nothing of this header. */
#ifndef FIXED_QUANTIZE_H
#define FIXED_QUANTIZE_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>

#include "sne.h"

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast" /* this is C */
#endif

#if DBL_MANT_DIG != 53 || FLT_EVAL_METHOD == 2 || FLT_EVAL_METHOD < 0 || defined(__FAST_MATH__)
#error "fixed_quantize.h needs doubles of 64 bits, calculated as such, to round as Python does"
#endif
/* Fails where constants are floats, as -fsingle-precision-constant makes them: build what includes this without that. */
typedef char fixed_constants_are_doubles[sizeof(0.1) == sizeof(double) ? 1 : -1];

/* One value, which is finite. */
static inline int8_t fixed_quantized(double x)
{
    const double q = (x - -1.0) / 0.5;
    int32_t whole;
    double rest;
    if (q >= 127.0) {
        return 127;
    }
    if (q <= -128.0) {
        return -128;
    }
    whole = (int32_t)q; /* towards 0 */
    rest = q - (double)whole;
    if (rest > 0.5 || (rest == 0.5 && whole % 2 != 0)) {
        whole++;
    } else if (rest < -0.5 || (rest == -0.5 && whole % 2 != 0)) {
        whole--;
    }
    return (int8_t)whole;
}

/* `n` values, channel last: SNE_OK, or SNE_E_ARGUMENT where a pointer is null or a value is infinite or no number; `input` is then
 * as it was. */
SNE_CHECKED static inline sne_status fixed_quantize(const float *values, size_t n, int8_t *input)
{
    size_t i;
    if (!values || !input) {
        return SNE_E_ARGUMENT;
    }
    for (i = 0; i < n; i++) {
        if (!(values[i] >= -FLT_MAX && values[i] <= FLT_MAX)) {
            return SNE_E_ARGUMENT;
        }
    }
    for (i = 0; i < n; i++) {
        input[i] = fixed_quantized((double)values[i]);
    }
    return SNE_OK;
}

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#endif
