/* The front end of a loaded model: its tables are those of the blob, held against what sne_logmel.c relies on. */
#include "sne_student.h" /* first: the build is decided in sne_core.h */

#include "sne_load_frontend.h"

#include "sne_load_run.h"

enum { LEAST_WINDOW = 32, MOST_WINDOW = 512, ONE = 32768 };

static const sne_blob_frontend *frontend_of(const sne_loaded *loaded)
{
    return (const sne_blob_frontend *)(const void *)(loaded->blob + sne_head_of(loaded)->frontend);
}

/* Do n numbers lie there, none of them above `most`? */
static int numbers_fit(const sne_checked *c, uint32_t offset, uint32_t n, uint32_t most)
{
    uint32_t i;
    if (!sne_lies(c, offset, 2u * (uint64_t)n)) {
        return 0;
    }
    for (i = 0; i < n; i++) {
        if (sne_halves_at(c, offset)[i] > most) {
            return 0;
        }
    }
    return 1;
}

/* Do the bands' edges ascend within the spectrum, each bin with a weight? */
static int bands_fit(const sne_checked *c, const sne_blob_frontend *f)
{
    const uint16_t *edges;
    uint32_t i;
    if (!numbers_fit(c, f->edges, f->bands + 2u, f->window / 2u)) {
        return 0;
    }
    edges = sne_halves_at(c, f->edges);
    for (i = 0; i <= f->bands; i++) {
        if (edges[i] > edges[i + 1u]) {
            return 0;
        }
    }
    return sne_lies(c, f->rise, (uint64_t)edges[f->bands + 1u] - edges[0]);
}

static int fits(const sne_checked *c, const sne_blob_frontend *f)
{
    return f->window >= LEAST_WINDOW && f->window <= MOST_WINDOW && (f->window & (f->window - 1u)) == 0 && f->hop >= 1u &&
           f->hop <= f->window && f->bands >= 1u && f->frames >= 1u && f->preemphasis < 32u &&
           (uint64_t)f->frames * f->bands == c->head->input_bytes && numbers_fit(c, f->hann, f->window / 2u + 1u, ONE) &&
           numbers_fit(c, f->sine, f->window / 4u + 1u, ONE) && bands_fit(c, f);
}

sne_status sne_load_frontend(const sne_loaded *loaded, sne_logmel *logmel)
{
    const sne_blob_frontend *f;
    sne_checked c;
    if (!loaded || !logmel || !sne_head_of(loaded)->frontend) {
        return SNE_E_ARGUMENT;
    }
    c.blob = loaded->blob;
    c.head = sne_head_of(loaded);
    f = frontend_of(loaded);
    if (!sne_lies(&c, c.head->frontend, sizeof *f) || !fits(&c, f)) {
        return SNE_E_TABLES;
    }
    logmel->hann = sne_halves_at(&c, f->hann);
    logmel->sine = sne_halves_at(&c, f->sine);
    logmel->edges = sne_halves_at(&c, f->edges);
    logmel->rise = loaded->blob + f->rise;
    logmel->window = f->window;
    logmel->hop = f->hop;
    logmel->bands = f->bands;
    logmel->frames = f->frames;
    logmel->preemphasis = f->preemphasis;
    logmel->gain = f->gain;
    logmel->offset = f->offset;
    return SNE_OK;
}

uint32_t sne_loaded_rate(const sne_loaded *loaded)
{
    const sne_blob *const head = loaded ? sne_head_of(loaded) : NULL;
    return head && head->frontend && head->frontend <= head->length - sizeof(sne_blob_frontend) && (head->frontend & 3u) == 0
               ? frontend_of(loaded)->rate
               : 0u;
}
