/* SPDX-License-Identifier: MIT */
#include "arch/x86/entropy.h"

#include "arch/x86/unprivileged.h"
#include "lib/bits.h"

#define CPUID1_ECX_RDRAND BIT(30)
#define CPUID7_EBX_RDSEED BIT(18)

#define SAMPLES   16  /* of 8 bytes: more than the key has */
#define TRIES     100 /* for each sample; RDSEED may be empty for as long as it refills */
#define TSC_READS 128

static bool entropy_rdseed(uint64_t *value)
{
    bool valid;
    __asm__ volatile("rdseed %0" : "=r"(*value), "=@ccc"(valid));
    return valid;
}

static bool entropy_rdrand(uint64_t *value)
{
    bool valid;
    __asm__ volatile("rdrand %0" : "=r"(*value), "=@ccc"(valid));
    return valid;
}

struct entropy_source entropy_source_of_this_cpu(void)
{
    if (cpuid(0, 0).eax >= 7 && cpuid(7, 0).ebx & CPUID7_EBX_RDSEED)
        return (struct entropy_source){"RDSEED", entropy_rdseed, rdtsc};
    if (cpuid(1, 0).ecx & CPUID1_ECX_RDRAND)
        return (struct entropy_source){"RDRAND", entropy_rdrand, rdtsc};
    return (struct entropy_source){"no random number generator", NULL, rdtsc};
}

/* A number that is valid and not the last one: generators are known that are stuck. */
static bool entropy_sample(const struct entropy_source *source, uint64_t *value)
{
    uint64_t last = *value;

    for (unsigned i = 0; i < TRIES; i++) {
        if (source->generator(value) && *value != last)
            return true;
    }
    return false;
}

bool entropy_key(const struct entropy_source *source, uint8_t key[SHA384_SIZE])
{
    struct sha384 sha;
    uint64_t value = ~0ull, ticks;
    bool works = source->generator;

    sha384_init(&sha);
    for (unsigned i = 0; i < SAMPLES && works; i++) {
        works = entropy_sample(source, &value);
        sha384_update(&sha, &value, sizeof(value));
    }
    for (unsigned i = 0; i < TSC_READS; i++) {
        ticks = source->tsc();
        sha384_update(&sha, &ticks, sizeof(ticks));
    }
    sha384_final(&sha, key);
    return works;
}
