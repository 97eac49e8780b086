/* SPDX-License-Identifier: Apache-2.0 */
/* fixed: tables and layer order. Made by sne-edge; fingerprint 2baefca5b45cb1be. Do not edit: export the model again. */
#include "fixed.h"
#include "sne_model.h"
#include "sne_student.h"

/* Compiled with SNE_TRACE, a state keeps all membranes, for verification. */
#ifdef SNE_TRACE
#define SNE_TRACED 1
#define SNE_KEPT(state) ((state)->membranes)
#define SNE_READOUT(state, tile, kept) ((state)->membranes + (kept))
#else
#define SNE_TRACED 0
#define SNE_KEPT(state) NULL
#define SNE_READOUT(state, tile, kept) ((state)->arena + (tile))
#endif

typedef char fixed_assert_state_bytes[sizeof(fixed_state) == FIXED_STATE_BYTES ? 1 : -1];

static const uint16_t SNE_WORD_ALIGNED axis0_start[4] = {
    0, 1, 2, 3
};
static const sne_pair SNE_WORD_ALIGNED axis0[3] = {
{0, 0}, {0, 1}, {0, 2}, 

};
static const uint16_t SNE_WORD_ALIGNED axis1_start[4] = {
    0, 1, 2, 3
};
static const sne_pair SNE_WORD_ALIGNED axis1[3] = {
{0, 0}, {1, 0}, {2, 0}, 

};
static const uint16_t SNE_WORD_ALIGNED axis2_start[2] = {
    0, 4
};
static const sne_pair SNE_WORD_ALIGNED axis2[4] = {
{0, 0}, {1, 0}, {1, 1}, {2, 1}, 

};
static const uint16_t SNE_WORD_ALIGNED axis3_start[7] = {
    0, 1, 2, 3, 4, 5, 6
};
static const sne_pair SNE_WORD_ALIGNED axis3[6] = {
{0, 0}, {0, 0}, {0, 1}, {0, 1}, {0, 2}, {0, 2}, 

};

/* student 0, layer 0: conv2d 3x6x2 -> 3x3x4, kernel 3x2, stride 1x2, padding 1x0 */
static const sne_weight SNE_WORD_ALIGNED s0_l0_weight[48] = {
    SNE_W4(-117, 71, 3, -65), SNE_W4(105, 37, -31, -99), SNE_W4(-80, 108, 40, -28), SNE_W4(-114, 74, 6, -62),
    SNE_W4(-43, -111, 77, 9), SNE_W4(-77, 111, 43, -25), SNE_W4(-6, -74, 114, 46), SNE_W4(-40, -108, 80, 12),
    SNE_W4(31, -37, -105, 83), SNE_W4(-3, -71, 117, 49), SNE_W4(68, 0, -68, 120), SNE_W4(34, -34, -102, 86)
};
static const int16_t SNE_WORD_ALIGNED s0_l0_threshold[4] = {
    40, 90, 150, 32767
};
static const int16_t SNE_WORD_ALIGNED s0_l0_bias[4] = {
    -9, -12, -15, -18
};
static const sne_synapses s0_l0 = {
    s0_l0_weight, {NULL, NULL}, {NULL, NULL}, {1u, 1, 2}, 3, 6, 2, 3, 3, 3, 2, 1, 2, 1, 0, 43};
static const sne_neurons s0_l0_neurons = {
    s0_l0_threshold, s0_l0_bias, -32768, 32767, 4, 4, 2, 16};
/* student 0, layer 1: maxpool 3x3x4 -> 3x4, kernel 3x1, stride 3x1, padding 0x0 */
static const sne_pooling s0_l1 = {
    {axis0_start, axis0}, {axis1_start, axis1}, {1u, 2, 4}, 3, 3, 1, 3};
