/* Whether a blob may be run: everything that kernels rely on. */
#ifndef SNE_LOAD_CHECK_H
#define SNE_LOAD_CHECK_H

#include "sne_blob.h"
#include "sne_load.h"

/* SNE_OK, SNE_E_BLOB, SNE_E_KERNELS or SNE_E_TABLES. */
sne_status sne_check_blob(const uint8_t *blob, size_t length, const sne_kernels *kernels);

/* The kernel of that kind; null where the build holds none. */
const sne_kernel *sne_find_kernel(const sne_kernels *kernels, uint32_t kind);

#endif
