/* SPDX-License-Identifier: MIT */
/* The leaves of TDCALL; see the header. A TD chooses every register, so none is trusted. Pure. */
#include "tdx/tdcall.h"

#include "ept/tdx_status.h"
#include "tdx/metadata.h"
#include "tdx/ve.h"

#define RAX_LEAF     BITS(15, 0)
#define RAX_VERSION  BITS(23, 16)
#define RAX_RESERVED BITS(63, 24)

/* The operand of PAGE.ACCEPT and PAGE.ATTR.WR: an aligned GPA with the level in its low bits. */
#define PAGE_LEVEL    BITS(2, 0)
#define PAGE_RESERVED (BITS(11, 3) | BITS(63, 52))
#define PAGE_PENDING  BIT(62) /* in the answers of PAGE.ATTR.RD and WR */

struct call {
    struct td_vcpu *vcpu;
    uint64_t *gpr;
    const struct tdcall_host *host;
    enum tdcall_next next;
};

/* Takes over what a function of the host returns. */
static uint64_t call_end(struct call *c, uint64_t status)
{
    if (status == TDCALL_STATUS_REPEAT)
        c->next = TDCALL_REPEAT;
    if (status == TDCALL_STATUS_END)
        c->next = TDCALL_END;
    return status;
}

static bool is_private_gpa(const struct td *td, uint64_t gpa)
{
    return !(gpa >> (td->gpa_width - 1));
}

static uint64_t page_size(unsigned level)
{
    return PAGE_SIZE << (9 * level);
}

/* Is the operand an aligned private GPA with a level of at most `level`? */
static bool page_operand_valid(const struct td *td, uint64_t operand, unsigned level)
{
    const unsigned wanted = (unsigned)(operand & PAGE_LEVEL);
    const uint64_t gpa = operand & ~PAGE_LEVEL;
    return !(operand & PAGE_RESERVED) && wanted <= level && !(gpa & (page_size(wanted) - 1)) &&
           is_private_gpa(td, gpa);
}

/* ---- vCPU ------------------------------------------------------------------------------------ */

static uint64_t vp_vmcall(struct call *c)
{
    if (c->gpr[GPR_RCX] & ~TDVMCALL_EXPOSABLE)
        return TDX_OPERAND_INVALID | TDX_OPERAND_RCX;
    c->next = TDCALL_VMCALL;
    return TDX_SUCCESS;
}

static uint64_t vp_info(struct call *c)
{
    const struct td *td = c->vcpu->td;
    c->gpr[GPR_RCX] = td->gpa_width;
    c->gpr[GPR_RDX] = td->attributes;
    c->gpr[GPR_R8] = (uint64_t)td->vcpus << 32 | td->vcpus; /* MAX_VCPUS and NUM_VCPUS */
    c->gpr[GPR_R9] = c->vcpu->index;
    c->gpr[GPR_R10] = 1; /* SYS.RD is available */
    c->gpr[GPR_R11] = 0;
    return TDX_SUCCESS;
}

static uint64_t vp_veinfo_get(struct call *c)
{
    struct td_ve ve = {0};
    bool valid = td_ve_take(c->vcpu, &ve);
    c->gpr[GPR_RCX] = ve.reason;
    c->gpr[GPR_RDX] = ve.qualification;
    c->gpr[GPR_R8] = ve.gla;
    c->gpr[GPR_R9] = ve.gpa;
    c->gpr[GPR_R10] = (uint64_t)ve.instruction << 32 | ve.length;
    return valid ? TDX_SUCCESS : TDX_NO_VALID_VE_INFO;
}

static uint64_t vp_cpuidve_set(struct call *c)
{
    const uint64_t control = c->gpr[GPR_RCX];
    if (control & ~BITS(1, 0))
        return TDX_OPERAND_INVALID | TDX_OPERAND_RCX;
    c->vcpu->cpuid_ve_supervisor = control & BIT(0);
    c->vcpu->cpuid_ve_user = control & BIT(1);
    return TDX_SUCCESS;
}

