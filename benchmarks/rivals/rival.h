/* What a rival's adapter offers to the program (program.c). */
#ifndef RIVAL_H
#define RIVAL_H

/* Once, before the first input: what the rival does at start-up. */
void rival_prepare(void);

/* One whole inference, states at rest at its start: INPUT_BYTES in the rival's own form, a score for each class. */
void rival_infer(const void *input, float scores[CLASSES]);

#endif
