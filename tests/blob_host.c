/* Blobs on this computer: `blob_host run BLOB INPUTS` writes what each input and policy gives, `blob_host stream BLOB INPUTS` what
 * each timestep; `blob_host fuzz SEED N BLOB...` changes numbers of blobs, puts their CRC right, and runs what is not refused, as
 * inference and as stream, in memory of exactly the size that it asks for; with FRONTEND, `blob_host hear BLOB SAMPLES` writes what a
 * front end makes of a recording. With WITH_LIBFUZZER, inputs are blobs: see tests/fuzz.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sne_blob.h"
#include "sne_load.h"

#ifdef FRONTEND
#include "sne_load_frontend.h"
#endif

extern const sne_kernels KERNELS;

static uint32_t random_state = 1;

#ifdef FRONTEND
/* A recording through a model's front end; 0 where it has no sound one. */
static int hear(const sne_loaded *loaded, const int16_t *samples, size_t n, int8_t *out)
{
    sne_logmel logmel;
    int16_t *history;
    int32_t *work;
    uint32_t held = 0;
    if (sne_load_frontend(loaded, &logmel) != SNE_OK) {
        return 0;
    }
    history = malloc(2u * (size_t)logmel.window);
    work = malloc(4u * (size_t)logmel.window);
    sne_logmel_recording(&logmel, &held, history, work, samples, n, out);
    free(history);
    free(work);
    return 1;
}
#endif

static uint32_t draw(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return (random_state >> 4) % n;
}

static uint8_t *read_whole(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data;
    if (!file) {
        exit(3);
    }
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    data = malloc(*length ? *length : 1);
    if (!data || fread(data, 1, *length, file) != *length) {
        exit(3);
    }
    fclose(file);
    return data;
}

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xffffffffu;
    int k;
    for (; n; n--) {
        crc ^= *p++;
        for (k = 0; k < 8; k++) {
            crc = crc >> 1 ^ (crc & 1u ? 0xedb88320u : 0u);
        }
    }
    return ~crc;
}

/* One row of numbers, as int32: a result, logits, spike counts and, where they are kept, all membranes. */
static void show(const sne_loaded *loaded, const int32_t *state, const sne_result *r, int kept)
{
    const sne_blob *head = (const sne_blob *)(const void *)loaded->blob;
    const uint32_t spikes = head->n_spike_layers ? head->n_spike_layers : 1u;
    const int32_t told[] = {(int32_t)r->label, r->margin, (int32_t)r->active, (int32_t)r->students_run, (int32_t)r->stop,
                            (int32_t)r->timesteps, (int32_t)r->cost.synaptic_ops, (int32_t)r->cost.macs,
                            (int32_t)r->cost.neuron_updates};
    fwrite(told, sizeof told, 1, stdout);
    fwrite(state, 4, loaded->model.n_classes + spikes + (kept ? head->kept_words : 0u), stdout);
}

static uint8_t *copied(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    return copy;
}

static void must(sne_status status)
{
    if (status != SNE_OK) {
        fprintf(stderr, "error %d\n", (int)status);
        exit(4);
    }
}

/* The model's own policy, all students, and them one by one. */
static void run_all(const sne_loaded *loaded, const uint8_t *inputs, size_t n)
{
    void *state = malloc(loaded->model.state_bytes);
    size_t i;
    for (i = 0; i < n; i++) {
        uint8_t *input = copied(inputs + i * loaded->model.input_bytes, loaded->model.input_bytes);
        sne_result result;
        uint32_t k;
        for (k = 0; k <= loaded->model.n_students; k++) {
            sne_policy policy = {SNE_POLICY_MASK, 0, 0, 0, 0, NULL, NULL};
            policy.mask = k ? 1u << (k - 1u) : 0u;
            memset(state, 0x5a, loaded->model.state_bytes);
            must(sne_run_loaded(loaded, state, input, k ? &policy : NULL, &result));
            show(loaded, state, &result, loaded->model.traced);
        }
        free(input);
    }
    free(state);
}

/* One timestep of a stream: a frame, or the spikes of a raster's row. */
static sne_status advance(const sne_loaded *loaded, void *state, const uint8_t *row)
{
    const sne_blob *head = (const sne_blob *)(const void *)loaded->blob;
    uint16_t *events = malloc(2u * (size_t)head->n_inputs + 2u);
    sne_status status;
    size_t n = 0;
    uint32_t i;
    for (i = 0; head->encoder == SNE_BLOB_EVENTS && i < head->n_inputs; i++) {
        if (row[i / 8u] >> (i % 8u) & 1u) {
            events[n++] = (uint16_t)i;
        }
    }
    status = head->encoder == SNE_BLOB_EVENTS ? sne_step_loaded(loaded, state, events, n)
                                              : sne_take_loaded(loaded, state, (const int8_t *)row);
    free(events);
    return status;
}