/* ---- Metadata -------------------------------------------------------------------------------- */

/* R8 is 0 after an error, which guests rely on that do not look at the status. `with_next`: RDX
 * returns the identifier of the next field. */
static uint64_t field_read(struct call *c, enum metadata_context context, bool with_next)
{
    uint64_t value = 0, next = METADATA_NO_FIELD, id = c->gpr[GPR_RDX];
    uint64_t status = TDX_OPERAND_INVALID | TDX_OPERAND_RCX;
    if (context == METADATA_SYS || !c->gpr[GPR_RCX]) {
        if ((id | FIELD_CONTEXT) == METADATA_NO_FIELD && !with_next)
            status = TDX_METADATA_FIELD_ID_INCORRECT;
        else
            status = metadata_read(c->vcpu, context, id, &value, &next);
    }
    c->gpr[GPR_R8] = status == TDX_SUCCESS ? value : 0;
    if (with_next)
        c->gpr[GPR_RDX] = next;
    return status;
}

static uint64_t field_write(struct call *c, enum metadata_context context)
{
    uint64_t old = 0, value = c->gpr[GPR_R8], status = TDX_OPERAND_INVALID | TDX_OPERAND_RCX;
    if (!c->gpr[GPR_RCX])
        status = metadata_write(c->vcpu, context, c->gpr[GPR_RDX], value, c->gpr[GPR_R9], &old);
    c->gpr[GPR_R8] = status == TDX_SUCCESS ? old : 0;
    return status;
}

/* Version 1 returns the next field, too. */
static uint64_t tdcall_vm_rd(struct call *c)
{
    const uint64_t version = field_get(c->gpr[GPR_RAX], RAX_VERSION);
    if (version <= 1)
        return field_read(c, METADATA_TD, version);
    c->gpr[GPR_R8] = 0;
    c->gpr[GPR_RDX] = METADATA_NO_FIELD;
    return TDX_OPERAND_INVALID | TDX_OPERAND_RAX;
}

static uint64_t tdcall_vm_wr(struct call *c)
{
    return field_write(c, METADATA_TD);
}

static uint64_t tdcall_vp_rd(struct call *c)
{
    return field_read(c, METADATA_VP, true);
}

static uint64_t tdcall_vp_wr(struct call *c)
{
    return field_write(c, METADATA_VP);
}