/* student 0, layer 2: linear 3x4 -> 5 */
static const sne_weight SNE_WORD_ALIGNED s0_l2_weight[96] = {
    SNE_W4(-117, 7, -125, -1), SNE_W4(123, 0, 0, 0), SNE_W4(-64, 60, -72, 52), SNE_W4(-80, 0, 0, 0),
    SNE_W4(-11, 113, -19, 105), SNE_W4(-27, 0, 0, 0), SNE_W4(42, -90, 34, -98), SNE_W4(26, 0, 0, 0),
    SNE_W4(95, -37, 87, -45), SNE_W4(79, 0, 0, 0), SNE_W4(-108, 16, -116, 8), SNE_W4(-124, 0, 0, 0),
    SNE_W4(-55, 69, -63, 61), SNE_W4(-71, 0, 0, 0), SNE_W4(-2, 122, -10, 114), SNE_W4(-18, 0, 0, 0),
    SNE_W4(51, -81, 43, -89), SNE_W4(35, 0, 0, 0), SNE_W4(104, -28, 96, -36), SNE_W4(88, 0, 0, 0),
    SNE_W4(-99, 25, -107, 17), SNE_W4(-115, 0, 0, 0), SNE_W4(-46, 78, -54, 70), SNE_W4(-62, 0, 0, 0)
};
static const int16_t SNE_WORD_ALIGNED s0_l2_threshold[8] = {
    60, 60, 60, 60, 60, 32767, 32767, 32767
};
static const int16_t SNE_WORD_ALIGNED s0_l2_bias[8] = {
    -4, 3, 10, -13, -6, 0, 0, 0
};
static const sne_synapses s0_l2 = {
    s0_l2_weight, {NULL, NULL}, {NULL, NULL}, {1u, 2, 4}, 1, 1, 12, 1, 1, 1, 1, 1, 1, 0, 0, 43};
static const sne_neurons s0_l2_neurons = {
    s0_l2_threshold, s0_l2_bias, -500, 500, 5, 8, 28000, 16};
/* student 0, layer 3: linear 5 -> 3 */
static const sne_weight SNE_WORD_ALIGNED s0_l3_weight[20] = {
    SNE_W4(-117, -108, -99, 0), SNE_W4(-64, -55, -46, 0), SNE_W4(-11, -2, 7, 0), SNE_W4(42, 51, 60, 0),
    SNE_W4(95, 104, 113, 0)
};
static const int16_t SNE_WORD_ALIGNED s0_l3_threshold[4] = {
    0, 0, 0, 32767
};
static const int16_t SNE_WORD_ALIGNED s0_l3_bias[4] = {
    -4, 3, 10, 0
};
static const sne_synapses s0_l3 = {
    s0_l3_weight, {NULL, NULL}, {NULL, NULL}, {7u, 5, 5}, 1, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 36};
static const sne_neurons s0_l3_neurons = {
    s0_l3_threshold, s0_l3_bias, -32768, 32767, 3, 4, 30000, 16};
static const int32_t SNE_WORD_ALIGNED s0_gain[3] = {
    1, 2, 3
};
static const int32_t SNE_WORD_ALIGNED s0_bias[3] = {
    1, -2, -5
};

/* student 1, layer 1: avgpool 3x6x2 -> 2x3x2, kernel 2x2, stride 1x2, padding 0x0, linear 2x3x2 -> 6 */
static const sne_weight SNE_WORD_ALIGNED s1_l1_weight[96] = {
    SNE_W4(-117, 7, -125, -1), SNE_W4(123, -9, 0, 0), SNE_W4(-64, 60, -72, 52), SNE_W4(-80, 44, 0, 0),
    SNE_W4(-11, 113, -19, 105), SNE_W4(-27, 97, 0, 0), SNE_W4(42, -90, 34, -98), SNE_W4(26, -106, 0, 0),
    SNE_W4(95, -37, 87, -45), SNE_W4(79, -53, 0, 0), SNE_W4(-108, 16, -116, 8), SNE_W4(-124, 0, 0, 0),
    SNE_W4(-55, 69, -63, 61), SNE_W4(-71, 53, 0, 0), SNE_W4(-2, 122, -10, 114), SNE_W4(-18, 106, 0, 0),
    SNE_W4(51, -81, 43, -89), SNE_W4(35, -97, 0, 0), SNE_W4(104, -28, 96, -36), SNE_W4(88, -44, 0, 0),
    SNE_W4(-99, 25, -107, 17), SNE_W4(-115, 9, 0, 0), SNE_W4(-46, 78, -54, 70), SNE_W4(-62, 62, 0, 0)
};
static const int32_t SNE_WORD_ALIGNED s1_l1_threshold[8] = {
    30060, 30060, 30060, 30060, 30060, 30060, 2147483647, 2147483647
};
static const int32_t SNE_WORD_ALIGNED s1_l1_bias[8] = {
    29996, 30003, 30010, 29987, 29994, 30001, 0, 0
};
static const sne_synapses s1_l1 = {
    s1_l1_weight, {axis2_start, axis2}, {axis3_start, axis3}, {1u, 1, 2}, 3, 6, 2, 1, 1, 2, 3, 1, 1, 0, 0, 43};
