/* The check of a blob before it is run. A compiled model's numbers are proven when it is made; these may be anybody's: whole, of this
 * version and for these kernels, and every part as sne_load_tables.c and sne_load_places.c hold it. */
#include "sne_load_run.h"

const sne_kernel *sne_find_kernel(const sne_kernels *kernels, uint32_t kind)
{
    uint32_t k;
    for (k = 0; k < kernels->n_kernels; k++) {
        if (kernels->kernels[k].kind == kind) {
            return kernels->kernels + k;
        }
    }
    return NULL;
}

/* Four bits a step: 64 bytes of table, not a kilobyte. */
static uint32_t crc_of(const uint8_t *bytes, size_t n)
{
    static const uint32_t table[16] = {0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u,
                                       0x4db26158u, 0x5005713cu, 0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
                                       0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
    uint32_t crc = 0xffffffffu;
    for (; n; n--) {
        crc ^= *bytes++;
        crc = crc >> 4 ^ table[crc & 15u];
        crc = crc >> 4 ^ table[crc & 15u];
    }
    return ~crc;
}

/* Does each of n bytes' numbers below n occur once? n <= 32 */
static int permutes(const uint8_t *bytes, uint32_t n)
{
    uint32_t seen = 0, i;
    for (i = 0; i < n; i++) {
        if (bytes[i] >= n || seen >> bytes[i] & 1u) {
            return 0;
        }
        seen |= (uint32_t)1 << bytes[i];
    }
    return 1;
}

/* A chain of layers; adds to `logit` what it brings at most. */
static sne_status check_chain(sne_checked *c, const sne_blob_student *student, uint64_t *logit)
{
    const uint32_t n = student->n_stages, classes = c->head->n_classes;
    const sne_blob_stage *stages, *last;
    uint64_t largest = 0, reached = 0; /* by the last stage */
    uint64_t steps = sne_steps(c);     /* that a readout sees */
    uint32_t i;
    if (n == 0 || !sne_lies(c, student->stages, (uint64_t)n * sizeof(sne_blob_stage)) || c->head->encoder == SNE_BLOB_FRAMES) {
        return SNE_E_TABLES;
    }
    stages = (const sne_blob_stage *)(const void *)(c->blob + student->stages);
    last = stages + n - 1u;
    if (student->window && (!steps || student->window < steps)) {
        steps = student->window;
    }
    for (i = 0; i < n; i++) {
        const sne_blob_stage *const s = stages + i;
        sne_status status;
        if (!sne_find_kernel(c->kernels, s->kind)) {
            return SNE_E_KERNELS;
        }
        if ((s == last) != (int)SNE_KIND_READOUT(s->kind)) {
            return SNE_E_TABLES;
        }
        status = sne_stage_fits(c, s, i == 0, s == last ? steps : sne_steps(c), &reached);
        if (status != SNE_OK) {
            return status;
        }
        if (!sne_places_fit(c, s, i == 0)) {
            return SNE_E_PLACES;
        }
    }
    if (last->channels != classes || last->synapses.out_height != 1u || last->synapses.out_width != 1u ||
        (SNE_KIND_KERNEL(last->kind) != SNE_GATHER && SNE_KIND_KERNEL(last->kind) != SNE_COLLECT && SNE_KIND_KERNEL(last->kind) != SNE_MAC) ||
        (student->window && SNE_KIND_DECAY(last->kind) != SNE_DECAY_NONE) || (c->head->early && student->window && student->window < c->head->timesteps)) {
        return SNE_E_TABLES;
    }
    if ((c->head->early && !sne_steps_fit(c, student, stages)) || !sne_kept_fit(c, student, stages)) {
        return SNE_E_PLACES;
    }
    for (i = 0; i < classes; i++) {
        const int32_t resting = SNE_KIND_WIDE(last->kind) ? sne_words_at(c, last->bias)[i] : (int16_t)sne_halves_at(c, last->bias)[i];
        const uint64_t once = sne_readout_sum(c, last, i) + sne_size_of(resting);
        const uint64_t all = steps ? once * steps : reached, readout = all < reached ? all : reached;
        const uint64_t most = sne_size_of(sne_words_at(c, student->gain)[i]) * readout + sne_size_of(sne_words_at(c, student->bias)[i]);
        largest = most > largest ? most : largest;
    }
    *logit += largest;
    return SNE_OK;
}

static sne_status check_student(sne_checked *c, const sne_blob_student *student, uint64_t *logit)
{
    const struct sne_graph_loader *const graphs = c->kernels->graph_loader;
    if (!sne_lies(c, student->gain, 4u * (uint64_t)c->head->n_classes) || !sne_lies(c, student->bias, 4u * (uint64_t)c->head->n_classes)) {
        return SNE_E_TABLES;
    }
    if (!student->graph) {
        return check_chain(c, student, logit);
    }
    return graphs ? graphs->check(c, student, logit) : SNE_E_KERNELS;
}

/* Does a stream's state have room for an input, and a size at all? */
static int stream_fits(const sne_checked *c)
{
    const sne_blob *const h = c->head;
    const sne_blob_stream *s;
    uint64_t words;
    if (!sne_lies(c, h->stream, sizeof(sne_blob_stream)) || (h->encoder != SNE_BLOB_EVENTS && h->encoder != SNE_BLOB_FRAMES)) {
        return 0;
    }
    s = (const sne_blob_stream *)(const void *)(c->blob + h->stream);
    words = (uint64_t)h->kept_words + s->graphs + s->windows + s->in + 2u * (uint64_t)s->map_words + s->rows;
    return words <= SNE_MOST_SUM / 8u && (h->encoder == SNE_BLOB_FRAMES || s->in >= sne_words(h->n_inputs));
}

/* What belongs to no student. */
static int model_fits(const sne_checked *c)
{
    const sne_blob *const h = c->head;
    const uint64_t students = h->n_students, classes = h->n_classes, timesteps = h->timesteps;
    const uint64_t input = h->encoder == SNE_BLOB_EVENTS   ? 4u * timesteps * sne_words(h->n_inputs)
                           : h->encoder == SNE_BLOB_FRAMES ? timesteps * h->n_inputs
                                                           : h->n_inputs;
    const uint32_t head = 4u * sne_head_words(h);
    uint32_t i;
    if (classes == 0 || timesteps == 0 || h->n_inputs == 0 || h->encoder > SNE_BLOB_FRAMES || h->input_bytes != input ||
        (h->state_bytes & 3u) != 0 || h->state_bytes < head || !sne_lies(c, h->name, 1) ||
        !sne_lies(c, h->students, students * sizeof(sne_blob_student)) || !sne_lies(c, h->order_of, students) ||
        !permutes(c->blob + h->order_of, h->n_students) || !sne_lies(c, h->bias, 4u * classes) ||
        (h->margins && !sne_lies(c, h->margins, 4u * (students - 1u))) ||
        (h->early && !sne_lies(c, h->early, 4u * students * (timesteps - 1u))) ||
        (h->rejection && !sne_lies(c, h->rejection, sizeof(sne_rejection))) || (h->stream && !stream_fits(c))) {
        return 0;
    }
    for (i = h->name; c->blob[i]; i++) {
        if (i + 1u >= h->length) {
            return 0;
        }
    }
    if (h->routes) {
        const uint64_t pairs = classes * (classes - 1u) / 2u;
        uint64_t row;
        if (!sne_lies(c, h->routes, pairs * students)) {
            return 0;
        }
        for (row = 0; row < pairs; row++) {
            if (!permutes(c->blob + h->routes + row * students, h->n_students)) {
                return 0;
            }
        }
    }
    return 1;
}

sne_status sne_check_blob(const uint8_t *blob, size_t length, const sne_kernels *kernels, sne_room_made *made)
{
    static const uint16_t one = 1;
    const sne_blob *const head = (const sne_blob *)(const void *)blob;
    sne_checked c;
    uint64_t logit = 0;
    uint32_t k;
    if (length < SNE_BLOB_STARTS || *(const uint8_t *)(const void *)&one != 1 || head->magic != SNE_BLOB_MAGIC) {
        return SNE_E_BLOB;
    }
    if (head->version != SNE_BLOB_VERSION) {
        return SNE_E_VERSION;
    }
    if (length < sizeof(sne_blob) || head->length < sizeof(sne_blob) || head->length > length ||
        crc_of(blob + 16, head->length - 16u) != head->crc) {
        return SNE_E_DAMAGED;
    }
    if (head->order != kernels->order) {
        return SNE_E_ORDER;
    }
    if (head->n_students > SNE_LOAD_STUDENTS) {
        return SNE_E_STUDENTS;
    }
    c.blob = blob;
    c.head = head;
    c.kernels = kernels;
    c.kept = c.graphs = c.windows = c.made = c.stream_made = 0;
    if (head->n_students == 0 || !model_fits(&c)) {
        return SNE_E_TABLES;
    }
    c.stream = head->stream ? (const sne_blob_stream *)(const void *)(blob + head->stream) : NULL;
    c.arena = head->state_bytes / 4u - sne_head_words(head);
    for (k = 0; k < head->n_students; k++) {
        const sne_blob_student *const student = (const sne_blob_student *)(const void *)(blob + head->students) + k;
        const sne_status status = check_student(&c, student, &logit);
        if (status != SNE_OK) {
            return status;
        }
    }
    for (k = 0; k < head->n_classes; k++) {
        const int64_t bias = sne_words_at(&c, head->bias)[k];
        if (logit + sne_size_of(bias) > SNE_MOST_LOGIT && !kernels->wraps) {
            return SNE_E_SUMS;
        }
    }
    if (head->kept_words > SNE_MOST_SUM / 8u || head->state_bytes > SNE_MOST_SUM / 2u || c.made > SNE_MOST_SUM / 8u || c.stream_made > SNE_MOST_SUM / 8u) {
        return SNE_E_PLACES;
    }
    made->bytes = (uint32_t)c.made;
    made->stream_bytes = (uint32_t)c.stream_made;
    return SNE_OK;
}
