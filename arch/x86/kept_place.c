/* SPDX-License-Identifier: MIT */
/* Chooses where the log is kept over a reset; see arch/x86/kept_log.h. Pure. */
#include "arch/x86/kept_log.h"

#include "lib/page.h"

/* Each place is at the end of a large block of RAM, so that as little as possible is lost of the
 * others. Firmware and boot loaders use other parts of RAM: GRUB all from 1 MiB to 8 MiB, OVMF up
 * to 24 MiB, and they, SeaBIOS and iPXE take memory from the top downwards. Modules are put behind
 * the image, and reach the first places if they are large. */
static const uint64_t ends[KEPT_LOG_PLACES] = {32ull << 20, 128ull << 20, 512ull << 20,
                                               1024ull << 20};

hpa_t kept_log_place(const struct boot_info *info, unsigned n)
{
    uint64_t start = ends[n] - KEPT_LOG_SIZE;
    for (unsigned i = 0; i < info->module_count; i++) {
        const struct boot_module *module = &info->modules[i];
        if (module->base.v < ends[n] && module->base.v + module->size > start)
            return PAGE_NONE;
    }
    return boot_is_ram(info, HPA(start), KEPT_LOG_SIZE) ? HPA(start) : PAGE_NONE;
}

hpa_t kept_log_choose(const struct boot_info *info)
{
    hpa_t place = PAGE_NONE;
    for (unsigned n = 0; n < KEPT_LOG_PLACES && page_is_none(place); n++)
        place = kept_log_place(info, n);
    return place;
}
