/* fixed: tables and layer order. Made by sne-edge; fingerprint 2baefca5b45cb1be. Do not edit: export the model again. */
#include "fixed.h"
#include "sne_kernels.h"

typedef char fixed_assert_state_bytes[sizeof(fixed_state) == FIXED_STATE_BYTES ? 1 : -1];

static const sne_span spans0[3] = {
{0, 2, 1}, {0, 3, 0}, {1, 2, 0}
};
static const sne_span spans1[6] = {
{0, 1, 0}, {0, 1, 1}, {1, 1, 0}, {1, 1, 1}, {2, 1, 0}, {2, 1, 1}
};
static const sne_span spans2[3] = {
{0, 1, 0}, {0, 1, 1}, {0, 1, 2}
};
static const sne_span spans3[3] = {
{0, 1, 0}, {1, 1, 0}, {2, 1, 0}
};
static const sne_span spans4[3] = {
{0, 1, 1}, {0, 2, 0}, {1, 1, 0}
};

/* student 0, layer 0: conv2d 3x6x2 -> 3x3x4, kernel 3x2, stride 1x2, padding 1x0 */
static const int8_t SNE_WORD_ALIGNED s0_l0_weight[48] = {
    31, -37, -105, 83, 68, 0, -68, 120, -43, -111, 77, 9, -6, -74, 114, 46,
    -117, 71, 3, -65, -80, 108, 40, -28, -3, -71, 117, 49, 34, -34, -102, 86,
    -77, 111, 43, -25, -40, -108, 80, 12, 105, 37, -31, -99, -114, 74, 6, -62
};
static const int16_t s0_l0_threshold[4] = {
    40, 90, 150, 32767
};
static const int16_t s0_l0_bias[4] = {
    -9, -12, -15, -18
};
static const sne_conv s0_l0 = {
    {spans0, spans1, {1u, 1, 2}, {11u, 6, 6}, 36, 3}, s0_l0_weight, 4, 3, 2};
static const sne_neurons s0_l0_neurons = {
    s0_l0_threshold, s0_l0_bias, -32768, 32767, 9, 4, 2};
/* student 0, layer 1: maxpool 3x3x4 -> 3x4, kernel 3x1, stride 3x1, padding 0x0 */
static const sne_window s0_l1 = {spans2, spans3, {1u, 2, 4}, {11u, 5, 3}, 36, 3};
/* student 0, layer 2: linear 3x4 -> 5 */
static const int8_t SNE_WORD_ALIGNED s0_l2_weight[60] = {
    -117, 7, -125, -1, 123, -64, 60, -72, 52, -80, -11, 113, -19, 105, -27, 42,
    -90, 34, -98, 26, 95, -37, 87, -45, 79, -108, 16, -116, 8, -124, -55, 69,
    -63, 61, -71, -2, 122, -10, 114, -18, 51, -81, 43, -89, 35, 104, -28, 96,
    -36, 88, -99, 25, -107, 17, -115, -46, 78, -54, 70, -62
};
static const int16_t s0_l2_threshold[5] = {
    60, 60, 60, 60, 60
};
static const int16_t s0_l2_bias[5] = {
    -4, 3, 10, -13, -6
};
static const sne_linear s0_l2 = {s0_l2_weight, 12, 5};
static const sne_neurons s0_l2_neurons = {
    s0_l2_threshold, s0_l2_bias, -500, 500, 1, 5, 28000};
/* student 0, layer 3: linear 5 -> 3 */
static const int8_t SNE_WORD_ALIGNED s0_l3_weight[15] = {
    -117, -108, -99, -64, -55, -46, -11, -2, 7, 42, 51, 60, 95, 104, 113
};
static const int16_t s0_l3_threshold[3] = {
    0, 0, 0
};
static const int16_t s0_l3_bias[3] = {
    -4, 3, 10
};
static const sne_linear s0_l3 = {s0_l3_weight, 5, 3};
static const sne_neurons s0_l3_neurons = {
    s0_l3_threshold, s0_l3_bias, -32768, 32767, 1, 3, 30000};
static const int32_t s0_gain[3] = {
    1, 2, 3
};
static const int32_t s0_bias[3] = {
    1, -2, -5
};

