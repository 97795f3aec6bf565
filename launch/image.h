/* SPDX-License-Identifier: MIT */
/* A guest's file, as a loader gets it, and the state in which its first vCPU starts. */
#pragma once

#include "lib/exit_codes.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vm/layout.h"

#include <stdbool.h>

/* What a file is that follows a guest's own. */
enum guest_module_kind {
    GUEST_MODULE_FILE,
    GUEST_MODULE_INITRD,
    GUEST_MODULE_DISK, /* from here on: a device, and not passed to the guest */
    GUEST_MODULE_DISK_READ_ONLY,
};

#define GUEST_MODULES     4
#define MODULE_STRING_MAX 64

/* A file that is passed to the guest. */
struct guest_module {
    const void *file;
    uint64_t size;
    enum guest_module_kind kind;
    char string[MODULE_STRING_MAX]; /* its name and, if there is any, the text behind `--` */
};

/* How an ELF64 kernel is entered: as the file asks, by PVH, or at its 64-bit entry point. */
enum guest_entry {
    GUEST_ENTRY_AUTO,
    GUEST_ENTRY_PVH,
    GUEST_ENTRY_64,
};

struct guest_image {
    const char *name; /* of the VM, for messages */
    const void *file;
    uint64_t size;         /* of the file, in bytes */
    const char *arguments; /* the guest's command line */
    enum guest_entry entry;
    unsigned cpus;
    bool pc; /* it has a PC's devices */
    struct guest_range ram[GUEST_RAM_PIECES];
    struct guest_module modules[GUEST_MODULES];
    unsigned module_count;
    unsigned disks; /* that its VM has */
};

/* The state in which the first vCPU starts, apart from what all guests have in common: flat
 * segments, interrupts off, zeros. */
struct guest_start {
    uint64_t entry;  /* RIP */
    uint64_t info;   /* what the loader tells the guest: EBX in protected mode, RSI in long mode */
    uint32_t magic;  /* EAX */
    uint32_t gdt;    /* where the GDT is */
    uint64_t tables; /* CR3 */
    bool long_mode;  /* 64-bit code with paging on; otherwise 32-bit code with paging off */
};

/* Ends a loader with a message about the image. */
#define REFUSE(code, image, ...)                           \
    do {                                                   \
        char message[200];                                 \
        snprintf(message, sizeof(message), __VA_ARGS__);   \
        log_error("guest %s: %s", (image)->name, message); \
        return EXIT_##code;                                \
    } while (0)

/* Does the range lie in one piece of the VM's RAM? */
bool image_in_ram(const struct guest_image *image, uint64_t base, uint64_t size);

/* The end of the RAM below 3 GiB, for messages. */
static inline uint64_t image_ram_end(const struct guest_image *image)
{
    return image->ram[1].base.v + image->ram[1].size;
}
