/* The activation scheduler: which students wake for an input, and when to stop.
 * sne_edge/ir/schedule.py takes the same decisions. */
#include "sne_model.h"

/* Fill in label and margin; return the class of the second highest logit, the lowest such class on a tie. Comments that start
 * with @ are contracts, which tests/proofs proves. */
/*@ requires 1 <= n <= 65535;
    requires \valid_read(logits + (0 .. n - 1)) && \valid(result) && \separated(logits + (0 .. n - 1), result);
    requires \forall integer i, j; 0 <= i < n && 0 <= j < n ==> logits[i] - logits[j] <= 2147483647;
    assigns result->label, result->margin;
    ensures 0 <= \result < n && result->label < n && (n > 1 ==> \result != result->label) && result->margin >= 0;
    ensures \forall integer i; 0 <= i < n ==> logits[i] <= logits[result->label];
    ensures \forall integer i; 0 <= i < n && i != result->label ==> logits[i] <= logits[\result];
    ensures result->margin == logits[result->label] - logits[\result]; */
static size_t decide(const int32_t *logits, size_t n, sne_result *result)
{
    size_t c, best = 0, second = 0; /* equal: none yet */
    /*@ loop invariant 1 <= c <= n && 0 <= best < c && 0 <= second < c && (second == best ==> c == 1);
        loop invariant \forall integer i; 0 <= i < c ==> logits[i] <= logits[best];
        loop invariant \forall integer i; 0 <= i < c && i != best ==> logits[i] <= logits[second];
        loop assigns c, best, second;
        loop variant n - c; */
    for (c = 1; c < n; c++) {
        if (logits[c] > logits[best]) {
            second = best;
            best = c;
        } else if (second == best || logits[c] > logits[second]) {
            second = c;
        }
    }
    result->label = (uint32_t)best;
    result->margin = logits[best] - logits[second];
    return second;
}

void sne_decide(const int32_t *logits, size_t n, sne_result *result)
{
    (void)decide(logits, n, result);
}

void sne_reject(const sne_rejection *rejection, const int32_t *logits, size_t n, const uint32_t *spikes, size_t layers,
                sne_result *result)
{
    int32_t lowest = logits[0], highest = logits[0];
    uint32_t fired = 0;
    size_t i;
    for (i = 1; i < n; i++) {
        lowest = logits[i] < lowest ? logits[i] : lowest;
        highest = logits[i] > highest ? logits[i] : highest;
    }
    for (i = 0; spikes && i < layers; i++) {
        fired += spikes[i];
    }
    if (result->margin < rejection->margin ||
        (int64_t)result->margin * 32768 < (int64_t)rejection->ratio * (highest - lowest) ||
        (spikes && (fired < (uint64_t)rejection->least * result->students_run ||
                    fired > (uint64_t)rejection->most * result->students_run))) {
        result->label = SNE_NONE;
    }
}

/* The student that the route of two classes names first of those that have not run; there is one. */
static uint32_t next_student(const sne_model *model, size_t one, size_t other, uint32_t active)
{
    const size_t high = one > other ? one : other, low = one > other ? other : one;
    const uint8_t *route = model->routes + ((uint32_t)high * (high - 1u) / 2u + low) * model->n_students;
    while (active >> *route & 1u) {
        route++;
    }
    return *route;
}

/*@ requires events == \null || \valid_read(events + (0 .. n - 1));
    assigns \nothing;
    ensures \result == SNE_OK ==>
            (\forall integer i; 0 <= i < n ==> events[i] < inputs && (i > 0 ==> events[i - 1] < events[i])); */
sne_status sne_check_events(const uint16_t *events, size_t n, size_t inputs)
{
    size_t i;
    if (!events && n) {
        return SNE_E_ARGUMENT;
    }
    /*@ loop invariant 0 <= i <= n;
        loop invariant \forall integer k; 0 <= k < i ==> events[k] < inputs && (k > 0 ==> events[k - 1] < events[k]);
        loop assigns i;
        loop variant n - i; */
    for (i = 0; i < n; i++) {
        if (events[i] >= inputs || (i > 0 && events[i] <= events[i - 1])) {
            return SNE_E_EVENT;
        }
    }
    return SNE_OK;
}

/*@ requires \valid_read(p);
    assigns \nothing; */
static int is_cascade(const sne_policy *p)
{
    return p->kind == SNE_POLICY_CASCADE || p->kind == SNE_POLICY_ROUTED;
}

/*@ requires \valid_read(model) && \valid_read(p) && 1 <= model->n_students <= 32 && \valid_read(model->students);
    requires margins == \null || \valid_read(margins + (0 .. model->n_students - 2));
    assigns \nothing;
    ensures \result && p->kind == SNE_POLICY_FIRST ==> 1 <= p->students <= model->n_students;
    ensures \result && p->kind == SNE_POLICY_MASK ==> p->mask != 0; */
