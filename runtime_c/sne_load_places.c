/* Where a blob's stages work: every place lies in the state's arena, apart from the stage's others, so that no list of rows is
 * written over while it is read. */
#include "sne_load_parts.h"

/* A part of the arena, in words. */
typedef struct {
    uint64_t first, n;
} place;

enum { PLACES = 5 };

/* Are all parts in the arena, and apart? */
static int apart(const place *places, uint32_t n, uint64_t arena)
{
    uint32_t i, k;
    for (i = 0; i < n; i++) {
        if (places[i].n > arena || places[i].first > arena - places[i].n) {
            return 0;
        }
        for (k = 0; k < i; k++) {
            if (places[i].n && places[k].n && places[i].first < places[k].first + places[k].n &&
                places[k].first < places[i].first + places[i].n) {
                return 0;
            }
        }
    }
    return 1;
}

/* Words of all of a stage's membranes, and of those of one tile. */
static uint64_t kept_words(const sne_blob_stage *s)
{
    const uint64_t neurons = (uint64_t)s->synapses.out_height * s->synapses.out_width * s->stride;
    return SNE_KIND_KERNEL(s->kind) == SNE_MAXPOOL ? 0u : SNE_KIND_WIDE(s->kind) ? neurons : neurons / 2u;
}

static uint64_t tile_words(const sne_blob_stage *s)
{
    const uint32_t kernel = SNE_KIND_KERNEL(s->kind);
    const int row = kernel == SNE_SWEEP || kernel == SNE_SCATTER || kernel == SNE_OVERLAP || kernel == SNE_DEPTHWISE;
    const uint64_t positions = kernel == SNE_CONVOLVE ? 2u : row ? s->synapses.out_width : 1u;
    const uint64_t neurons = positions * s->stride;
    return kernel == SNE_MAXPOOL ? 0u : SNE_KIND_WIDE(s->kind) ? neurons : neurons / 2u;
}

static uint64_t out_words(const sne_blob_stage *s)
{
    return SNE_KIND_READOUT(s->kind) ? 0u : sne_words_of((uint64_t)s->synapses.out_height * s->synapses.out_width * s->channels);
}

int sne_places_fit(const sne_checked *c, const sne_blob_stage *s, int first)
{
    const uint32_t kernel = SNE_KIND_KERNEL(s->kind);
    const uint64_t timesteps = c->head->timesteps, tile = tile_words(s);
    const int outside = first && c->head->encoder != SNE_BLOB_RATE;
    const int multiplies = kernel == SNE_MAC || kernel == SNE_CONVOLVE;
    const uint64_t shifted = tile + (SNE_KIND_SHIFTED(s->kind) ? s->stride : 0u), sums = 2u * (uint64_t)s->stride;
    place places[PLACES];
    places[0].first = s->in;
    places[0].n = outside ? 0u : timesteps * sne_in_words(&s->synapses);
    places[1].first = s->out;
    places[1].n = timesteps * out_words(s);
    places[2].first = s->membranes;
    places[2].n = tile;
    places[3].first = s->current;
    places[3].n = !multiplies ? 0u : kernel == SNE_CONVOLVE && sums > shifted ? sums : shifted;
    places[4].first = s->rows;
    places[4].n = kernel == SNE_MAXPOOL ? 0u : s->synapses.capacity;
    return apart(places, PLACES, c->arena);
}

int sne_steps_fit(const sne_checked *c, const sne_blob_student *student, const sne_blob_stage *stages)
{
    const uint32_t begin = c->head->encoder == SNE_BLOB_DIRECT ? 1u : 0u;
    const uint64_t timesteps = c->head->timesteps;
    uint64_t rows = 0, kept = 0;
    place places[4];
    uint32_t i;
    if (student->n_stages <= begin || student->words != sne_in_words(&stages[begin].synapses)) {
        return 0;
    }
    for (i = begin; i < student->n_stages; i++) {
        const sne_blob_stage *const s = stages + i;
        const uint64_t end = (uint64_t)s->kept + kept_words(s);
        if (s->kept < student->first || out_words(s) > student->map_words || (i > begin && sne_in_words(&s->synapses) > student->map_words)) {
            return 0;
        }
        rows = s->synapses.capacity > rows ? s->synapses.capacity : rows;
        kept = end - student->first > kept ? end - student->first : kept;
    }
    places[0].first = student->maps;
    places[0].n = 2u * (uint64_t)student->map_words;
    places[1].first = student->rows;
    places[1].n = rows;
    places[2].first = student->kept;
    places[2].n = kept;
    places[3].first = begin ? stages->out : stages->in;
    places[3].n = c->head->encoder == SNE_BLOB_EVENTS ? 0u : timesteps * student->words;
    return apart(places, 4, c->arena);
}

int sne_kept_fit(sne_checked *c, const sne_blob_student *student, const sne_blob_stage *stages)
{
    const sne_blob_stage *const last = stages + (student->n_stages - 1u);
    uint32_t i;
    for (i = 0; i < student->n_stages; i++) {
        const sne_blob_stage *const s = stages + i;
        if (s->kept < c->kept || s->kept + kept_words(s) > c->head->kept_words) {
            return 0;
        }
        c->kept = s->kept + kept_words(s);
        if (c->stream && (out_words(s) > c->stream->map_words || s->synapses.capacity > c->stream->rows ||
                          (i && sne_in_words(&s->synapses) > c->stream->map_words))) {
            return 0;
        }
    }
    if (c->stream && student->window) {
        const uint64_t slots = (uint64_t)student->window * last->channels * (SNE_KIND_WIDE(last->kind) ? 32u : 16u);
        if (student->remembered < c->windows || student->window > 0xffffu ||
            (uint64_t)student->remembered + 1u + sne_words_of(slots) > c->stream->windows) {
            return 0;
        }
        c->windows = (uint64_t)student->remembered + 1u + sne_words_of(slots);
    }
    return 1;
}
