/* A pin that a power monitor or an oscilloscope watches; trigger_<driver>.c has it. */
#ifndef TRIGGER_H
#define TRIGGER_H

/* Make the pin an output, low. */
void trigger_init(void);

/* Drive it high, or low. */
void trigger_set(void *context, int high);

#endif
