/* SPDX-License-Identifier: MIT */
#include "launch/plan.h"

#include "lib/assert.h"
#include "lib/errno.h"

static const struct {
    const char *name;
    bool measured;
} kinds[] = {
    [LOAD_SEGMENT] = {"segment", true},
    [LOAD_INITRD] = {"initrd", true},
    [LOAD_MODULE] = {"module", true},
    [LOAD_PARAMETERS] = {"boot parameters", true},
    /* ACPI tables describe the VM and not the guest. A guest can measure them itself. */
    [LOAD_FIRMWARE] = {"ACPI tables", false},
    [LOAD_BIOS] = {"BIOS data", false},
    [LOAD_RESET] = {"code at the reset vector", false},
    [LOAD_SHIM] = {"boot shim", true},
};

bool image_in_ram(const struct guest_image *image, uint64_t base, uint64_t size)
{
    for (unsigned i = 0; i < GUEST_RAM_PIECES; i++) {
        const struct guest_range *ram = &image->ram[i];
        if (base >= ram->base.v && size <= ram->size && base - ram->base.v <= ram->size - size)
            return true;
    }
    return false;
}

void plan_init(struct load_plan *plan)
{
    plan->count = 0;
    plan->start = (struct guest_start){0};
}

enum exit_code plan_add(struct load_plan *plan, const struct guest_image *image,
                        struct load_record record)
{
    uint64_t end = record.gpa + record.extent;
    for (unsigned i = 0; i < plan->count; i++) {
        const struct load_record *other = &plan->records[i];
        if (record.gpa < other->gpa + other->extent && other->gpa < end)
            REFUSE(MODULE_NOT_ELF, image, "its %s, %#lx to %#lx, and its %s, %#lx to %#lx, overlap",
                   kinds[other->kind].name, other->gpa, other->gpa + other->extent,
                   kinds[record.kind].name, record.gpa, end);
    }
    BUG_ON(plan->count == LOAD_RECORDS);
    record.measured = kinds[record.kind].measured;
    plan->records[plan->count++] = record;
    return EXIT_OK;
}

bool plan_contains(const struct load_plan *plan, uint64_t address)
{
    for (unsigned i = 0; i < plan->count; i++)
        if (address >= plan->records[i].gpa &&
            address - plan->records[i].gpa < plan->records[i].extent)
            return true;
    return false;
}

enum exit_code plan_add_block(struct load_plan *plan, const struct guest_image *image, uint64_t gpa,
                              uint64_t size)
{
    return plan_add(plan, image,
                    (struct load_record){.gpa = gpa,
                                         .bytes = plan->block,
                                         .size = size,
                                         .extent = size,
                                         .kind = LOAD_PARAMETERS});
}

#define PIECE 32768u /* bytes that are written in a piece */

/* Writes the next piece of a record, whose bytes are followed by zeros up to its extent, and
 * advances *done. Returns 0 if the record is complete, -EINPROGRESS if it is not, or an error of
 * guest_write(). */
static int write_piece(struct mmu *mmu, const struct load_record *record, uint64_t *done)
{
    static const char zeros[512];
    uint64_t end = record->extent - *done < PIECE ? record->extent : *done + PIECE;
    while (*done < end) {
        bool zero = *done >= record->size;
        uint64_t left = (zero || end < record->size ? end : record->size) - *done;
        if (zero && left > sizeof(zeros))
            left = sizeof(zeros);
        int error = guest_write(mmu, GPA(record->gpa + *done),
                                zero ? zeros : (const char *)record->bytes + *done, left);
        if (error)
            return error;
        *done += left;
    }
    return end < record->extent ? -EINPROGRESS : 0;
}

static enum exit_code refuse_copy(const struct guest_image *image, const struct load_record *record,
                                  int error)
{
    REFUSE(NO_MEMORY, image, "no host memory for its %s at %#lx (error %d)",
           kinds[record->kind].name, record->gpa, error);
}

bool plan_copy_piece(struct mmu *mmu, const struct guest_image *image, const struct load_plan *plan,
                     unsigned *index, uint64_t *done, enum exit_code *code)
{
    const struct load_record *record = &plan->records[*index];
    int error = write_piece(mmu, record, done);
    if (error && error != -EINPROGRESS)
        *code = refuse_copy(image, record, error);
    if (!error) {
        *done = 0;
        ++*index;
    }
    return *index == plan->count;
}
