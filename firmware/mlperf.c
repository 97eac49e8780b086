/* The device's side of MLPerf Tiny's protocol: commands, and what they answer. */
#include "mlperf.h"

#include <string.h>

enum { LINE_BYTES = 8, DEFAULT_WARMUPS = 10 };

static void put(const mlperf *line, const char *text)
{
    line->platform->write(line->platform->context, (const uint8_t *)text, strlen(text));
}

static void put_number(const mlperf *line, uint64_t number)
{
    char digits[21];
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + (int)(number % 10u));
        number /= 10u;
    } while (number != 0);
    put(line, digits + at);
}

/* "before", a number, "after". */
static void put_line(const mlperf *line, const char *before, uint64_t number, const char *after)
{
    put(line, before);
    put_number(line, number);
    put(line, after);
}

static void put_thousandths(const mlperf *line, int32_t value)
{
    const uint32_t size = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
    char rest[5] = {'.', (char)('0' + (int)(size / 100u % 10u)), (char)('0' + (int)(size / 10u % 10u)),
                    (char)('0' + (int)(size % 10u)), 0};
    put(line, value < 0 ? "-" : "");
    put_line(line, "", size / 1000u, rest);
}

/* The next field of a command, ended by a zero in place of its space; `*rest` goes behind it. Null: there is none. */
static char *field(char **rest)
{
    char *start = *rest;
    size_t n;
    while (*start == ' ') {
        start++;
    }
    if (*start == 0) {
        *rest = start;
        return NULL;
    }
    n = strcspn(start, " ");
    *rest = start + n + (start[n] != 0);
    start[n] = 0;
    return start;
}

/* Whether a field is a whole number that 32 bits hold. */
static int number(const char *text, uint32_t *value)
{
    uint64_t found = 0;
    size_t i;
    for (i = 0; text[i] != 0; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return 0;
        }
        found = found * 10u + (uint64_t)(text[i] - '0');
        if (found > UINT32_MAX) {
            return 0;
        }
    }
    *value = (uint32_t)found;
    return i != 0;
}

/* The value of a hexadecimal digit, or -1. */
static int digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void db_load(mlperf *line, const char *count)
{
    const uint32_t most = line->served->model->input_bytes;
    uint32_t n = 0;
    if (!count || !number(count, &n)) {
        put(line, "e-[Command 'db load' requires the # of bytes]\r\n");
    } else if (n == 0) {
        put(line, "e-[Command 'db load' must be >0 bytes]\r\n");
    } else if (n > most) {
        put_line(line, "e-[Supplied buffer size ", n, " exceeds maximum of ");
        put_line(line, "", most, "]\r\n");
    } else {
        line->expected = n;
        line->filled = 0;
        put_line(line, "m-[Expecting ", n, " bytes]\r\n");
    }
}

/* Bytes in hexadecimal; digits beyond the announced number are disregarded. All are looked at before any is taken. */
static void db_bytes(mlperf *line, const char *digits)
{
    const size_t n = strlen(digits);
    size_t i;
    if (line->filled == line->expected) {
        put(line, "e-[Nothing to load: 'db load' announces the # of bytes]\r\n");
        return;
    }
    if (n % 2 != 0) {
        put(line, "e-[Insufficent number of hex digits]\r\n"); /* the benchmark's own spelling */
        return;
    }
    for (i = 0; i < n; i++) {
        if (digit(digits[i]) < 0) {
            const char pair[3] = {digits[i - i % 2], digits[i - i % 2 + 1], 0};
            put(line, "e-[Invalid hex digit '");
            put(line, pair);
            put(line, "']\r\n");
            return;
        }
    }
    for (i = 0; i < n && line->filled < line->expected; i += 2) {
        line->served->loaded[line->filled++] = (uint8_t)(digit(digits[i]) << 4 | digit(digits[i + 1]));
    }
    if (line->filled == line->expected) {
        put(line, "m-load-done\r\n");
    }
}

static void db_print(const mlperf *line)
{
    static const char hex[] = "0123456789abcdef";
    uint32_t i;
    for (i = 0; i < line->filled; i++) {
        const uint8_t byte = line->served->loaded[i];
        const char pair[3] = {hex[byte >> 4], hex[byte & 15u], 0};
        put(line, i % LINE_BYTES == 0 ? "m-buffer-" : "-");
        put(line, pair);
        if ((i + 1) % LINE_BYTES == 0 || i + 1 == line->filled) {
            put(line, "\r\n");
        }
    }
}

