/* SPDX-License-Identifier: MIT */
/* SHA-256 (FIPS 180-4) of a message that is in one place, for the signatures of quotes. It is not
 * called often: about 2,000 instructions for each 64 bytes. */
#pragma once

#include "lib/types.h"

#define SHA256_SIZE 32

void sha256(const void *message, size_t size, uint8_t digest[SHA256_SIZE]);
