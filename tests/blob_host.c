/* Blobs on this computer: `blob_host run BLOB INPUTS` prints what each input and policy gives; `blob_host fuzz SEED N BLOB...`
 * changes numbers of blobs, puts their CRC right, and runs what is not refused in memory of exactly the size that it asks for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sne_blob.h"
#include "sne_load.h"

extern const sne_kernels KERNELS;

static uint32_t random_state = 1;

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

static void show(const sne_loaded *loaded, const int32_t *state, const sne_result *r)
{
    uint32_t i;
    printf("%d %d %u %u %u %u %u %u %u", (int)r->label, (int)r->margin, r->active, r->students_run, r->stop, r->timesteps,
           r->cost.synaptic_ops, r->cost.macs, r->cost.neuron_updates);
    for (i = 0; i < (uint32_t)loaded->model.n_classes + loaded->model.n_spike_layers; i++) {
        printf(" %d", (int)state[i]);
    }
    printf("\n");
}

/* The model's own policy, and its students one by one. */
static int run(const char *path, const char *inputs_path)
{
    static sne_loaded loaded;
    size_t length, inputs_length, i;
    uint8_t *blob = read_whole(path, &length), *inputs = read_whole(inputs_path, &inputs_length);
    const sne_status status = sne_load(blob, length, &KERNELS, &loaded);
    int32_t *state;
    if (status != SNE_OK) {
        printf("refused %d\n", status);
        return 0;
    }
    state = malloc(loaded.model.state_bytes);
    for (i = 0; i + loaded.model.input_bytes <= inputs_length; i += loaded.model.input_bytes) {
        uint8_t *input = malloc(loaded.model.input_bytes);
        sne_result result;
        uint32_t k;
        memcpy(input, inputs + i, loaded.model.input_bytes);
        for (k = 0; k <= loaded.model.n_students; k++) {
            sne_policy policy = {SNE_POLICY_MASK, 0, 0, 0, 0, NULL, NULL};
            sne_status ran;
            policy.mask = k ? 1u << (k - 1u) : 0u;
            ran = sne_run_loaded(&loaded, state, input, k ? &policy : NULL, &result);
            if (ran != SNE_OK) {
                printf("error %d\n", ran);
                exit(4);
            }
            show(&loaded, state, &result);
        }
        free(input);
    }
    free(state);
    free(blob);
    free(inputs);
    return 0;
}

/* Change one number of a blob: of its structures mostly, whose places are taken from the blob as it was. */
static void change(uint8_t *blob, size_t length)
{
    static const uint32_t edges[] = {0, 1, 2, 3, 31, 32, 255, 256, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000u, 0xffffffffu};
    const sne_blob *head = (const sne_blob *)(const void *)blob;
    size_t first = 0, bytes = length, at;
    const uint32_t choice = draw(8);
    uint32_t old = 0, value;
    const size_t width = draw(2) ? 2 : 4;
    if (head->students <= length - sizeof(sne_blob_student) && head->students >= sizeof *head && (head->students & 3u) == 0) {
        const sne_blob_student *student = (const sne_blob_student *)(const void *)(blob + head->students);
        if (choice < 4 && student->stages < length - sizeof(sne_blob_stage) && student->n_stages && student->n_stages < 9) {
            first = student->stages;
            bytes = student->n_stages * sizeof(sne_blob_stage);
        } else if (choice == 4) {
            first = head->students;
            bytes = sizeof *student;
        } else if (choice == 5) {
            first = 16;
            bytes = sizeof *head - 16;
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

static int fuzz(uint32_t seed, long n, int count, char **paths)
{
    long examined = 0, refused = 0, ran = 0, large = 0;
    random_state = seed;
    for (; examined < n; examined++) {
        static sne_loaded loaded;
        size_t length, exact;
        uint8_t *whole = read_whole(paths[draw((uint32_t)count)], &length), *blob;
        uint32_t k = 1 + draw(3), crc;
        for (; k; k--) {
            change(whole, length);
        }
        exact = draw(8) ? length : draw((uint32_t)length + 1u);
        crc = crc32_of(whole + 16, length - 16);
        memcpy(whole + 12, &crc, 4);
        blob = malloc(exact ? exact : 1);
        memcpy(blob, whole, exact);
        free(whole);
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
            memset(state, 0x5a, loaded.model.state_bytes);
            if (sne_run_loaded(&loaded, state, input, NULL, &result) != SNE_OK ||
                sne_run_loaded(&loaded, state, input, &policy, &result) != SNE_OK) {
                large++; /* its own policy is none */
            }
            ran++;
            free(state);
            free(input);
        }
        free(blob);
    }
    printf("examined %ld refused %ld ran %ld large %ld\n", examined, refused, ran, large);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "run") == 0) {
        return run(argv[2], argv[3]);
    }
    if (argc > 4 && strcmp(argv[1], "fuzz") == 0) {
        return fuzz((uint32_t)atol(argv[2]), atol(argv[3]), argc - 4, argv + 4);
    }
    return 2;
}