static void db(mlperf *line, char *rest)
{
    const char *sub = field(&rest);
    if (!sub) {
        put(line, "e-[Command 'db' requires a subcommand]\r\n");
    } else if (strcmp(sub, "load") == 0) {
        db_load(line, field(&rest));
    } else if (strcmp(sub, "print") == 0) {
        db_print(line);
    } else {
        db_bytes(line, sub);
    }
}

/* 2^-x of x in units of 2^-16, in units of 2^-30. */
static uint32_t exp2_negative(uint64_t x)
{
    /* 2^-(2^-k), k from 1 to 16 */
    static const uint32_t factors[16] = {
        759250125u, 902905651u, 984625594u, 1028218693u, 1050733751u, 1062175491u, 1067942999u, 1070838486u,
        1072289173u, 1073015252u, 1073378477u, 1073560135u, 1073650976u, 1073696399u, 1073719111u, 1073730468u,
    };
    uint32_t result = 1u << 30, k;
    if (x >> 16 > 30) {
        return 0;
    }
    for (k = 0; k < 16; k++) {
        if (x >> (15u - k) & 1u) {
            result = (uint32_t)(((uint64_t)result * factors[k] + (1u << 29)) >> 30);
        }
    }
    return result >> (x >> 16);
}

/* exp(logit - highest), in units of 2^-30. */
static uint32_t weight(const mlperf *line, int32_t logit, int32_t highest)
{
    const uint64_t below = (uint64_t)((int64_t)highest - logit), steepness = line->served->steepness;
    if (steepness != 0 && below > ((uint64_t)31 << 40) / steepness) {
        return 0;
    }
    return exp2_negative(below * steepness >> 24);
}

/* A class's probability: its weight, of the sum of all. */
static uint32_t thousandths(const mlperf *line, int32_t logit, int32_t highest, uint64_t sum)
{
    return (uint32_t)((weight(line, logit, highest) * (uint64_t)1000 + sum / 2) / sum);
}

/* The classes' probabilities, or values of regression, in thousandths. A runner takes the first of the highest for the decision:
 * where rounding makes one before the model's label as high, the label gets a thousandth more. */
static void results(const mlperf *line)
{
    const int32_t *logits = (const int32_t *)line->served->state; /* every state begins with them */
    const uint32_t classes = line->served->model->n_classes;
    int32_t highest = INT32_MIN;
    uint64_t sum = 0;
    uint32_t c, before = 0; /* the highest share of a class before the label */
    if (!line->has_result) {
        put(line, "e-[No results: nothing has been inferred]\r\n");
        return;
    }
    for (c = 0; c < classes; c++) {
        highest = logits[c] > highest ? logits[c] : highest;
    }
    for (c = 0; c < classes; c++) {
        sum += weight(line, logits[c], highest);
    }
    for (c = 0; c < classes && c < line->label; c++) {
        const uint32_t share = thousandths(line, logits[c], highest, sum);
        before = share > before ? share : before;
    }
    put(line, "m-results-[");
    for (c = 0; c < classes; c++) {
        if (line->served->thousandths) {
            put_thousandths(line, line->served->thousandths(logits[c]));
        } else {
            const uint32_t share = thousandths(line, logits[c], highest, sum);
            put_thousandths(line, (int32_t)(share + (c == line->label && share == before)));
        }
        put(line, c + 1 < classes ? "," : "]\r\n");
    }
}

static void lap(const mlperf *line, uint64_t microseconds)
{
    if (!line->platform->mark) {
        put_line(line, "m-lap-us-", microseconds, "\r\n");
    }
}

/* Now: the time, and in energy mode an edge on the pin. */
static uint64_t timestamp(const mlperf *line)
{
    if (line->platform->mark) {
        line->platform->mark(line->platform->context);
        return 0;
    }
    return line->platform->microseconds(line->platform->context);
}

static int run(mlperf *line)
{
    sne_result result;
    const int status = sne_run(line->served->model, line->served->state, line->served->input, NULL, &result);
    if (status == SNE_OK) {
        line->has_result = 1;
        line->label = result.label;
    }
    return status;
}