static uint64_t tdcall_sys_rd(struct call *c)
{
    return field_read(c, METADATA_SYS, true);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static uint64_t mem_page_accept(struct call *c)
{
    const uint64_t operand = c->gpr[GPR_RCX];
    if (!page_operand_valid(c->vcpu->td, operand, 1))
        return TDX_OPERAND_INVALID | TDX_OPERAND_RCX;
    return call_end(c, c->host->accept(c->host->context, GPA(operand & ~PAGE_LEVEL),
                                       (unsigned)(operand & PAGE_LEVEL)));
}

/* The attributes in RDX are those of the VMs that a TD nests, and there are none: all are 0. */
static uint64_t page_answer(struct call *c, uint64_t gpa, const struct tdcall_page *page)
{
    c->gpr[GPR_RCX] =
        (gpa & ~(page_size(page->level) - 1)) | page->level | (page->pending ? PAGE_PENDING : 0);
    c->gpr[GPR_RDX] = 0;
    return TDX_SUCCESS;
}

static uint64_t page_error(struct call *c, uint64_t status)
{
    c->gpr[GPR_RCX] = c->gpr[GPR_RDX] = 0;
    return status;
}

static uint64_t mem_page_attr_rd(struct call *c)
{
    const uint64_t gpa = c->gpr[GPR_RCX];
    struct tdcall_page page;
    if (!is_private_gpa(c->vcpu->td, gpa))
        return page_error(c, TDX_OPERAND_INVALID | TDX_OPERAND_RCX);
    uint64_t status = call_end(c, c->host->page(c->host->context, GPA(gpa), &page));
    return status == TDX_SUCCESS ? page_answer(c, gpa, &page) : status;
}

/* Attributes can be set only for the VMs that a TD nests, so RDX and R8 must be 0. */
static uint64_t mem_page_attr_wr(struct call *c)
{
    const uint64_t operand = c->gpr[GPR_RCX];
    struct tdcall_page page;
    if (c->gpr[GPR_RDX])
        return page_error(c, TDX_OPERAND_INVALID | TDX_OPERAND_RDX);
    if (c->gpr[GPR_R8])
        return page_error(c, TDX_OPERAND_INVALID | TDX_OPERAND_R8);
    if (!page_operand_valid(c->vcpu->td, operand, 2))
        return page_error(c, TDX_OPERAND_INVALID | TDX_OPERAND_RCX);
    const uint64_t gpa = operand & ~PAGE_LEVEL;
    const unsigned level = (unsigned)(operand & PAGE_LEVEL);
    uint64_t status = call_end(c, c->host->page(c->host->context, GPA(gpa), &page));
    if (status != TDX_SUCCESS)
        return status;
    if (page.level < level)
        return page_error(c, TDX_PAGE_SIZE_MISMATCH | level);
    page.level = level;
    return page_answer(c, gpa, &page);
}

/* ---- Measurement ----------------------------------------------------------------------------- */

static uint64_t mr_report(struct call *c)
{
    return call_end(
        c, c->host->report(c->host->context, c->gpr[GPR_RCX], c->gpr[GPR_RDX], c->gpr[GPR_R8]));
}

static uint64_t mr_verifyreport(struct call *c)
{
    return call_end(c, c->host->verify_report(c->host->context, c->gpr[GPR_RCX]));
}

static uint64_t mr_rtmr_extend(struct call *c)
{
    return call_end(c, c->host->rtmr_extend(c->host->context, c->gpr[GPR_RCX], c->gpr[GPR_RDX]));
}

/* ---- Dispatch -------------------------------------------------------------------------------- */

static uint64_t (*const leaves[])(struct call *c) = {
    [TDCALL_VP_VMCALL] = vp_vmcall,
    [TDCALL_VP_INFO] = vp_info,
    [TDCALL_MR_RTMR_EXTEND] = mr_rtmr_extend,
    [TDCALL_MR_REPORT] = mr_report,
    [TDCALL_MR_VERIFYREPORT] = mr_verifyreport,
    [TDCALL_VP_VEINFO_GET] = vp_veinfo_get,
    [TDCALL_VP_CPUIDVE_SET] = vp_cpuidve_set,
    [TDCALL_MEM_PAGE_ACCEPT] = mem_page_accept,
    [TDCALL_VM_RD] = tdcall_vm_rd,
    [TDCALL_VM_WR] = tdcall_vm_wr,
    [TDCALL_VP_RD] = tdcall_vp_rd,
    [TDCALL_VP_WR] = tdcall_vp_wr,
    [TDCALL_SYS_RD] = tdcall_sys_rd,
    [TDCALL_MEM_PAGE_ATTR_RD] = mem_page_attr_rd,
    [TDCALL_MEM_PAGE_ATTR_WR] = mem_page_attr_wr,
};

enum tdcall_next tdcall(struct td_vcpu *vcpu, uint64_t *gpr, const struct tdcall_host *host)
{
    const uint64_t rax = gpr[GPR_RAX], leaf = rax & RAX_LEAF;
    struct call c = {.vcpu = vcpu, .gpr = gpr, .host = host, .next = TDCALL_COMPLETE};
    uint64_t status = TDX_OPERAND_INVALID | TDX_OPERAND_RAX;
    bool known = !(rax & RAX_RESERVED) && leaf < ARRAY_SIZE(leaves) && leaves[leaf] &&
                 (!(rax & RAX_VERSION) || leaf == TDCALL_VM_RD);
    if (known)
        status = leaves[leaf](&c);
    if (c.next == TDCALL_COMPLETE || c.next == TDCALL_VMCALL)
        gpr[GPR_RAX] = status;
    return c.next;
}
