/* sne-edge wire: the device's side of the serial protocol (docs/PROTOCOL.md describes it byte by byte).
 *
 * Feed every received byte to `sne_wire_receive`; a complete request is executed at once and its reply handed to the
 * platform's `write`. Nothing else calls back, nothing blocks, and the caller owns all memory. A damaged, over-long
 * or unknown frame changes nothing but draws a reply with an error status; the next zero byte resynchronises. */
#ifndef SNE_WIRE_H
#define SNE_WIRE_H

#include "sne_model.h"
#include "sne_verify.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SNE_WIRE_PROTOCOL 1

/* Longest body of a request or reply, in bytes. */
#ifndef SNE_WIRE_MAX_BODY
#define SNE_WIRE_MAX_BODY 256
#endif
#if SNE_WIRE_MAX_BODY < 160 || SNE_WIRE_MAX_BODY > 65535
#error "SNE_WIRE_MAX_BODY must be in 160..65535: a policy with the margins of 32 students takes 148 bytes"
#endif

/* Requests; a reply's opcode is the request's with SNE_OP_REPLY set. Python parses these enums from this file. */
typedef enum {
    SNE_OP_INFO = 1,
    SNE_OP_RESET = 2,
    SNE_OP_LOAD = 3,
    SNE_OP_RUN = 4,
    SNE_OP_RESULT = 5,
    SNE_OP_VECTOR = 6,
    SNE_OP_BENCH = 7,
    SNE_OP_SPIKES = 8,
    SNE_OP_MEMBRANES = 9,
    SNE_OP_LAYERS = 10,
    SNE_OP_STEP = 11,
    SNE_OP_PULSE = 12,
    SNE_OP_RATE = 13,
    SNE_OP_IMAGE = 14,
    SNE_OP_PROFILE = 15,
    SNE_OP_REPLY = 128,
    SNE_OP_REJECT = 128, /* reply to what was no request: damaged, too long, or an unknown command */
    SNE_OP_FAULT = 255   /* unsolicited: the device faulted, and starts again */
} sne_wire_op;

/* Statuses beyond sne_status. */
typedef enum {
    SNE_E_FRAME = -16,    /* not COBS, or shorter than a request can be */
    SNE_E_CRC = -17,      /* the checksum does not match */
    SNE_E_TOO_LONG = -18, /* longer than SNE_WIRE_MAX_BODY allows */
    SNE_E_COMMAND = -19,  /* there is no such command */
    SNE_E_LENGTH = -20,   /* the body's length does not fit the command */
    SNE_E_NO_RESULT = -21, /* nothing has been run since the last reset */
    SNE_E_NO_STREAM = -22, /* the model does not take a stream of events */
    SNE_E_NO_COUNTER = -23, /* the device cannot count instructions or cycles */
    SNE_E_NOT_KEPT = -24, /* membranes are kept in a stream, or where firmware was compiled with SNE_TRACE */
    SNE_E_NO_PIN = -25,   /* the device has no pin to drive, or cannot pause */
    SNE_E_RATE = -26,     /* the serial line cannot have that rate */
    SNE_E_NO_IMAGE = -27, /* the device cannot read its own program */
    SNE_E_NO_PROFILE = -28 /* layers are counted where firmware was compiled with SNE_PROFILE */
} sne_wire_status;

/* What BENCH counts. */
typedef enum {
    SNE_COUNTER_NONE = 0,
    SNE_COUNTER_INSTRUCTIONS = 1, /* an emulator with an instruction clock */
    SNE_COUNTER_CYCLES = 2        /* hardware */
} sne_counter;

/* What VECTOR found different from the reference; a mask. */
typedef enum {
    SNE_DIFFERS_LOGITS = 1,
    SNE_DIFFERS_ACTIVE = 2,
    SNE_DIFFERS_SPIKES = 4,
    SNE_DIFFERS_OPS = 8
} sne_difference;

/* What the device is and can do. Pointers other than `write` may be null: the figure is then reported as 0, or
 * the command that needs it refused. */