/* One stream, read after every timestep. */
static void stream_all(const sne_loaded *loaded, const uint8_t *rows, size_t bytes)
{
    const size_t row = loaded->model.input_bytes / loaded->model.timesteps;
    void *state = malloc(loaded->stream_bytes);
    size_t t;
    memset(state, 0x5a, loaded->stream_bytes);
    must(sne_reset_loaded(loaded, state));
    for (t = 0; t < bytes / row; t++) {
        uint8_t *given = copied(rows + t * row, row);
        sne_result result;
        must(advance(loaded, state, given));
        must(sne_read_loaded(loaded, state, &result));
        show(loaded, state, &result, 1);
        free(given);
    }
    free(state);
}

static int run(const char *how, const char *path, const char *inputs_path)
{
    static sne_loaded loaded;
    size_t length, inputs_length;
    uint8_t *blob = read_whole(path, &length), *inputs = read_whole(inputs_path, &inputs_length);
    must(sne_load(blob, length, &KERNELS, &loaded));
#ifdef FRONTEND
    if (strcmp(how, "hear") == 0) {
        int8_t *heard = malloc(loaded.model.input_bytes);
        must(hear(&loaded, (const int16_t *)(const void *)inputs, inputs_length / 2u, heard) ? SNE_OK : SNE_E_TABLES);
        fwrite(heard, 1, loaded.model.input_bytes, stdout);
        free(heard);
        inputs_length = 0;
    }
#endif
    if (strcmp(how, "run") == 0) {
        run_all(&loaded, inputs, inputs_length / loaded.model.input_bytes);
    } else if (strcmp(how, "stream") == 0) {
        stream_all(&loaded, inputs, inputs_length);
    }
    free(blob);
    free(inputs);
    return 0;
}

/* Where one of a graph's parts lies: itself, its rings, its populations, or one's projections. */
static void graph_part(const uint8_t *blob, size_t length, uint32_t at, uint32_t which, size_t *first, size_t *bytes)
{
    const sne_blob_graph *graph = (const sne_blob_graph *)(const void *)(blob + at);
    const sne_blob_population *p;
    if ((at & 3u) != 0 || at > length - sizeof *graph || at < sizeof(sne_blob)) {
        return;
    }
    *first = at;
    *bytes = sizeof *graph;
    if (which < 2 || graph->n_populations == 0 || graph->n_populations > 9 || (graph->populations & 3u) != 0 ||
        graph->populations > length - graph->n_populations * sizeof *p) {
        return;
    }
    p = (const sne_blob_population *)(const void *)(blob + graph->populations) + draw(graph->n_populations);
    if (which == 2) {
        *first = graph->rings;
        *bytes = (graph->n_populations + 1u) * 12u;
    } else if (which < 5 || p->n_projections == 0) {
        *first = (size_t)((const uint8_t *)p - blob);
        *bytes = sizeof *p;
    } else {
        *first = p->projections;
        *bytes = p->n_projections * sizeof(sne_blob_projection);
    }
}

/* Change one number of a blob: of its structures mostly, whose places are taken from the blob as it was. */
static void change(uint8_t *blob, size_t length)
{
    static const uint32_t edges[] = {0, 1, 2, 3, 31, 32, 255, 256, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000u, 0xffffffffu};
    const sne_blob *head = (const sne_blob *)(const void *)blob;
    size_t first = 0, bytes = length, at;
    const uint32_t choice = draw(8), deeper = draw(8);
    uint32_t old = 0, value;
    const size_t width = draw(2) ? 2 : 4;
    if (head->students <= length - sizeof(sne_blob_student) && head->students >= sizeof *head && (head->students & 3u) == 0) {
        const sne_blob_student *student = (const sne_blob_student *)(const void *)(blob + head->students);
        const uint32_t one = head->n_students && head->n_students < 9 ? draw(head->n_students) : 0u;
        if ((one + 1u) * sizeof *student <= length - head->students) {
            student += one;
        }
        if (choice < 4 && student->graph) {
            graph_part(blob, length, student->graph, deeper, &first, &bytes);
        } else if (choice < 4 && student->stages < length - sizeof(sne_blob_stage) && student->n_stages && student->n_stages < 9) {
            first = student->stages;
            bytes = student->n_stages * sizeof(sne_blob_stage);
        } else if (choice == 4) {
            first = (size_t)((const uint8_t *)student - blob);
            bytes = sizeof *student;
        } else if (choice == 5) {
            first = 16;
            bytes = sizeof *head - 16;
        } else if (choice == 6 && head->stream) {
            first = head->stream;
            bytes = sizeof(sne_blob_stream);
        } else if (choice >= 6 && head->frontend) {
            first = head->frontend;
            bytes = sizeof(sne_blob_frontend);
        }
    }
    if (first >= length || bytes > length - first) {
        first = 0;
        bytes = length;
    }
    at = first + draw((uint32_t)(bytes / width)) * width;
    if (at < 16 || at + width > length) {
        return;
    }
    memcpy(&old, blob + at, width);
    value = draw(3) ? old + draw(9) - 4u : edges[draw(sizeof edges / sizeof *edges)];
    memcpy(blob + at, &value, width);
}