/* student 1, layer 0: avgpool 3x6x2 -> 2x3x2, kernel 2x2, stride 1x2, padding 0x0 */
static const sne_window s1_l0 = {spans4, spans1, {1u, 1, 2}, {11u, 6, 6}, 36, 3};
/* student 1, layer 1: linear 2x3x2 -> 6 */
static const int8_t SNE_WORD_ALIGNED s1_l1_weight[72] = {
    -117, 7, -125, -1, 123, -9, -64, 60, -72, 52, -80, 44, -11, 113, -19, 105,
    -27, 97, 42, -90, 34, -98, 26, -106, 95, -37, 87, -45, 79, -53, -108, 16,
    -116, 8, -124, 0, -55, 69, -63, 61, -71, 53, -2, 122, -10, 114, -18, 106,
    51, -81, 43, -89, 35, -97, 104, -28, 96, -36, 88, -44, -99, 25, -107, 17,
    -115, 9, -46, 78, -54, 70, -62, 62
};
static const int32_t s1_l1_threshold[6] = {
    30060, 30060, 30060, 30060, 30060, 30060
};
static const int32_t s1_l1_bias[6] = {
    29996, 30003, 30010, 29987, 29994, 30001
};
static const sne_linear s1_l1 = {s1_l1_weight, 12, 6};
static const sne_neurons s1_l1_neurons = {
    s1_l1_threshold, s1_l1_bias, (-2147483647 - 1), 2147483647, 1, 6, 0};
/* student 1, layer 2: linear 6 -> 3 */
static const int8_t SNE_WORD_ALIGNED s1_l2_weight[18] = {
    -117, -55, 7, -64, -2, 60, -11, 51, 113, 42, 104, -90, 95, -99, -37, -108,
    -46, 16
};
static const int16_t s1_l2_threshold[3] = {
    0, 0, 0
};
static const int16_t s1_l2_bias[3] = {
    -4, 3, 10
};
static const sne_linear s1_l2 = {s1_l2_weight, 6, 3};
static const sne_neurons s1_l2_neurons = {
    s1_l2_threshold, s1_l2_bias, -32768, 32767, 1, 3, 30000};
static const int32_t s1_gain[3] = {
    1, 2, 3
};
static const int32_t s1_bias[3] = {
    1, -2, -5
};

/* The kernels this model uses. */
static void charge_i16(const sne_neurons *p, void *v, const void *current)
{
    sne_charge_fresh(p, v, current, 16);
}
static void charge_i32(const sne_neurons *p, void *v, const void *current)
{
    sne_charge_fresh(p, v, current, 32);
}
static size_t fire_i16_q15_zero_clamp(const sne_neurons *p, void *v, const void *current, uint16_t *events)
{
    return sne_fire(p, v, current, events, 16, SNE_DECAY_Q15, p->decay, SNE_RESET_ZERO, 1);
}
static size_t fire_i16_shift_2_subtract(const sne_neurons *p, void *v, const void *current, uint16_t *events)
{
    return sne_fire(p, v, current, events, 16, SNE_DECAY_SHIFT, 2, SNE_RESET_SUBTRACT, 0);
}
static size_t fire_i32_none_delayed(const sne_neurons *p, void *v, const void *current, uint16_t *events)
{
    return sne_fire(p, v, current, events, 32, SNE_DECAY_NONE, p->decay, SNE_RESET_DELAYED, 0);
}
static void leak_i16_q15(const sne_neurons *p, void *v, const void *current)
{
    sne_leak(p, v, current, 16, SNE_DECAY_Q15, p->decay);
}
static uint32_t conv_add_i16(const sne_conv *p, void *v, const uint16_t *events, size_t n)
{
    return sne_conv_add(p, v, events, n, 16);
}
static uint32_t linear_add_i16(const sne_linear *p, void *v, const uint16_t *events, size_t n)
{
    return sne_linear_add(p, v, events, n, 16);
}
static uint32_t linear_add_i32(const sne_linear *p, void *v, const uint16_t *events, size_t n)
{
    return sne_linear_add(p, v, events, n, 32);
}

static void student_0_reset(fixed_state *s)
{
    charge_i16(&s0_l0_neurons, s->students.s0.v0, NULL);
    charge_i16(&s0_l2_neurons, s->students.s0.v2, NULL);
    {
        size_t c;
        for (c = 0; c < 3; c++) {
            s->students.s0.v3[c] = 0;
        }
    }
}