/* Two laps enclose the inferences alone: they are printed when these are over, since printing takes time. */
static void infer(mlperf *line, char *rest)
{
    const mlperf_model *served = line->served;
    const uint32_t bytes = served->model->input_bytes;
    const char *n_text = field(&rest), *w_text = n_text ? field(&rest) : NULL;
    uint32_t n = 1, warmups = DEFAULT_WARMUPS, i;
    uint64_t before, after;
    int status = SNE_OK;
    if (n_text && (!number(n_text, &n) || n == 0)) {
        put(line, "e-[Inference iterations must be >0]\r\n");
        return;
    }
    if (w_text && !number(w_text, &warmups)) {
        put(line, "e-[Inference warmup must be >=0]\r\n");
        return;
    }
    if (line->filled != bytes) {
        put_line(line, "e-[Input holds ", line->filled, " of ");
        put_line(line, "", bytes, " bytes]\r\n");
        return;
    }
    if (served->take) {
        served->take(served->loaded, served->input, bytes);
    }
    put_line(line, "m-warmup-start-", warmups, "\r\n");
    for (i = 0; i < warmups; i++) {
        status |= run(line);
    }
    put(line, "m-warmup-done\r\n");
    put_line(line, "m-infer-start-", n, "\r\n");
    before = timestamp(line);
    for (i = 0; i < n; i++) {
        status |= run(line);
    }
    after = timestamp(line);
    lap(line, before);
    lap(line, after);
    if (status != SNE_OK) {
        put(line, "e-[The model refused to run]\r\n");
        return;
    }
    put(line, "m-infer-done\r\n");
    results(line);
}

static void help(const mlperf *line)
{
    put(line, "name         : Print the name of the device\r\n"
              "profile      : Print what it is, and the model's ID\r\n"
              "timestamp    : Generate a timestamp\r\n"
              "db load N    : Announce N bytes of input\r\n"
              "db HH[HH]*   : Load hexadecimal bytes until there are N\r\n"
              "db print     : Print them\r\n"
              "infer [N [W]]: Run N inferences (1) after W warmups (10)\r\n"
              "results      : Print the result once more\r\n"
              "help         : Print this\r\n");
}

/* What the host said, fit for a line: whatever is no plain character becomes a question mark. */
static void put_unknown(const mlperf *line, const char *name)
{
    put(line, "e-[Unknown command: ");
    for (; *name != 0; name++) {
        const char shown[2] = {*name > ' ' && *name < 127 && *name != ']' ? *name : '?', 0};
        put(line, shown);
    }
    put(line, "]\r\n");
}

static void execute(mlperf *line)
{
    char *rest = line->command;
    const char *name = field(&rest);
    if (line->length > MLPERF_COMMAND) {
        put_line(line, "e-[Command longer than ", MLPERF_COMMAND, " characters]\r\n");
    } else if (!name) {
        put_unknown(line, "");
    } else if (strcmp(name, "name") == 0) {
        put(line, "m-name-dut-[");
        put(line, line->platform->vendor);
        put(line, "]\r\n");
    } else if (strcmp(name, "profile") == 0) {
        put(line, "m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[");
        put(line, line->served->id);
        put(line, "]\r\n");
    } else if (strcmp(name, "timestamp") == 0) {
        lap(line, timestamp(line));
    } else if (strcmp(name, "help") == 0) {
        help(line);
    } else if (strcmp(name, "db") == 0) {
        db(line, rest);
    } else if (strcmp(name, "infer") == 0) {
        infer(line, rest);
    } else if (strcmp(name, "results") == 0) {
        results(line);
    } else {
        put_unknown(line, name);
    }
    put(line, "m-ready\r\n");
}

void mlperf_init(mlperf *line, const mlperf_model *served, const mlperf_platform *platform)
{
    memset(line, 0, sizeof *line);
    memset(served->state, 0, served->model->state_bytes);
    memset(served->input, 0, served->model->input_bytes);
    line->served = served;
    line->platform = platform;
    put(line, platform->mark ? "m-timestamp-mode-energy\r\n" : "m-timestamp-mode-performance\r\n");
    lap(line, timestamp(line));
    put(line, "m-init-done\r\nm-ready\r\n");
}

void mlperf_receive(mlperf *line, uint8_t byte)
{
    if (byte == '%') {
        line->command[line->length < MLPERF_COMMAND ? line->length : MLPERF_COMMAND] = 0;
        execute(line);
        line->length = 0;
    } else if (line->length < MLPERF_COMMAND) {
        line->command[line->length++] = byte != 0 ? (char)byte : '?';
    } else {
        line->length = MLPERF_COMMAND + 1;
    }
}
