/* SPDX-License-Identifier: MIT */
/* The registers and the memory of a vCPU, on whose pCPU this runs in a visit. */
#include "gdb/target.h"

#include "arch/x86/cpu.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "lib/page.h"
#include "mmu/mmu.h"
#include "vm/td_memory.h"
#include "vm/vm.h"
#include "vmx/xcr0.h"

/* The XSAVE area (SDM 1, 13.4). */
#define AREA_MXCSR  24
#define AREA_ST     32
#define AREA_XMM    160
#define AREA_HEADER 512

/* CF, PF, AF, ZF, SF, DF, OF, NT, RF, AC and ID. The others belong to the mode; or, as IF and TF,
 * have to agree with blocking, pending events and pending debug exceptions, or VM entry fails
 * (SDM 3, 27.3.1.4 and 27.3.1.5). */
#define RFLAGS_WRITABLE 0x254cd5u

static char *area_of(struct vcpu *vcpu)
{
    return phys_to_virt(vcpu->extra.fpu);
}

/* Saving leaves other values in XCR0, so the state is loaded again in any case. */
void target_open(struct vcpu *vcpu)
{
    extra_state_save(&vcpu->extra);
}

void target_close(struct vcpu *vcpu)
{
    WARN_ON(extra_state_load(&vcpu->extra) != NULL);
}

/* Two bits for each x87 register: 0 valid, 1 zero, 2 special, 3 empty. The area has one bit, which
 * is 0 for an empty register. Bits are in the order of the registers, and values in that of the
 * stack. */
static uint32_t whole_tags(const char *area)
{
    unsigned top = (uint8_t)area[3] >> 3 & 7, tags = 0;
    for (unsigned i = 0; i < 8; i++) {
        const char *value = area + AREA_ST + 16 * ((i - top) & 7);
        uint64_t significand;
        uint16_t exponent;
        memcpy(&significand, value, sizeof(significand));
        memcpy(&exponent, value + 8, sizeof(exponent));
        exponent &= 0x7fff;
        unsigned tag = exponent == 0x7fff              ? 2
                       : exponent && significand >> 63 ? 0
                       : !exponent && !significand     ? 1
                                                       : 2;
        tags |= (area[4] >> i & 1 ? tag : 3) << (2 * i);
    }
    return tags;
}

/* fctrl, fstat, ftag, fiseg, fioff, foseg, fooff, fop */
static uint32_t x87_control(const char *area, unsigned index)
{
    static const uint8_t offsets[] = {0, 2, 4, 12, 8, 20, 16, 6};
    uint32_t value;
    memcpy(&value, area + offsets[index], sizeof(value));
    if (index == 2)
        return whole_tags(area);
    return index == 4 || index == 6 ? value : value & 0xffff;
}

/* GDB knows addresses, and no segments: RIP is the linear address of the instruction to it, so that
 * breakpoints, steps and disassembly work in real mode. This is what is to be added. */
static uint64_t code_base(struct vcpu *vcpu)
{
    return vmx_in_64_bit_code() ? 0 : cpu_reg(&vcpu->vmx.regs, REG_SEG_BASE + SEG_CS);
}

/* Where the area has this register, or NULL. */
static char *area_place(struct vcpu *vcpu, const struct gdb_register *which, uint64_t *component)
{
    char *area = area_of(vcpu);
    switch (which->kind) {
    case GDB_ST:
        *component = XCR0_X87;
        return area + AREA_ST + (size_t)16 * which->index;
    case GDB_XMM:
        *component = XCR0_SSE;
        return area + AREA_XMM + (size_t)16 * which->index;
    case GDB_MXCSR:
        *component = XCR0_SSE;
        return area + AREA_MXCSR;
    case GDB_YMM_HIGH:
        *component = XCR0_AVX;
        return area + cpuid(0xd, 2).ebx + (size_t)16 * which->index;
    default:
        return NULL;
    }
}

void target_get(struct vcpu *vcpu, const struct gdb_register *which, void *bytes)
{
    struct cpu_regs *cpu = &vcpu->vmx.regs;
    uint64_t component, value = 0;
    const char *place = area_place(vcpu, which, &component);
    if (place) {
        uint64_t in_use;
        memcpy(&in_use, area_of(vcpu) + AREA_HEADER, sizeof(in_use));
        if (which->kind == GDB_YMM_HIGH && !(in_use & component))
            memset(bytes, 0, which->size);
        else
            memcpy(bytes, place, which->size);
        return;
    }
    switch (which->kind) {
    case GDB_GPR:
        value = cpu->gpr[which->index];
        break;
    case GDB_CPU_REG:
        value = cpu_reg(cpu, (enum cpu_reg)which->index);
        if (which->index == REG_RIP && code_base(vcpu))
            value = (uint32_t)(value + code_base(vcpu));
        break;
    case GDB_X87_CONTROL:
        value = x87_control(area_of(vcpu), which->index);
        break;
    case GDB_CR2:
        value = vcpu->extra.cr2;
        break;
    case GDB_CR8:
        value = vcpu->lapic.tpr >> 4;
        break;
    default:
        break;
    }
    memcpy(bytes, &value, which->size);
}