static long refused, ran, streamed, heard, large;

/* What a blob of `exact` bytes is, in memory of that size: refused, or run. */
static void try(const uint8_t *whole, size_t exact)
{
    static sne_loaded loaded;
    uint8_t *const blob = copied(whole, exact);
    uint32_t k;
    if (sne_load(blob, exact, &KERNELS, &loaded) != SNE_OK) {
        refused++;
    } else if (loaded.model.state_bytes > 1u << 20 || loaded.model.input_bytes > 1u << 20 || loaded.model.timesteps > 64) {
        large++;
    } else {
        uint8_t *state = malloc(loaded.model.state_bytes), *input = malloc(loaded.model.input_bytes);
        sne_result result;
        sne_policy policy = {SNE_POLICY_ALL, 0, 0, 0, 0, NULL, NULL};
        for (k = 0; k < loaded.model.input_bytes; k++) {
            input[k] = (uint8_t)draw(256);
        }
#ifdef FRONTEND
        heard += hear(&loaded, (const int16_t *)(const void *)blob, exact / 2u, (int8_t *)input);
#endif
        memset(state, 0x5a, loaded.model.state_bytes);
        if (sne_run_loaded(&loaded, state, input, NULL, &result) != SNE_OK ||
            sne_run_loaded(&loaded, state, input, &policy, &result) != SNE_OK) {
            large++; /* its own policy is none */
        }
        if (loaded.stream_bytes && loaded.stream_bytes < 1u << 20) {
            void *live = malloc(loaded.stream_bytes);
            memset(live, 0x5a, loaded.stream_bytes);
            must(sne_reset_loaded(&loaded, live));
            for (k = 0; k < 4; k++) {
                must(advance(&loaded, live, input));
            }
            must(sne_read_loaded(&loaded, live, &result));
            streamed++;
            free(live);
        }
        ran++;
        free(state);
        free(input);
    }
    free(blob);
}

static void put_crc(uint8_t *blob, size_t length)
{
    const uint32_t crc = crc32_of(blob + 16, length - 16);
    memcpy(blob + 12, &crc, 4);
}

#ifdef WITH_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The bytes as they are, and as a blob whose header is sound. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t *blob = copied(data, n);
    sne_blob *head = (sne_blob *)(void *)blob;
    try(data, n);
    if (n >= sizeof *head && n <= 0x7fffffff) {
        head->magic = SNE_BLOB_MAGIC;
        head->version = SNE_BLOB_VERSION;
        head->order = (uint16_t)KERNELS.order;
        head->length = (uint32_t)n;
        put_crc(blob, n);
        try(blob, n);
    }
    free(blob);
    return 0;
}
#else
static int fuzz(uint32_t seed, long n, int count, char **paths)
{
    long examined = 0;
    random_state = seed;
    for (; examined < n; examined++) {
        size_t length;
        uint8_t *whole = read_whole(paths[draw((uint32_t)count)], &length);
        uint32_t k = 1 + draw(3);
        for (; k; k--) {
            change(whole, length);
        }
        put_crc(whole, length);
        try(whole, draw(8) ? length : draw((uint32_t)length + 1u));
        free(whole);
    }
    printf("examined %ld refused %ld ran %ld streamed %ld heard %ld large %ld\n", examined, refused, ran, streamed, heard, large);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && (strcmp(argv[1], "run") == 0 || strcmp(argv[1], "stream") == 0 || strcmp(argv[1], "hear") == 0)) {
        return run(argv[1], argv[2], argv[3]);
    }
    if (argc > 4 && strcmp(argv[1], "fuzz") == 0) {
        return fuzz((uint32_t)atol(argv[2]), atol(argv[3]), argc - 4, argv + 4);
    }
    return 2;
}
#endif
