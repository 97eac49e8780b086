/* SPDX-License-Identifier: Apache-2.0 */
/* fixed: the self-test as a program for the host: `make check`. Not for firmware. */
#include <stdio.h>

#include "../fixed.h"

static int fixed_is_exact(void)
{
    static fixed_state state;
    const unsigned long count = fixed_vectors.count, failures = fixed_selftest(&state);
    printf("fixed: %lu of %lu golden vectors exact\n", count - failures, count);
    return failures == 0 && count > 0;
}

int main(void)
{
    int exact = 1;
    exact &= fixed_is_exact();
    return !exact;
}