static void student_0_step(fixed_state *s, const uint16_t *input, size_t n, sne_cost *cost)
{
    cost->synaptic_ops += conv_add_i16(&s0_l0, s->students.s0.v0, input, n);
    n = fire_i16_shift_2_subtract(&s0_l0_neurons, s->students.s0.v0, NULL, s->events);
    s->spikes[0] += (uint32_t)n;
    n = sne_maxpool(&s0_l1, s->events, n, s->pooled, s->seen, 2);
    cost->synaptic_ops += linear_add_i16(&s0_l2, s->students.s0.v2, s->pooled, n);
    n = fire_i16_q15_zero_clamp(&s0_l2_neurons, s->students.s0.v2, NULL, s->events);
    s->spikes[1] += (uint32_t)n;
    leak_i16_q15(&s0_l3_neurons, s->students.s0.v3, NULL);
    cost->synaptic_ops += linear_add_i16(&s0_l3, s->students.s0.v3, s->events, n);
    cost->neuron_updates += 44;
}

static void student_0_head(fixed_state *s, int32_t *logits)
{
    sne_head(logits, s->students.s0.v3, s0_gain, s0_bias, 3, 16);
}

static void student_0_run(void *state, const void *input, uint32_t timesteps, int32_t *logits, sne_cost *cost)
{
    fixed_state *s = (fixed_state *)state;
    uint32_t t;
    student_0_reset(s);
    for (t = 0; t < timesteps; t++) {
        const size_t n = sne_rate_events((const int8_t *)input, 36, 7u, t, s->events);
        student_0_step(s, s->events, n, cost);
    }
    student_0_head(s, logits);
}

static void student_1_reset(fixed_state *s)
{
    charge_i32(&s1_l1_neurons, s->students.s1.v1, NULL);
    {
        size_t c;
        for (c = 0; c < 3; c++) {
            s->students.s1.v2[c] = 0;
        }
    }
}

static void student_1_step(fixed_state *s, const uint16_t *input, size_t n, sne_cost *cost)
{
    n = sne_avgpool(&s1_l0, input, n, s->pooled);
    cost->synaptic_ops += linear_add_i32(&s1_l1, s->students.s1.v1, s->pooled, n);
    n = fire_i32_none_delayed(&s1_l1_neurons, s->students.s1.v1, NULL, s->events);
    s->spikes[2] += (uint32_t)n;
    leak_i16_q15(&s1_l2_neurons, s->students.s1.v2, NULL);
    cost->synaptic_ops += linear_add_i16(&s1_l2, s->students.s1.v2, s->events, n);
    cost->neuron_updates += 9;
}

static void student_1_head(fixed_state *s, int32_t *logits)
{
    sne_head(logits, s->students.s1.v2, s1_gain, s1_bias, 3, 16);
}

static void student_1_run(void *state, const void *input, uint32_t timesteps, int32_t *logits, sne_cost *cost)
{
    fixed_state *s = (fixed_state *)state;
    uint32_t t;
    student_1_reset(s);
    for (t = 0; t < timesteps; t++) {
        const size_t n = sne_rate_events((const int8_t *)input, 36, 7u, t, s->events);
        student_1_step(s, s->events, n, cost);
    }
    student_1_head(s, logits);
}

static const sne_student students[2] = {
    {student_0_run, 400u},
    {student_1_run, 400u},
};
static const uint8_t order[2] = {
    1, 0
};
static const int32_t bias[3] = {
    5, -5, 0
};
static const int32_t margins[1] = {
    40
};
static const sne_policy policy = {
    SNE_POLICY_CASCADE, 0, 0u, 0u, 0, margins};

const sne_model fixed_model = {
    "fixed",
    {43, 174, 252, 165, 180, 92, 177, 190},
    FIXED_INPUT_BYTES,
    FIXED_STATE_BYTES,
    FIXED_N_INPUTS,
    FIXED_N_CLASSES,
    FIXED_N_STUDENTS,
    3,
    FIXED_TIMESTEPS,
    5,
    students,
    order,
    bias,
    margins,
    &policy,
    NULL};

const sne_layer_info fixed_layers[5] = {
    {0, 0, 36, 16, 1, 24},
    {0, 2, 5, 16, 1, 96},
    {0, 3, 3, 16, 0, 106},
    {1, 1, 6, 32, 1, 24},
    {1, 2, 3, 16, 0, 48},
};

sne_status fixed_run(fixed_state *state, const int8_t *input, const sne_policy *p, sne_result *result)
{
    return sne_run(&fixed_model, state, input, p, result);
}
