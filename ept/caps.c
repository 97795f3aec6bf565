/* SPDX-License-Identifier: MIT */
/* Decodes IA32_VMX_EPT_VPID_CAP; see the header. Touches nothing but its arguments and the log. */
#include "ept/caps.h"

#include "lib/bit_words.h"
#include "lib/errno.h"
#include "lib/log.h"

static const struct {
    uint64_t any_of; /* one of these bits must be set */
    const char *what;
} required[] = {
    {EPT_CAP_WALK_4, "a page walk of four levels (bit 6)"},
    {EPT_CAP_WB, "write-back EPT tables (bit 14)"},
    {EPT_CAP_INVEPT, "the INVEPT instruction (bit 20)"},
    {EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL, "a type of INVEPT (bits 25 and 26)"},
};

/* The bits that must be clear in an entry that is present (SDM 3, 29.3.3.1). */
static void ept_caps_set_reserved(struct ept_caps *caps)
{
    uint64_t high = caps->maxphyaddr < 52 ? BITS(51, caps->maxphyaddr) : 0;

    for (unsigned level = EPT_LEVEL_2M; level <= EPT_LEVEL_512G; level++) {
        caps->reserved[level][0] = high | EPT_MEMTYPE | EPT_IPAT;
        caps->reserved[level][1] = high | EPT_LARGE;
    }
    if (caps->page_2m)
        caps->reserved[EPT_LEVEL_2M][1] = high | BITS(20, 12);
    if (caps->page_1g)
        caps->reserved[EPT_LEVEL_1G][1] = high | BITS(29, 12);
    caps->reserved[EPT_LEVEL_4K][0] = high; /* at level 1, bit 7 is ignored */
    caps->reserved[EPT_LEVEL_4K][1] = high;
}

int ept_caps_parse(struct ept_caps *caps, uint64_t msr, unsigned maxphyaddr)
{
    if (maxphyaddr < 32 || maxphyaddr > 52) {
        log_error("EPT: MAXPHYADDR is %u, but only 32 to 52 exist; CPUID 80000008h is wrong",
                  maxphyaddr);
        return -EINVAL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(required); i++) {
        if (!(msr & required[i].any_of)) {
            log_error("EPT: this CPU lacks %s of IA32_VMX_EPT_VPID_CAP, which is %#lx; "
                      "use another CPU",
                      required[i].what, msr);
            return -ENODEV;
        }
    }

    *caps = (struct ept_caps){
        .maxphyaddr = maxphyaddr,
        .exec_only = msr & EPT_CAP_EXEC_ONLY,
        .page_2m = msr & EPT_CAP_2M,
        .page_1g = msr & EPT_CAP_1G,
        .ad = msr & EPT_CAP_AD,
        .violation_info = msr & EPT_CAP_VIOLATION_INFO,
        .invept_single = msr & EPT_CAP_INVEPT_SINGLE,
        .invept_all = msr & EPT_CAP_INVEPT_ALL,
    };
    if (msr & EPT_CAP_INVVPID)
        caps->invvpid_types = (unsigned)field_get(msr, BITS(43, 40));

    /* Write without read is always a misconfiguration, and execute-only is one unless the CPU
     * supports it. */
    caps->bad_permissions = 1u << EPT_WRITE | 1u << (EPT_WRITE | EPT_EXECUTE);
    if (!caps->exec_only)
        caps->bad_permissions |= 1u << EPT_EXECUTE;
    ept_caps_set_reserved(caps);
    return 0;
}

unsigned ept_caps_words(uint64_t msr, char *buffer, unsigned size)
{
    static const struct bit_word words[] = {
        {EPT_CAP_EXEC_ONLY, "execute-only"},
        {EPT_CAP_WALK_4, "4 levels"},
        {EPT_CAP_WALK_5, "5 levels"},
        {EPT_CAP_UC, "uncached tables"},
        {EPT_CAP_WB, "write-back tables"},
        {EPT_CAP_2M, "2 MiB pages"},
        {EPT_CAP_1G, "1 GiB pages"},
        {EPT_CAP_INVEPT, "INVEPT"},
        {EPT_CAP_AD, "accessed and dirty bits"},
        {EPT_CAP_VIOLATION_INFO, "advanced information of violations"},
        {EPT_CAP_SHADOW_STACK, "supervisor shadow-stack control"},
        {EPT_CAP_INVEPT_SINGLE, "INVEPT of one EPTP"},
        {EPT_CAP_INVEPT_ALL, "INVEPT of all"},
        {EPT_CAP_INVVPID, "INVVPID"},
        {EPT_CAP_INVVPID_ADDRESS, "INVVPID of an address"},
        {EPT_CAP_INVVPID_SINGLE, "INVVPID of one VPID"},
        {EPT_CAP_INVVPID_ALL, "INVVPID of all"},
        {EPT_CAP_INVVPID_GLOBALS, "INVVPID but for global pages"},
    };
    return bit_words(msr, words, ARRAY_SIZE(words), buffer, size);
}
