/* SPDX-License-Identifier: MIT */
#include "vmx/broken.h"

#include "arch/x86/cpu.h"
#include "lib/string.h"
#include "vmx/extra_state.h"

#define LEAF7_EBX_ADX  BIT(19)
#define LEAF7_EBX_SHA  BIT(29)
#define LEAF7_ECX_GFNI BIT(8)

/* An instruction with XMM0 = operand 2 and the aligned operand 3, with the result in operand 0.
 * XMM0 does not change: it is saved in operand 1. */
#define WITH_XMM0(instruction) \
    "movdqu %%xmm0, %1; movdqu %2, %%xmm0; " instruction "; movdqu %%xmm0, %0; movdqu %1, %%xmm0"

/* ADOX puts the carry of an unsigned addition into OF. This one has no signed overflow. */
static bool adox_works(void)
{
    uint64_t sum = ~0ull;
    uint8_t carry;
    __asm__ volatile("test %1, %1; adox %2, %1; seto %0"
                     : "=&q"(carry), "+r"(sum)
                     : "r"(1ull)
                     : "cc");
    return carry && !sum;
}

/* The identity matrix leaves each byte as it is. */
static bool affine_works(void)
{
    static const uint64_t bytes[2] = {0x0123456789abcdef, 0xfedcba9876543210};
    static const _Alignas(16) uint64_t identity[2] = {0x0102040810204080, 0x0102040810204080};
    uint64_t result[2], saved[2];
    __asm__ volatile(WITH_XMM0("gf2p8affineqb $0, %3, %%xmm0")
                     : "=m"(result), "=m"(saved)
                     : "m"(bytes), "m"(identity));
    return !memcmp(result, bytes, sizeof(bytes));
}

/* Four rounds of SHA-1 from A, B, C, D = 01234567h, 89abcdefh, fedcba98h, 76543210h, computed by
 * its definition (FIPS 180-4, 6.1.2). The register has A in its highest element. */
static bool sha1_works(void)
{
    static const uint32_t state[4] = {0x76543210, 0xfedcba98, 0x89abcdef, 0x01234567};
    static const _Alignas(16) uint32_t words[4] = {0xccddeeff, 0x8899aabb, 0x44556677, 0x00112233};
    static const uint32_t wanted[4] = {0x1f7640d1, 0xb3d2ddaa, 0x8dd2a5c0, 0xd362d5f5};
    uint32_t result[4], saved[4];
    __asm__ volatile(WITH_XMM0("sha1rnds4 $0, %3, %%xmm0")
                     : "=m"(result), "=m"(saved)
                     : "m"(state), "m"(words));
    return !memcmp(result, wanted, sizeof(wanted));
}

uint32_t broken_on_cpu(void)
{
    struct cpuid leaf7 = cpuid(0, 0).eax >= 7 ? cpuid(7, 0) : (struct cpuid){0};
    uint32_t broken = 0;
    if (!extra_compaction_works())
        broken |= BROKEN_COMPACTION;
    if (leaf7.ebx & LEAF7_EBX_ADX && !adox_works())
        broken |= BROKEN_ADX;
    if (leaf7.ecx & LEAF7_ECX_GFNI && !affine_works())
        broken |= BROKEN_GFNI;
    if (leaf7.ebx & LEAF7_EBX_SHA && !sha1_works())
        broken |= BROKEN_SHA;
    return broken;
}
