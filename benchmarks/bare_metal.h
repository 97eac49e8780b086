/* A C program on an emulated core, for measurements and tests of single kernels: what bare_metal.c offers it. */
#ifndef BARE_METAL_H
#define BARE_METAL_H

#include <stdint.h>

/* The program; returns 0 for success. */
int program(void);

/* To the emulator's standard output. */
void print_text(const char *text);
void print_number(int64_t number);
void print_line(const char *name, int64_t number); /* "name number\n" */

/* Files of this computer, in the folder of the program's ELF. `open_*` return a handle, or -1; `read_file` and
 * `write_file` whether all bytes were there, or written. */
int open_input(const char *name);
int open_output(const char *name);
int read_file(int file, void *data, uint32_t bytes);
int write_file(int file, const void *data, uint32_t bytes);

/* Instructions of work(argument), exact to the instruction: an empty call's are taken off. */
uint64_t count_instructions(void (*work)(void *argument), void *argument);

/* The same numbers on every run. */
uint32_t random_word(void);

#endif