static const sne_neurons s1_l1_neurons = {
    s1_l1_threshold, s1_l1_bias, (-2147483647 - 1), 2147483647, 6, 8, 0, 32};
/* student 1, layer 2: linear 6 -> 3 */
static const sne_weight SNE_WORD_ALIGNED s1_l2_weight[24] = {
    SNE_W4(-117, -55, 7, 0), SNE_W4(-64, -2, 60, 0), SNE_W4(-11, 51, 113, 0), SNE_W4(42, 104, -90, 0),
    SNE_W4(95, -99, -37, 0), SNE_W4(-108, -46, 16, 0)
};
static const int16_t SNE_WORD_ALIGNED s1_l2_threshold[4] = {
    0, 0, 0, 32767
};
static const int16_t SNE_WORD_ALIGNED s1_l2_bias[4] = {
    -4, 3, 10, 0
};
static const sne_synapses s1_l2 = {
    s1_l2_weight, {NULL, NULL}, {NULL, NULL}, {3u, 4, 6}, 1, 1, 6, 1, 1, 1, 1, 1, 1, 0, 0, 37};
static const sne_neurons s1_l2_neurons = {
    s1_l2_threshold, s1_l2_bias, -32768, 32767, 3, 4, 30000, 16};
static const int32_t SNE_WORD_ALIGNED s1_gain[3] = {
    1, 2, 3
};
static const int32_t SNE_WORD_ALIGNED s1_bias[3] = {
    1, -2, -5
};

/* The kernels this model uses. */
SNE_OUTLINE size_t layer_collect_i32_none_delayed_fire(const sne_neurons *neurons, void *v, const void *drive, size_t positions, uint32_t *bits, size_t first)
{
    return sne_fire(neurons, v, drive, positions, bits, first, 32, SNE_DECAY_NONE, neurons->decay, SNE_RESET_DELAYED, 0, sne_turned(SNE_COLLECT, 8, 32, SNE_DECAY_NONE, neurons->decay, SNE_RESET_DELAYED, 0));
}

static uint32_t layer_collect_i32_none_delayed(const void *layer, const sne_neurons *neurons, const sne_job *job, sne_cost *cost)
{
    const sne_kind kind = {SNE_COLLECT, 8, 32, SNE_DECAY_NONE, neurons->decay, SNE_RESET_DELAYED, 0};
    return sne_layer((const sne_synapses *)layer, neurons, job, cost, layer_collect_i32_none_delayed_fire, kind);
}
SNE_OUTLINE size_t layer_gather_i16_q15_zero_clamp_fire(const sne_neurons *neurons, void *v, const void *drive, size_t positions, uint32_t *bits, size_t first)
{
    return sne_fire(neurons, v, drive, positions, bits, first, 16, SNE_DECAY_Q15, neurons->decay, SNE_RESET_ZERO, 1, sne_turned(SNE_GATHER, 8, 16, SNE_DECAY_Q15, neurons->decay, SNE_RESET_ZERO, 1));
}

static uint32_t layer_gather_i16_q15_zero_clamp(const void *layer, const sne_neurons *neurons, const sne_job *job, sne_cost *cost)
{
    const sne_kind kind = {SNE_GATHER, 8, 16, SNE_DECAY_Q15, neurons->decay, SNE_RESET_ZERO, 1};
    return sne_layer((const sne_synapses *)layer, neurons, job, cost, layer_gather_i16_q15_zero_clamp_fire, kind);
}
SNE_OUTLINE size_t layer_gather_i16_shift_2_subtract_fire(const sne_neurons *neurons, void *v, const void *drive, size_t positions, uint32_t *bits, size_t first)
{
    return sne_fire(neurons, v, drive, positions, bits, first, 16, SNE_DECAY_SHIFT, 2, SNE_RESET_SUBTRACT, 0, sne_turned(SNE_GATHER, 8, 16, SNE_DECAY_SHIFT, 2, SNE_RESET_SUBTRACT, 0));
}

