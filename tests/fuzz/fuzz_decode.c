/* SPDX-License-Identifier: MIT */
/*
 * Compares the decoder with Zydis under libFuzzer. The first byte chooses the size of the code. The
 * other bytes, at most 15, are decoded by both. The program aborts at a difference that is not
 * listed in tests/unit/mmio/mmio_zydis.c.
 */
#include "tests/unit/mmio/mmio_zydis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return -1;
    /* The input ends where its block ends, so that the sanitizer sees a read beyond it. */
    unsigned count = size - 1 < INSN_MAX ? (unsigned)size - 1 : INSN_MAX;
    uint8_t *bytes = malloc(count);
    memcpy(bytes, data + 1, count);
    const char *what = zydis_compare(bytes, count, (enum code_size)(data[0] % 3));
    free(bytes);
    if (what) {
        fprintf(stderr, "%u-bit code: %s\n", 16u << data[0] % 3, what);
        abort();
    }
    return 0;
}
