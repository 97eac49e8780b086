/* The front end of a loaded model: from int16 audio to its input (sne_logmel.h).
 *
 *     sne_logmel logmel;
 *     if (sne_load_frontend(&model, &logmel) == SNE_OK) sne_logmel_recording(&logmel, &held, history, work, samples, n, input);
 */
#ifndef SNE_LOAD_FRONTEND_H
#define SNE_LOAD_FRONTEND_H

#include "sne_load.h"
#include "sne_logmel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Check the front end of a loaded model, and make `logmel` of it, whose tables stay in the blob; its frames, all together, are the
 * model's input_bytes. `history` and `work` of sne_logmel_push hold logmel->window entries each. After an error `logmel` is as it
 * was. Returns SNE_OK, SNE_E_ARGUMENT (a pointer is null, or the model has no front end) or SNE_E_TABLES. */
SNE_CHECKED sne_status sne_load_frontend(const sne_loaded *loaded, sne_logmel *logmel);

/* Samples a second that the front end takes; 0 where there is none. */
uint32_t sne_loaded_rate(const sne_loaded *loaded);

#ifdef __cplusplus
}
#endif
#endif
