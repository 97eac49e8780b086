/* The example on this computer: a recording takes the microphone's place, a block at a time. */
#include <stdio.h>

#include "listen.h"
#include "recording.h"

int main(void)
{
    static listener l;
    const size_t samples = sizeof recording / sizeof recording[0], words = sizeof spoken / sizeof spoken[0];
    size_t at, heard = 0, right = 0;
    int32_t digit;
    listen_start(&l);
    for (at = 0; at < samples; at += LISTEN_BLOCK) {
        const size_t n = samples - at < LISTEN_BLOCK ? samples - at : (size_t)LISTEN_BLOCK;
        if (listen(&l, recording + at, n, &digit)) {
            printf("%5.2f s: %s\n", (double)(at + n) / FSDD_RATE, fsdd_class_name((uint32_t)digit));
            right += heard < words && digit == spoken[heard];
            heard++;
        }
    }
    printf("%u of %u digits heard, %u inferences in %.1f s of audio\n", (unsigned)right, (unsigned)words,
           (unsigned)l.inferences, (double)samples / FSDD_RATE);
    return right == words && heard == words ? 0 : 1;
}