static int fits(const sne_model *model, const sne_policy *p, const int32_t *margins)
{
    uint32_t stage;
    const uint32_t every = 0xffffffffu >> (32u - model->n_students);
    switch (p->kind) {
    case SNE_POLICY_ALL:
        return 1;
    case SNE_POLICY_FIRST:
        return p->students >= 1 && p->students <= model->n_students;
    case SNE_POLICY_MASK:
        return p->mask != 0 && (p->mask & ~every) == 0;
    case SNE_POLICY_CASCADE:
    case SNE_POLICY_ROUTED:
        if ((!margins && model->n_students > 1) || (p->kind == SNE_POLICY_ROUTED && !model->routes) ||
            (p->early && !model->students->run_early)) {
            return 0;
        }
        /*@ loop invariant 0 <= stage <= model->n_students - 1;
            loop assigns stage;
            loop variant model->n_students - stage; */
        for (stage = 0; stage + 1u < model->n_students; stage++) {
            if (margins[stage] < 0) {
                return 0;
            }
        }
        return 1;
    case SNE_POLICY_BUDGET:
        return p->max_ops != 0;
    default:
        return 0;
    }
}

/* Does this lie where a word may? */
static int is_word(const void *p)
{
    struct placed {
        char first;
        uint32_t word;
    };
    return ((uintptr_t)p & (offsetof(struct placed, word) - 1u)) == 0;
}

sne_status sne_run(const sne_model *model, void *state, const void *input, const sne_policy *policy, sne_result *result)
{
    const sne_policy *p = policy && policy->kind != SNE_POLICY_DEFAULT ? policy : model ? model->policy : NULL;
    const int32_t *margins;
    uint32_t timesteps, stage, next, i;
    sne_result r = {0, 0, 0, 0, SNE_STOP_COMPLETE, 0, {0, 0, 0}};
    int32_t *logits = (int32_t *)state;
    uint32_t *spikes;

    if (!model || !state || !input || !result || !p || !is_word(state) ||
        (model->stream && model->stream->step && !is_word(input))) { /* a raster is words */
        return SNE_E_ARGUMENT;
    }
    margins = p->margins ? p->margins : model->margins;
    timesteps = policy && policy->timesteps ? policy->timesteps : p->timesteps;
    if (!fits(model, p, margins) || timesteps > model->timesteps) {
        return SNE_E_POLICY;
    }
    r.timesteps = timesteps ? timesteps : model->timesteps;
    spikes = (uint32_t *)(logits + model->n_classes);
    for (i = 0; i < model->n_classes; i++) {
        logits[i] = model->bias[i];
    }
    for (i = 0; i < model->n_spike_layers; i++) {
        spikes[i] = 0;
    }
    next = model->order[0];
    for (stage = 0; stage < model->n_students; stage++) {
        const uint32_t number = p->kind == SNE_POLICY_ROUTED ? next : model->order[stage];
        const sne_student *student = model->students + number;
        if (p->kind == SNE_POLICY_FIRST && stage == p->students) {
            break;
        }
        if (p->kind == SNE_POLICY_MASK && !(p->mask >> number & 1u)) {
            continue;
        }
        if (p->kind == SNE_POLICY_BUDGET && stage > 0 &&
            (uint64_t)r.cost.synaptic_ops + r.cost.macs + student->max_ops > p->max_ops) {
            r.stop = SNE_STOP_BUDGET;
            break;
        }
        r.active |= (uint32_t)1 << number;
        r.students_run++;
        if (p->early && is_cascade(p)) {
            const int32_t *early = p->early + stage * (model->timesteps - 1u);
            const uint32_t ran = student->run_early(state, input, r.timesteps, early, logits, &r.cost);
            if (ran < r.timesteps) {
                r.timesteps = ran;
                r.stop = SNE_STOP_EARLY;
                break;
            }
        } else {
            student->run(state, input, r.timesteps, logits, &r.cost);
        }
        if (is_cascade(p) && stage + 1u < model->n_students) {
            const size_t second = decide(logits, model->n_classes, &r);
            if (r.margin >= margins[stage]) {
                r.stop = SNE_STOP_MARGIN;
                break;
            }
            if (p->kind == SNE_POLICY_ROUTED) {
                next = next_student(model, (size_t)r.label, second, r.active);
            }
        }
    }
    sne_decide(logits, model->n_classes, &r);
    if (model->rejection) {
        sne_reject(model->rejection, logits, model->n_classes, spikes, model->n_spike_layers, &r);
    }
    *result = r;
    return SNE_OK;
}