typedef struct {
    void (*write)(void *context, const uint8_t *bytes, size_t n);
    void (*count_start)(void *context);
    uint64_t (*count_read)(void *context);  /* instructions or cycles since count_start */
    void (*stack_mark)(void *context);      /* from here on, watch how deep the stack grows below this call */
    uint32_t (*stack_used)(void *context);  /* bytes it grew since */
    uint32_t (*stack_peak)(void *context);  /* bytes in use at its deepest since power-on */
    void *context;
    const char *board;
    uint32_t flash_size;  /* bytes, 0: unknown */
    uint32_t flash_used;
    uint32_t ram_size;
    uint32_t ram_used;    /* static data, without the stack */
    uint32_t stack_size;
    uint32_t clock_hz;    /* of the core where `counter` counts cycles, otherwise 0 */
    uint8_t counter;      /* sne_counter */
    void (*trigger)(void *context, int high);              /* the pin that is high during an inference of PULSE */
    void (*pause)(void *context, uint32_t milliseconds);
    int (*set_rate)(void *context, uint32_t baud, int now); /* whether the line can have it; if `now`, from here on */
    const uint8_t *image;                                  /* the program: flash_used bytes, where has_image is not 0 */
    uint8_t has_image;                                     /* it may begin at address 0 */
    void (*profile_start)(void *context);                  /* forget all counts by layer */
    int (*profile_read)(void *context, uint32_t index, uint32_t *calls, uint64_t *count); /* 0: there are no more */
} sne_platform;

/* The model to serve, and its memory. */
typedef struct {
    const sne_model *model;
    const sne_layer_info *layers; /* [model->n_layers] */
    const sne_vectors *vectors;   /* may be null */
    void *state;                  /* model->state_bytes bytes, or a stream's where that is more; aligned to words */
    uint8_t *input;               /* model->input_bytes bytes, aligned to 4 */
} sne_wire_model;

/* One end of a line. The fields are private. */
typedef struct {
    const sne_wire_model *served;
    const sne_platform *platform;
    sne_result result;
    uint8_t has_result;
    uint8_t streaming; /* the state holds a stream, not what sne_run left */
    uint8_t rx_block;  /* bytes to come in the current COBS block */
    uint8_t rx_zero;   /* the block stands for a zero at its end, unless the frame ends there */
    int8_t rx_error;
    uint8_t damaged;   /* frames in a row, up to 255; 0 where the last one was whole */
    uint8_t unsure;    /* the rate has changed, and no frame has come whole since */
    uint32_t next_rate; /* what RATE asked for, until its reply is sent; otherwise 0 */
    size_t rx_length;
    size_t tx_length;
    union {
        int32_t margins[SNE_WIRE_MAX_BODY / 4];
        uint16_t events[SNE_WIRE_MAX_BODY / 2];
    } operands; /* of the request, aligned */
    uint8_t rx[2 + SNE_WIRE_MAX_BODY + 4];
    uint8_t tx[3 + SNE_WIRE_MAX_BODY + 4];
} sne_wire;

/* What a fault handler knows; registers that a core does not have are 0. */
typedef struct {
    uint32_t exception; /* number: 3 hard fault, 4 memory, 5 bus, 6 usage, 7 secure; others: an unexpected interrupt */
    uint32_t pc;
    uint32_t lr;
    uint32_t xpsr;
    uint32_t cfsr;
    uint32_t hfsr;
    uint32_t address; /* that faulted, where `cfsr` says it is valid */
} sne_fault;

/* Make `wire` ready to serve; all pointers must outlive it. */
void sne_wire_init(sne_wire *wire, const sne_wire_model *served, const sne_platform *platform);

/* Take one received byte; at the end of a request, execute it and write the reply. */
void sne_wire_receive(sne_wire *wire, uint8_t byte);

/* Tell the host of a fault. Needs no sne_wire, so that it works whatever the fault destroyed. */
void sne_wire_fault(const sne_platform *platform, const sne_fault *fault);

#ifdef __cplusplus
}
#endif
#endif
