/* SPDX-License-Identifier: MIT */
/*
 * SHA-384 and HMAC-SHA-384 (FIPS 180-4 and FIPS 198-1) without vector registers, in constant
 * memory. A block of 128 bytes takes about 3,400 instructions, and a call takes as many blocks as
 * it completes: who may not hold the CPU for long calls sha384_update() with pieces of the message
 * (SHA384_PIECE bytes are at most 40,000 instructions).
 */
#pragma once

#include "lib/types.h"

#define SHA384_SIZE  48  /* of a digest in bytes */
#define SHA384_BLOCK 128 /* bytes */
#define SHA384_PIECE (11 * SHA384_BLOCK)

/* A digest in the making. It may be copied, to continue one message in several ways. */
struct sha384 {
    uint64_t state[8];
    uint64_t length; /* of the message so far in bytes */
    uint8_t block[SHA384_BLOCK];
};

void sha384_init(struct sha384 *sha);
void sha384_update(struct sha384 *sha, const void *message, size_t size);

/* Ends the message. `sha` is to be initialised before it is used again. */
void sha384_final(struct sha384 *sha, uint8_t digest[SHA384_SIZE]);

/* The digest of a message that is in one place. */
void sha384(const void *message, size_t size, uint8_t digest[SHA384_SIZE]);

/* A key, in the form in which an HMAC begins: the digests after the two padded keys. */
struct sha384_hmac {
    struct sha384 inner, outer;
};

/* `size` is at most SHA384_BLOCK. */
void sha384_hmac_init(struct sha384_hmac *key, const void *bytes, size_t size);
void sha384_hmac(const struct sha384_hmac *key, const void *message, size_t size,
                 uint8_t digest[SHA384_SIZE]);
