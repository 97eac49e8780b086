/* MLPerf Tiny's device protocol, as the EnergyRunner and MLCommons' runner speak it: text commands that end with '%', answered
 * by lines that end with "m-ready". docs/PROTOCOL.md describes it.
 *
 * Feed every received byte to `mlperf_receive`; a whole command is executed at once. Nothing blocks, the caller owns all memory,
 * and no command, whatever it holds, writes outside of the buffers that it is given. */
#ifndef MLPERF_H
#define MLPERF_H

#include "sne_model.h"

/* Longest command, without its '%': hosts load at most 31 bytes, 62 digits, at a time. */
enum { MLPERF_COMMAND = 80 };

/* The device. Of the last two one is null: in performance mode the time is printed, in energy mode a pin tells it. */
typedef struct {
    void (*write)(void *context, const uint8_t *bytes, size_t n);
    uint64_t (*microseconds)(void *context); /* since power-on */
    void (*mark)(void *context);             /* a falling edge on the pin that a power monitor watches */
    void *context;
    const char *vendor;
} mlperf_platform;

/* The model to serve, and its memory. */
typedef struct {
    const sne_model *model;
    const char *id; /* which of the benchmark's models it stands for, such as kws01 */
    void *state;
    uint8_t *input;  /* model->input_bytes bytes, aligned to words */
    uint8_t *loaded; /* as many: what `db` fills; `input` itself where bytes are taken as they come */
    void (*take)(const uint8_t *loaded, uint8_t *input, size_t n); /* makes an input of them; null: as they come */
    int32_t (*thousandths)(int32_t logit); /* of regression: a value; null: classes, whose probabilities are told */
    uint64_t steepness; /* log2(e) times the real value of a logit of 1, times 2^40 */
} mlperf_model;

/* One end of a line. The fields are private. */
typedef struct {
    const mlperf_model *served;
    const mlperf_platform *platform;
    uint32_t expected; /* bytes that `db load` announced */
    uint32_t filled;   /* of them, how many have come */
    uint32_t label;
    uint8_t has_result;
    size_t length;
    char command[MLPERF_COMMAND + 1];
} mlperf;

/* Start, and tell the host so; all pointers must outlive `line`. */
void mlperf_init(mlperf *line, const mlperf_model *served, const mlperf_platform *platform);

/* Take one received byte. */
void mlperf_receive(mlperf *line, uint8_t byte);

#endif
