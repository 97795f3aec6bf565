/* SPDX-License-Identifier: MIT */
/* Explains why an EPT entry is misconfigured; see the header. Pure. */
#include "ept/misconfig.h"

#include "lib/string.h"

struct text {
    char *at;
    size_t room;
};

static void PRINTF(2, 3) reasons_add(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text->at, text->room, format, arguments);
    va_end(arguments);
    size_t used = (size_t)length < text->room ? (size_t)length : text->room - 1;
    text->at += used;
    text->room -= used;
}

static void explain_permissions(struct text *text, uint64_t entry, unsigned level,
                                const struct ept_caps *caps)
{
    static const char *const why[8] = {
        [EPT_WRITE] = "010b (write without read)",
        [EPT_EXECUTE] = "100b (execute alone, which this CPU lacks)",
        [EPT_WRITE | EPT_EXECUTE] = "110b (write without read)",
    };
    uint64_t rwx = entry & EPT_RWX;
    if (caps->bad_permissions >> rwx & 1)
        reasons_add(text, "level %u, bits 2:0 = %s; ", level, why[rwx]);
}

static void explain_address(struct text *text, uint64_t entry, const struct ept_caps *caps)
{
    for (unsigned bit = 51; bit >= caps->maxphyaddr; bit--) {
        if (entry & BIT(bit)) {
            reasons_add(text, "address bit %u above MAXPHYADDR %u; ", bit, caps->maxphyaddr);
            return;
        }
    }
}

static void explain_large(struct text *text, uint64_t entry, unsigned level,
                          const struct ept_caps *caps)
{
    uint64_t reserved = caps->reserved[level][1];
    if (reserved & EPT_LARGE) {
        reasons_add(text, "bit 7 at level %u, where this CPU has no pages; ", level);
    } else if (entry & reserved & (ept_frames(level) * PAGE_SIZE - 1)) {
        reasons_add(text, "address bits %u:12 not clear in a leaf of level %u; ", 9 * level + 2,
                    level);
    }
}

bool ept_misconfig_explain(uint64_t entry, unsigned level, const struct ept_caps *caps,
                           char *buffer, size_t size)
{
    struct text text = {buffer, size};
    buffer[0] = 0;
    if (!(entry & EPT_RWX))
        return false;

    bool large = level > EPT_LEVEL_4K && entry & EPT_LARGE;
    bool leaf = large || level == EPT_LEVEL_4K;
    explain_permissions(&text, entry, level, caps);
    explain_address(&text, entry, caps);
    if (large)
        explain_large(&text, entry, level, caps);
    if (entry & caps->reserved[level][large] & (EPT_MEMTYPE | EPT_IPAT))
        reasons_add(&text, "bits 6:3 = %#x in an entry of level %u that points to a table; ",
                    (unsigned)field_get(entry, BITS(6, 3)), level);
    unsigned type = (unsigned)field_get(entry, EPT_MEMTYPE);
    if (leaf && MEMTYPE_RESERVED >> type & 1)
        reasons_add(&text, "memory type %u is reserved; ", type);

    size_t length = strlen(buffer);
    if (length >= 2 && buffer[length - 1] == ' ')
        buffer[length - 2] = 0;
    return length > 0;
}
