/* SPDX-License-Identifier: MIT */
/*
 * A key that nobody else can know, made of the CPU's random number generator and of the TSC, whose
 * low bits depend on when each sample is taken. Pure but for two instructions, so it is hosted.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/sha384.h"

/* Where the randomness comes from. `generator` returns false if it has no number at the moment; it
 * is NULL if the CPU has none. */
struct entropy_source {
    const char *name;
    bool (*generator)(uint64_t *value);
    uint64_t (*tsc)(void);
};

/* Returns RDSEED or, if the CPU does not have it, RDRAND or, if neither, no generator. */
struct entropy_source entropy_source_of_this_cpu(void);

/* Fills `key`. Returns false if the generator has not worked: then the key is made of the TSC
 * alone, and can be guessed. */
bool entropy_key(const struct entropy_source *source, uint8_t key[SHA384_SIZE]) MUST_CHECK;
