/* SPDX-License-Identifier: MIT */
/*
 * A vCPU for the packets of GDB: registers in an array, 64 KiB of RAM at 0, and a device behind it,
 * whose accesses are counted. Include it in one file.
 */
#pragma once

#include "gdb/command.h"
#include "gdb/target.h"
#include "arch/x86/reg_bits.h"
#include "arch/x86/regs.h"
#include "lib/bits.h"
#include "lib/compiler.h"
#include "lib/errno.h"

#include <stdio.h>
#include <string.h>

#define RAM_SIZE 0x10000u

static uint8_t ram[RAM_SIZE];
static struct mmu_memory memory_at[RAM_SIZE >> 12]; /* the slot of each frame, which may be none */
static uint8_t registers[8][64][GDB_REGISTER_MAX];  /* by kind, where GDB_CPU_REG is special */
static uint8_t cpu_registers[REG_COUNT][GDB_REGISTER_MAX];
static struct gdb_paging paging;
static bool is_open, guest_debugs;
static struct gdb gdb;
static struct wire wire;
static char answer[WIRE_PACKET + 1];

static uint8_t *place_of(const struct gdb_register *which)
{
    return which->kind == GDB_CPU_REG ? cpu_registers[which->index]
                                      : registers[which->kind % 8][which->index];
}

void target_open(struct vcpu *vcpu)
{
    (void)vcpu;
    is_open = true;
}

void target_close(struct vcpu *vcpu)
{
    (void)vcpu;
    is_open = false;
}

void target_get(struct vcpu *vcpu, const struct gdb_register *which, void *bytes)
{
    (void)vcpu;
    memcpy(bytes, place_of(which), which->size);
}

bool target_set(struct vcpu *vcpu, const struct gdb_register *which, const void *bytes)
{
    (void)vcpu;
    memcpy(place_of(which), bytes, which->size);
    return which->kind != GDB_CR2;
}

void target_paging(struct vcpu *vcpu, struct gdb_paging *now)
{
    (void)vcpu;
    *now = paging;
}

int target_read(struct vcpu *vcpu, gpa_t gpa, void *bytes, size_t size)
{
    (void)vcpu;
    if (gpa.v >= RAM_SIZE || size > RAM_SIZE - gpa.v || !memory_at[gpa.v >> 12].born)
        return -14;
    memcpy(bytes, ram + gpa.v, size);
    return 0;
}

int target_write(struct vcpu *vcpu, gpa_t gpa, const void *bytes, size_t size)
{
    (void)vcpu;
    if (gpa.v >= RAM_SIZE || size > RAM_SIZE - gpa.v)
        return -14;
    memcpy(ram + gpa.v, bytes, size);
    return 0;
}

/* Frames whose writes are tracked, how often; frame 7 cannot be, and each second call is early. */
static unsigned tracked[RAM_SIZE >> 12];
static bool is_td, slots_are_busy;

static inline int world_track(uint64_t frame, unsigned by)
{
    slots_are_busy = !slots_are_busy;
    if (slots_are_busy)
        return -EINPROGRESS;
    if (is_td)
        return -EACCES;
    if (frame >= RAM_SIZE >> 12 || !memory_at[frame].born)
        return -EFAULT;
    if (frame == 7)
        return -ENOMEM;
    if (by != 1 && !tracked[frame])
        return -EINVAL;
    tracked[frame] += by;
    return 0;
}

int target_track(struct vcpu *vcpu, gpa_t gpa, struct mmu_memory *memory)
{
    (void)vcpu;
    int error = world_track(gpa.v >> 12, 1);
    if (!error)
        *memory = memory_at[gpa.v >> 12];
    return error;
}

static inline uint64_t world_place(const struct mmu_memory *memory)
{
    uint64_t frame = 0;
    while (frame < RAM_SIZE >> 12 && memcmp(&memory_at[frame], memory, sizeof(*memory)))
        frame++;
    return frame;
}

int target_untrack(struct vcpu *vcpu, const struct mmu_memory *memory)
{
    (void)vcpu;
    return world_track(world_place(memory), -1u);
}

bool target_is_tracked(struct vcpu *vcpu, gpa_t gpa, const struct mmu_memory *memory)
{
    (void)vcpu;
    return world_place(memory) == gpa.v >> 12 && tracked[gpa.v >> 12];
}

bool target_guest_debugs(const struct vcpu *vcpu)
{
    (void)vcpu;
    return guest_debugs;
}

static void world_begin_gdb(void)
{
    memset(ram, 0x90, sizeof(ram));
    memset(&gdb, 0, sizeof(gdb));
    memset(&wire, 0, sizeof(wire));
    memset(&paging, 0, sizeof(paging));
    memset(registers, 0, sizeof(registers));
    memset(cpu_registers, 0, sizeof(cpu_registers));
    memset(tracked, 0, sizeof(tracked));
    for (unsigned i = 0; i < RAM_SIZE >> 12; i++)
        memory_at[i] = (struct mmu_memory){1, i};
    guest_debugs = is_td = slots_are_busy = false;
    gdb.description = &gdb_x86_64;
    gdb.avx = true;
    gdb.threads = 3;
}

/* Executes a packet whose end is at `size`, and leaves the answer in `answer`. */
static inline enum gdb_outcome execute(const char *packet, size_t size)
{
    struct reply reply = {.text = answer, .room = WIRE_PACKET};
    enum gdb_outcome outcome = gdb_execute(&gdb, NULL, packet, size, &reply);
    answer[reply.size] = 0;
    return outcome;
}