/* Sets a register of the XSAVE area. XRSTOR refuses reserved bits of MXCSR. */
static bool area_set(struct vcpu *vcpu, const struct gdb_register *which, char *place,
                     uint64_t component, const void *bytes)
{
    char *header = area_of(vcpu) + AREA_HEADER;
    uint64_t in_use;
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    if (which->kind == GDB_MXCSR && value >> 16)
        return false;
    memcpy(&in_use, header, sizeof(in_use));
    if (extra_xcr0_supported()) {
        in_use |= component;
        memcpy(header, &in_use, sizeof(in_use));
    }
    memcpy(place, bytes, which->size);
    return true;
}

static bool set_cpu_reg(struct vcpu *vcpu, enum cpu_reg reg, uint64_t value)
{
    struct cpu_regs *cpu = &vcpu->vmx.regs;
    bool wide = reg == REG_RIP ? vmx_in_64_bit_code() : cpu_reg(cpu, REG_EFER) & EFER_LMA;
    bool canonical = wide ? (uint64_t)((int64_t)(value << 16) >> 16) == value : !(value >> 32);
    switch ((unsigned)reg) {
    case REG_RFLAGS:
        if ((value ^ cpu_reg(cpu, reg)) & ~(uint64_t)RFLAGS_WRITABLE)
            return false;
        break;
    case REG_RIP:
    case REG_RSP:
    case REG_SEG_BASE + SEG_FS:
    case REG_SEG_BASE + SEG_GS:
        if (!canonical)
            return false;
        break;
    default:
        return false;
    }
    if (reg == REG_RIP && code_base(vcpu))
        value = (uint32_t)(value - code_base(vcpu));
    cpu_set_reg(cpu, reg, value);
    return true;
}

bool target_set(struct vcpu *vcpu, const struct gdb_register *which, const void *bytes)
{
    uint8_t now[GDB_REGISTER_MAX];
    uint64_t component, value = 0;
    char *place = area_place(vcpu, which, &component);
    target_get(vcpu, which, now);
    if (!memcmp(now, bytes, which->size))
        return true;
    if (place)
        return area_set(vcpu, which, place, component, bytes);
    memcpy(&value, bytes, which->size);
    if (which->kind == GDB_GPR)
        vcpu->vmx.regs.gpr[which->index] = value;
    else if (which->kind == GDB_CPU_REG)
        return set_cpu_reg(vcpu, (enum cpu_reg)which->index, value);
    return which->kind == GDB_GPR;
}

void target_paging(struct vcpu *vcpu, struct gdb_paging *paging)
{
    struct cpu_regs *cpu = &vcpu->vmx.regs;
    *paging = (struct gdb_paging){.cr0 = cpu_reg(cpu, REG_CR0),
                                  .cr3 = cpu_reg(cpu, REG_CR3),
                                  .cr4 = cpu_reg(cpu, REG_CR4),
                                  .efer = cpu_reg(cpu, REG_EFER)};
    for (unsigned i = 0; i < 4; i++)
        paging->pdpte[i] = cpu_reg(cpu, REG_PDPTE0 + (enum cpu_reg)i);
}

/* A TD that can be debugged is an open book. */
static bool is_private(const struct vcpu *vcpu, gpa_t gpa)
{
    const struct vm *vm = vcpu->vm;
    return vm->td && !(gpa.v & BIT(vm->words.shared));
}

int target_read(struct vcpu *vcpu, gpa_t gpa, void *bytes, size_t size)
{
    if (is_private(vcpu, gpa))
        return td_private_read(vcpu->vm, gpa, bytes, size);
    return guest_read(&vcpu->vm->mmu, gpa, bytes, size, ACCESS_READ);
}

int target_write(struct vcpu *vcpu, gpa_t gpa, const void *bytes, size_t size)
{
    if (is_private(vcpu, gpa))
        return td_private_write(vcpu->vm, gpa, bytes, size);
    return guest_write(&vcpu->vm->mmu, gpa, bytes, size);
}

int target_track(struct vcpu *vcpu, gpa_t gpa, struct mmu_memory *memory)
{
    bool tracked;
    int error = vcpu->vm->td ? -EACCES : mmu_track(&vcpu->vm->mmu, gpa);
    if (!error)
        *memory = mmu_memory_at(&vcpu->vm->mmu, gpa, &tracked);
    return error;
}

int target_untrack(struct vcpu *vcpu, const struct mmu_memory *memory)
{
    gpa_t gpa;
    if (!mmu_memory_place(&vcpu->vm->mmu, memory, &gpa))
        return -EINVAL;
    return mmu_untrack(&vcpu->vm->mmu, gpa);
}

bool target_is_tracked(struct vcpu *vcpu, gpa_t gpa, const struct mmu_memory *memory)
{
    bool tracked;
    struct mmu_memory now = mmu_memory_at(&vcpu->vm->mmu, gpa, &tracked);
    return tracked && now.born == memory->born && now.frame == memory->frame;
}

bool target_guest_debugs(const struct vcpu *vcpu)
{
    const struct vm *vm = vcpu->vm;
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (vm->vcpus[i]->mmio.breakpoints.on && !vm->vcpus[i]->debugger.applied)
            return true;
    return false;
}

bool target_is_narrow(struct vcpu *vcpu)
{
    return !(cpu_reg(&vcpu->vmx.regs, REG_EFER) & EFER_LMA);
}