static uint32_t layer_gather_i16_shift_2_subtract(const void *layer, const sne_neurons *neurons, const sne_job *job, sne_cost *cost)
{
    const sne_kind kind = {SNE_GATHER, 8, 16, SNE_DECAY_SHIFT, 2, SNE_RESET_SUBTRACT, 0};
    return sne_layer((const sne_synapses *)layer, neurons, job, cost, layer_gather_i16_shift_2_subtract_fire, kind);
}
static uint32_t layer_gather_readout_i16_q15(const void *layer, const sne_neurons *neurons, const sne_job *job, sne_cost *cost)
{
    const sne_kind kind = {SNE_GATHER, 8, 16, SNE_DECAY_Q15, neurons->decay, SNE_RESET_SUBTRACT, 0};
    return sne_layer((const sne_synapses *)layer, neurons, job, cost, NULL, kind);
}
static uint32_t layer_maxpool(const void *layer, const sne_neurons *neurons, const sne_job *job, sne_cost *cost)
{
    (void)neurons;
    (void)cost;
    sne_maxpool((const sne_pooling *)layer, job);
    return 0;
}

static const sne_stage s0_stages[4] = {
    {layer_gather_i16_shift_2_subtract, &s0_l0, &s0_l0_neurons, 0, 54, 6, 8, 8, 0, 0},
    {layer_maxpool, &s0_l1, NULL, 54, 0, 3, 3, 3, 18, -1},
    {layer_gather_i16_q15_zero_clamp, &s0_l2, &s0_l2_neurons, 0, 57, 3, 7, 7, 18, 1},
    {layer_gather_readout_i16_q15, &s0_l3, &s0_l3_neurons, 57, 0, 0, 2, 2, 22, -1},
};

static const sne_stage s1_stages[2] = {
    {layer_collect_i32_none_delayed, &s1_l1, &s1_l1_neurons, 0, 57, 6, 14, 14, 24, 2},
    {layer_gather_readout_i16_q15, &s1_l2, &s1_l2_neurons, 57, 0, 0, 2, 2, 32, -1},
};

static const sne_layers layers[2] = {
    {s0_stages, 4, 44},
    {s1_stages, 2, 9},
};

static void run_layers(const sne_layers *student, const void *input, fixed_state *s, uint32_t timesteps, sne_cost *cost)
{
    sne_run_layers(student, input, s->arena, SNE_KEPT(s), s->spikes, timesteps, cost);
}

static void student_0_head(const uint32_t *readout, int32_t *logits)
{
    sne_head(logits, readout, s0_gain, s0_bias, 3, 16);
}

static void student_0_run(void *state, const void *input, uint32_t timesteps, int32_t *logits, sne_cost *cost)
{
    fixed_state *s = (fixed_state *)state;
    sne_rate_encode((const int8_t *)input, 36, 7u, timesteps, s->arena + 0);
    input = NULL;
    run_layers(&layers[0], input, s, timesteps, cost);
    student_0_head(SNE_READOUT(s, 0, 22), logits);
}

static void student_1_head(const uint32_t *readout, int32_t *logits)
{
    sne_head(logits, readout, s1_gain, s1_bias, 3, 16);
}

static void student_1_run(void *state, const void *input, uint32_t timesteps, int32_t *logits, sne_cost *cost)
{
    fixed_state *s = (fixed_state *)state;
    sne_rate_encode((const int8_t *)input, 36, 7u, timesteps, s->arena + 0);
    input = NULL;
    run_layers(&layers[1], input, s, timesteps, cost);
    student_1_head(SNE_READOUT(s, 0, 32), logits);
}

static const sne_student students[2] = {
    {student_0_run, NULL, 400u},
    {student_1_run, NULL, 400u},
};
static const uint8_t SNE_WORD_ALIGNED order[2] = {
    1, 0
};
static const int32_t SNE_WORD_ALIGNED bias[3] = {
    5, -5, 0
};
static const int32_t SNE_WORD_ALIGNED margins[1] = {
    40
};
static const sne_policy policy = {
    SNE_POLICY_CASCADE, 0, 0u, 0u, 0, margins, NULL};

static const char SNE_WORD_ALIGNED model_name[6] = "fixed";

const sne_model fixed_model = {
    model_name,
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
    NULL,
    &policy,
    NULL,
    NULL,
    SNE_TRACED};

const sne_layer_info fixed_layers[5] = {
    {0, 0, 36, 4, 16, 1, 24},
    {0, 2, 5, 5, 16, 1, 96},
    {0, 3, 3, 3, 16, 0, 112},
    {1, 1, 6, 6, 32, 1, 120},
    {1, 2, 3, 3, 16, 0, 152},
};

sne_status fixed_run(fixed_state *state, const int8_t *input, const sne_policy *p, sne_result *result)
{
    return sne_run(&fixed_model, state, input, p, result);
}
