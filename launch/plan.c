/* SPDX-License-Identifier: MIT */
#include "launch/plan.h"

#include "lib/assert.h"

static const struct {
    const char *name;
    bool measured;
} kinds[] = {
    [LOAD_SEGMENT] = {"segment", true},
    [LOAD_INITRD] = {"initrd", true},
    [LOAD_MODULE] = {"module", true},
    [LOAD_PARAMETERS] = {"boot parameters", true},
    /* They describe the VM and not the guest, and a guest is free to measure them itself. */
    [LOAD_FIRMWARE] = {"ACPI tables", false},
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

/* A large file is copied in pieces: others may want the CPU. */
#define PIECE 32768u

static int write_bytes(struct mmu *mmu, const struct load_record *record)
{
    const char *from = record->bytes;
    int error = 0;
    for (uint64_t done = 0; !error && done < record->size; done += PIECE) {
        uint64_t piece = record->size - done < PIECE ? record->size - done : PIECE;
        error = guest_write(mmu, GPA(record->gpa + done), from + done, piece);
        (void)mmu_pauses();
    }
    return error;
}

static int write_zeros(struct mmu *mmu, const struct load_record *record)
{
    static const char zeros[512];
    int error = 0;
    for (uint64_t done = record->size; !error && done < record->extent; done += sizeof(zeros)) {
        uint64_t piece = record->extent - done;
        if (piece > sizeof(zeros))
            piece = sizeof(zeros);
        error = guest_write(mmu, GPA(record->gpa + done), zeros, piece);
        (void)mmu_pauses();
    }
    return error;
}

enum exit_code plan_copy(struct mmu *mmu, const struct guest_image *image,
                         const struct load_plan *plan)
{
    for (unsigned i = 0; i < plan->count; i++) {
        const struct load_record *record = &plan->records[i];
        int error = write_bytes(mmu, record);
        if (!error)
            error = write_zeros(mmu, record);
        if (error)
            REFUSE(NO_MEMORY, image, "no host memory for its %s at %#lx (error %d)",
                   kinds[record->kind].name, record->gpa, error);
    }
    return EXIT_OK;
}
