/* fixed: the self-test as a program for the host: `make check`. Not for firmware. */
#include <stdio.h>

#include "fixed.h"

int main(void)
{
    static fixed_state state;
    const unsigned count = (unsigned)(fixed_vectors.count), failures = (unsigned)fixed_selftest(&state);
    printf("fixed: %u of %u golden vectors exact\n", count - failures, count);
    return failures == 0 && count > 0 ? 0 : 1;
}
