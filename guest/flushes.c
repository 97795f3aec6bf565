/* INVLPG and INVPCID, which exit with gva_cache=exits: the MMIO cache forgets, the TLB follows. */
#include "arch/x86/cpu.h"
#include "guest/vm.h"
#include "mmio/fetch.h"
#include "mmu/tlb.h"
#include "vmx/vmcs.h"

/* The instruction information of INVPCID (SDM 3, table 28-12). */
#define INFO_SCALE         BITS(1, 0)
#define INFO_ADDRESS_SIZE  BITS(9, 7) /* 0: 16 bits, 1: 32, 2: 64 */
#define INFO_SEGMENT       BITS(17, 15)
#define INFO_INDEX         BITS(21, 18)
#define INFO_INDEX_INVALID BIT(22)
#define INFO_BASE          BITS(26, 23)
#define INFO_BASE_INVALID  BIT(27)
#define INFO_TYPE_GPR      BITS(31, 28)

enum invpcid_type {
    INVPCID_ADDRESS,
    INVPCID_PCID,
    INVPCID_ALL,
    INVPCID_ALL_BUT_GLOBALS,
};

static void flush_page(struct vcpu *vcpu, gva_t address)
{
    mmio_cache_clear_gva_page(&vcpu->mmio.cache, address);
    tlb_invvpid(&vcpu->vm->mmu, INVVPID_ADDRESS, vcpu->vpid, address, INVVPID_GUEST);
}

static void flush_all(struct vcpu *vcpu)
{
    mmio_cache_clear_gva(&vcpu->mmio.cache);
    tlb_invvpid(&vcpu->vm->mmu, INVVPID_SINGLE, vcpu->vpid, GVA(0), INVVPID_GUEST);
}

void exit_invlpg(struct vcpu *vcpu)
{
    flush_page(vcpu, GVA(vmx_exit_qualification(&vcpu->vmx.exit)));
    vmx_skip_instruction(&vcpu->vmx);
}

/* The linear address of the operand; the displacement is the qualification. */
static uint64_t operand_address(struct vcpu *vcpu)
{
    static const uint64_t masks[] = {0xffff, 0xffffffff, ~0ull};
    uint64_t info = vmx_exit_info(&vcpu->vmx.exit),
             address = vmx_exit_qualification(&vcpu->vmx.exit);
    struct cpu_regs *cpu = &vcpu->vmx.regs;
    unsigned size = (unsigned)field_get(info, INFO_ADDRESS_SIZE);

    if (!(info & INFO_BASE_INVALID))
        address += cpu_gpr(cpu, (unsigned)field_get(info, INFO_BASE));
    if (!(info & INFO_INDEX_INVALID))
        address += cpu_gpr(cpu, (unsigned)field_get(info, INFO_INDEX))
                   << field_get(info, INFO_SCALE);
    address &= masks[size < 3 ? size : 2];
    return address + cpu_reg(cpu, REG_SEG_BASE + (unsigned)field_get(info, INFO_SEGMENT));
}

/* Reads the 16 bytes of the descriptor. False: an exception was raised or the VM has ended. */
static bool read_descriptor(struct vcpu *vcpu, uint64_t descriptor[2])
{
    struct walk_context context;
    uint64_t address = operand_address(vcpu);
    uint8_t *to = (uint8_t *)descriptor;

    walk_context_load(&context, &vcpu->vmx.regs, &vcpu->vm->mmu);
    for (unsigned done = 0; done < 16;) {
        struct walk result;
        unsigned piece = 16 - done, room = (unsigned)(PAGE_SIZE - page_offset(address + done));
        if (piece > room)
            piece = room;
        if (!address_is_canonical(address + done)) {
            vmx_raise(&vcpu->vmx, VECTOR_GP, 0);
            return false;
        }
        enum walk_result walked = walk(&vcpu->vm->mmu, &vcpu->vmx.regs, &vcpu->mmio.cache.limits,
                                       &context, GVA(address + done), 0, &result);
        if (walked == WALK_FAULT) {
            write_cr2(address + done);
            vmx_raise(&vcpu->vmx, VECTOR_PF, result.error_code);
            return false;
        }
        if (walked == WALK_RETRY) {
            vmx_retry_instruction(&vcpu->vmx);
            return false;
        }
        if (walked != WALK_OK ||
            guest_read(&vcpu->vm->mmu, result.gpa, to + done, piece, ACCESS_READ)) {
            vm_end(vcpu->vm, VM_ENDED_MEMORY_FAULT,
                   "INVPCID at RIP %#lx: its descriptor at %#lx is not in RAM",
                   cpu_reg(&vcpu->vmx.regs, REG_RIP), address);
            return false;
        }
        done += piece;
    }
    return true;
}

void exit_invpcid(struct vcpu *vcpu)
{
    uint64_t info = vmx_exit_info(&vcpu->vmx.exit), descriptor[2];
    uint64_t type = cpu_gpr(&vcpu->vmx.regs, (unsigned)field_get(info, INFO_TYPE_GPR));
    bool pcid_on = cpu_reg(&vcpu->vmx.regs, REG_CR4) & CR4_PCIDE;

    if (!read_descriptor(vcpu, descriptor))
        return;
    /* The checks of INVPCID (SDM 2). */
    if (type > INVPCID_ALL_BUT_GLOBALS || descriptor[0] & ~BITS(11, 0) ||
        (type <= INVPCID_PCID && descriptor[0] && !pcid_on) ||
        (type == INVPCID_ADDRESS && !address_is_canonical(descriptor[1]))) {
        vmx_raise(&vcpu->vmx, VECTOR_GP, 0);
        return;
    }
    /* One address in one PCID: INVVPID of the address covers it in all. The rest flush all. */
    if (type == INVPCID_ADDRESS)
        flush_page(vcpu, GVA(descriptor[1]));
    else
        flush_all(vcpu);
    vmx_skip_instruction(&vcpu->vmx);
}
