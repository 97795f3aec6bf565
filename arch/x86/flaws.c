/* SPDX-License-Identifier: MIT */
/* Decides which speculation vulnerabilities a CPU has and how they are mitigated; see the header.
 * Pure. */
#include "arch/x86/flaws.h"

#include "lib/bits.h"
#include "lib/string.h"

/* CPUID leaf 7 */
#define EBX_RTM          BIT(11)
#define EDX_SRBDS_CTRL   BIT(9)
#define EDX_MD_CLEAR     BIT(10)
#define EDX_IBRS_IBPB    BIT(26)
#define EDX_L1D_FLUSH    BIT(28)
#define EDX_ARCH_CAP     BIT(29)
#define EDX_SSBD         BIT(31)
#define SUBLEAF2_EDX_BHI BIT(4)
#define ECX_AVX          BIT(28)
#define ECX_RDRAND       BIT(30)

/* IA32_ARCH_CAPABILITIES */
#define CAP_RDCL_NO        BIT(0)
#define CAP_IBRS_ALL       BIT(1)
#define CAP_RSBA           BIT(2)
#define CAP_SSB_NO         BIT(4)
#define CAP_MDS_NO         BIT(5)
#define CAP_PSCHANGE_MC_NO BIT(6)
#define CAP_TSX_CTRL       BIT(7)
#define CAP_TAA_NO         BIT(8)
#define CAP_SBDR_SSDP_NO   BIT(13)
#define CAP_FBSDP_NO       BIT(14)
#define CAP_PSDP_NO        BIT(15)
#define CAP_MMIO_NO        (CAP_SBDR_SSDP_NO | CAP_FBSDP_NO | CAP_PSDP_NO)
#define CAP_FB_CLEAR       BIT(17)
#define CAP_BHI_NO         BIT(20)
#define CAP_GDS_CTRL       BIT(25)
#define CAP_GDS_NO         BIT(26)
#define CAP_RFDS_NO        BIT(27)
#define CAP_RFDS_CLEAR     BIT(28)
#define CAP_ITS_NO         BIT(62)

/* ---- Models ---------------------------------------------------------------------------------- */

#define HAS(flaw) (1u << FLAW_##flaw)
#define SAMPLED   (HAS(MMIO) | HAS(SRBDS))

/* Vulnerabilities that older CPUs have although no bit reports them, because the bit was defined
 * later. The table lists models of family 6 and the first affected stepping of each. */
static const struct {
    uint8_t model, stepping;
    uint32_t flaws;
} affected[] = {
    {0x2a, 0, HAS(VMSCAPE)},
    {0x2d, 0, HAS(VMSCAPE)},
    {0x3a, 0, HAS(SRBDS) | HAS(VMSCAPE)},
    {0x3e, 0, HAS(VMSCAPE)},
    {0x3c, 0, HAS(SRBDS) | HAS(VMSCAPE)},
    {0x45, 0, HAS(SRBDS) | HAS(VMSCAPE)},
    {0x46, 0, HAS(SRBDS) | HAS(VMSCAPE)},
    {0x3f, 0, HAS(MMIO) | HAS(VMSCAPE)},
    {0x3d, 0, HAS(SRBDS) | HAS(VMSCAPE)},
    {0x47, 0, HAS(SRBDS) | HAS(VMSCAPE)},
    {0x4f, 0, HAS(MMIO) | HAS(VMSCAPE)},
    {0x56, 0, HAS(MMIO) | HAS(VMSCAPE)},
    {0x55, 0, HAS(MMIO) | HAS(RETBLEED) | HAS(GDS) | HAS(VMSCAPE)},
    {0x55, 6, HAS(ITS)},
    {0x4e, 0, SAMPLED | HAS(RETBLEED) | HAS(GDS) | HAS(VMSCAPE)},
    {0x5e, 0, SAMPLED | HAS(RETBLEED) | HAS(GDS) | HAS(VMSCAPE)},
    {0x8e, 0, SAMPLED | HAS(RETBLEED) | HAS(GDS) | HAS(VMSCAPE)},
    {0x8e, 0xc, HAS(ITS)},
    {0x9e, 0, SAMPLED | HAS(RETBLEED) | HAS(GDS) | HAS(VMSCAPE)},
    {0x9e, 0xd, HAS(ITS)},
    {0x66, 0, HAS(RETBLEED) | HAS(VMSCAPE)},
    {0x7e, 0, SAMPLED | HAS(RETBLEED) | HAS(GDS) | HAS(ITS)},
    {0x6a, 0, HAS(MMIO) | HAS(GDS) | HAS(ITS)},
    {0x6c, 0, HAS(MMIO) | HAS(GDS) | HAS(ITS)},
    {0xa5, 0, SAMPLED | HAS(RETBLEED) | HAS(GDS) | HAS(ITS) | HAS(VMSCAPE)},
    {0xa6, 0, SAMPLED | HAS(RETBLEED) | HAS(ITS) | HAS(VMSCAPE)},
    {0xa6, 1, HAS(GDS)},
    {0x8a, 0, SAMPLED | HAS(RETBLEED)},
    {0x8c, 0, HAS(GDS) | HAS(ITS)},
    {0x8d, 0, HAS(GDS) | HAS(ITS)},
    {0xa7, 0, HAS(MMIO) | HAS(RETBLEED) | HAS(GDS) | HAS(ITS)},
    {0x97, 0, HAS(RFDS) | HAS(VMSCAPE)},
    {0x9a, 0, HAS(RFDS) | HAS(VMSCAPE)},
    {0xb7, 0, HAS(RFDS) | HAS(VMSCAPE)},
    {0xba, 0, HAS(RFDS) | HAS(VMSCAPE)},
    {0xbf, 0, HAS(RFDS) | HAS(VMSCAPE)},
    {0xbe, 0, HAS(RFDS) | HAS(VMSCAPE)},
    {0xaa, 0, HAS(VMSCAPE)},
    {0xac, 0, HAS(VMSCAPE)},
    {0xb5, 0, HAS(VMSCAPE)},
    {0xc5, 0, HAS(VMSCAPE)},
    {0xc6, 0, HAS(VMSCAPE)},
    {0x8f, 0, HAS(VMSCAPE)},
    {0xcf, 0, HAS(VMSCAPE)},
    {0xad, 0, HAS(VMSCAPE)},
    {0xae, 0, HAS(VMSCAPE)},
    {0xaf, 0, HAS(VMSCAPE)},
    {0x96, 0, SAMPLED | HAS(RFDS)},
    {0x86, 0, HAS(MMIO) | HAS(RFDS)},
    {0x9c, 0, SAMPLED | HAS(RFDS)},
    {0x5c, 0, HAS(RFDS)},
    {0x5f, 0, HAS(RFDS)},
    {0x7a, 0, HAS(RFDS)},
};

/* Small cores, in-order and out-of-order, that lack vulnerabilities which other CPUs of their age
 * have. */
static const struct {
    uint8_t model;
    uint32_t spared;
} spared[] = {
    {0x1c, ~0u},
    {0x26, ~0u},
    {0x27, ~0u},
    {0x35, ~0u},
    {0x36, ~0u}, /* in-order cores: not vulnerable at all */
    {0x37, HAS(L1TF) | HAS(SSB)},
    {0x4d, HAS(L1TF) | HAS(SSB)},
    {0x4a, HAS(L1TF) | HAS(SSB)},
    {0x4c, HAS(L1TF) | HAS(SSB)},
    {0x75, HAS(L1TF) | HAS(SSB)},
    {0x57, HAS(L1TF) | HAS(SSB)},
    {0x85, HAS(L1TF) | HAS(SSB)},
    {0x5c, HAS(L1TF) | HAS(MDS) | HAS(ITLB_MULTIHIT)},
    {0x5f, HAS(L1TF) | HAS(MDS) | HAS(ITLB_MULTIHIT)},
    {0x7a, HAS(L1TF) | HAS(MDS) | HAS(ITLB_MULTIHIT)},
    {0x86, HAS(ITLB_MULTIHIT)},
    {0x96, HAS(ITLB_MULTIHIT)},
    {0x9c, HAS(ITLB_MULTIHIT)},
};

static uint32_t flaws_by_model(const struct flaw_input *in)
{
    uint32_t found = 0;
    for (unsigned i = 0; in->family == 6 && i < sizeof(affected) / sizeof(*affected); i++)
        if (affected[i].model == in->model && in->stepping >= affected[i].stepping)
            found |= affected[i].flaws;
    return found;
}

static uint32_t not_by_model(const struct flaw_input *in)
{
    for (unsigned i = 0; in->family == 6 && i < sizeof(spared) / sizeof(*spared); i++)
        if (spared[i].model == in->model)
            return spared[i].spared;
    return 0;
}

/* The width of the L1D's tags. These models have 44 bits even if CPUID reports fewer
 * physical-address bits, which the firmware can reduce. */
static unsigned cache_bits(const struct flaw_input *in)
{
    static const uint8_t wide[] = {0x1e, 0x25, 0x2a, 0x3a, 0x3c, 0x45, 0x46,
                                   0x3d, 0x47, 0x4e, 0x5e, 0x8e, 0x9e};
    for (unsigned i = 0; in->family == 6 && i < sizeof(wide); i++)
        if (wide[i] == in->model && in->physical_bits < 44)
            return 44;
    return in->physical_bits;
}

/* ---- Flaws ----------------------------------------------------------------------------------- */

static uint32_t flaws_of(const struct flaw_input *in)
{
    uint64_t cap = in->arch_capabilities;
    uint32_t listed = flaws_by_model(in), found = HAS(SPECTRE_V1) | HAS(SPECTRE_V2);
    if (!in->intel)
        return found; /* nothing is known here about CPUs of other vendors */
    if (!(cap & CAP_RDCL_NO))
        found |= HAS(L1TF);
    if (!(cap & CAP_MDS_NO))
        found |= HAS(MDS);
    if (!(cap & CAP_SSB_NO))
        found |= HAS(SSB);
    if (!(cap & CAP_PSCHANGE_MC_NO))
        found |= HAS(ITLB_MULTIHIT);
    if (!(cap & CAP_TAA_NO) && (in->cpuid7_ebx & EBX_RTM || cap & CAP_TSX_CTRL))
        found |= HAS(TAA);
    if (cap & CAP_IBRS_ALL && !(cap & CAP_BHI_NO))
        found |= HAS(BHI);
    if ((cap & CAP_MMIO_NO) != CAP_MMIO_NO)
        found |= listed & HAS(MMIO);
    if (in->cpuid1_ecx & ECX_RDRAND)
        found |= listed & HAS(SRBDS);
    if (listed & HAS(RETBLEED) || cap & CAP_RSBA)
        found |= HAS(RETBLEED);
    if (!(cap & CAP_GDS_NO) && in->cpuid1_ecx & ECX_AVX)
        found |= listed & HAS(GDS);
    if (!(cap & CAP_RFDS_NO) && (listed & HAS(RFDS) || cap & CAP_RFDS_CLEAR))
        found |= HAS(RFDS);
    if (!(cap & CAP_ITS_NO))
        found |= listed & HAS(ITS);
    found |= listed & HAS(VMSCAPE);
    return found & ~not_by_model(in);
}

/* ---- Actions --------------------------------------------------------------------------------- */

/* The actions that this CPU can carry out. VERW clears buffers only with microcode that reports it.
 * Enhanced IBRS is enabled once; the older IBRS has to be written again at each exit. */
static uint32_t actions_possible(const struct flaw_input *in)
{
    uint64_t cap = in->arch_capabilities;
    uint32_t can = DO_CLEAR_GPRS;
    if (!(cap &
          CAP_IBRS_ALL)) /* enhanced IBRS protects the RSB once a CALL has followed the exit */
        can |= DO_RSB_FILL;
    can |= in->cpuid7_edx & EDX_L1D_FLUSH ? DO_L1D_FLUSH_MSR : DO_L1D_FLUSH_READ;
    if (in->cpuid7_edx & EDX_MD_CLEAR || cap & (CAP_FB_CLEAR | CAP_RFDS_CLEAR))
        can |= DO_VERW;
    if (in->cpuid7_edx & EDX_IBRS_IBPB)
        can |= DO_IBPB | (cap & CAP_IBRS_ALL ? DO_IBRS_ALWAYS : DO_IBRS_AT_EXIT);
    if (in->cpuid7_2_edx & SUBLEAF2_EDX_BHI)
        can |= DO_BHI_DIS_S;
    if (cap & CAP_TSX_CTRL)
        can |= DO_TSX_OFF;
    if (in->cpuid7_edx & EDX_SRBDS_CTRL || cap & CAP_GDS_CTRL)
        can |= DO_KEEP_MICROCODE;
    return can;
}

/* The actions that each vulnerability requires. */
static const uint32_t asks[FLAW_COUNT] = {
    [FLAW_L1TF] = DO_L1D_FLUSH_MSR | DO_L1D_FLUSH_READ,
    [FLAW_MDS] = DO_VERW,
    [FLAW_MMIO] = DO_VERW,
    [FLAW_RFDS] = DO_VERW,
    [FLAW_TAA] = DO_VERW | DO_TSX_OFF,
    [FLAW_SPECTRE_V2] = DO_IBPB | DO_IBRS_ALWAYS | DO_RSB_FILL,
    [FLAW_RETBLEED] = DO_IBPB | DO_IBRS_AT_EXIT | DO_IBRS_ALWAYS | DO_RSB_FILL,
    [FLAW_ITS] = DO_IBPB | DO_RSB_FILL,
    [FLAW_BHI] = DO_BHI_DIS_S,
    [FLAW_VMSCAPE] = DO_IBPB,
    [FLAW_GDS] = DO_KEEP_MICROCODE,
    [FLAW_SRBDS] = DO_KEEP_MICROCODE,
};

void flaws_decide(const struct flaw_input *in, enum mitigations wanted, struct flaw_verdict *out)
{
    uint32_t can = actions_possible(in), wants = wanted == MITIGATIONS_FORCE ? ~0u : 0;
    *out = (struct flaw_verdict){.flaws = flaws_of(in)};
    if (wanted == MITIGATIONS_OFF)
        return;
    for (unsigned i = 0; i < FLAW_COUNT; i++)
        wants |= out->flaws >> i & 1 ? asks[i] : 0;
    /* The guest's register values matter only if the guest can choose the target of a mispredicted
     * branch of the hypervisor: compiled code otherwise reads no register before it has written it,
     * whatever it mispredicts. Enhanced IBRS denies the guest that choice. IBRS that is written at
     * each exit leaves a window before the write, so the registers are cleared, too. */
    if (wants & can & DO_IBRS_AT_EXIT)
        wants |= DO_CLEAR_GPRS;
    out->actions = wants & can;
    out->l1tf_cache_bits = out->flaws & HAS(L1TF) ? cache_bits(in) : 0;
}

bool flaws_alike(const struct flaw_input *boot, const struct flaw_input *other,
                 enum mitigations wanted, char *text, size_t size)
{
    struct flaw_verdict chosen, here;
    flaws_decide(boot, wanted, &chosen);
    flaws_decide(other, wanted, &here);
    bool split = here.flaws & ~chosen.flaws & HAS(ITLB_MULTIHIT);
    if (here.actions == chosen.actions && here.l1tf_cache_bits == chosen.l1tf_cache_bits && !split)
        return true;
    snprintf(text, size,
             "its IA32_ARCH_CAPABILITIES are %#lx, the boot CPU's %#lx, so it needs other "
             "mitigations than the boot CPU%s",
             other->arch_capabilities, boot->arch_capabilities,
             split ? " (itlb_multihit: bit 6 is 0)" : "");
    return false;
}

/* ---- Text ------------------------------------------------------------------------------------ */

const char *flaw_name(enum flaw flaw)
{
    static const char *const names[] = {
#define X(name, text) text,
        FLAWS(X)
#undef X
    };
    return names[flaw];
}

static const char *flaw_describe_sampling(const struct flaw_verdict *v)
{
    return v->actions & DO_VERW ? "Mitigation: VERW when a CPU changes VMs; SMT siblings are not "
                                  "covered"
                                : "Vulnerable: no microcode that lets VERW clear buffers";
}

static const char *flaw_describe(const struct flaw_input *in, const struct flaw_verdict *v,
                                 enum flaw flaw)
{
    uint32_t does = v->actions;
    switch (flaw) {
    case FLAW_L1TF:
        return does & DO_L1D_FLUSH_MSR
                   ? "Mitigation: L1D flush by MSR when a CPU changes VMs, MMIO "
                     "SPTEs inverted; SMT siblings are not covered"
               : does & DO_L1D_FLUSH_READ
                   ? "Mitigation: L1D filled by reads when a CPU changes VMs, MMIO SPTEs inverted; "
                     "SMT siblings are not covered"
                   : "Vulnerable";
    case FLAW_MDS:
    case FLAW_MMIO:
    case FLAW_RFDS:
        return flaw_describe_sampling(v);
    case FLAW_TAA:
        return does & DO_TSX_OFF ? "Mitigation: TSX off" : flaw_describe_sampling(v);
    case FLAW_SPECTRE_V2:
        return does & DO_IBRS_ALWAYS ? "Mitigation: enhanced IBRS, IBPB when a CPU changes VMs"
               : does & DO_IBPB      ? "Mitigation: IBPB when a CPU changes VMs, RSB filling; "
                                       "indirect branches of the hypervisor are not covered"
               : does & DO_RSB_FILL  ? "Vulnerable: no microcode for IBRS and IBPB; RSB filling"
                                     : "Vulnerable";
    case FLAW_RETBLEED:
        return does & DO_IBRS_ALWAYS    ? "Mitigation: enhanced IBRS"
               : does & DO_IBRS_AT_EXIT ? "Mitigation: IBRS and cleared registers at each exit"
                                        : "Vulnerable: no microcode for IBRS";
    case FLAW_ITS:
        return does & DO_IBPB ? "Mitigation: IBPB when a CPU changes VMs; a guest's own branches "
                                "into the hypervisor are not covered"
                              : "Vulnerable: no microcode for IBPB";
    case FLAW_BHI:
        return does & DO_BHI_DIS_S ? "Mitigation: BHI_DIS_S" : "Vulnerable: no BHI_DIS_S";
    case FLAW_VMSCAPE:
        return does & DO_IBPB ? "Mitigation: IBPB when a CPU changes VMs; nothing of the host runs "
                                "in user mode"
                              : "Vulnerable: no microcode for IBPB; nothing of the host runs in "
                                "user mode";
    case FLAW_GDS:
        return in->arch_capabilities & CAP_GDS_CTRL && does & DO_KEEP_MICROCODE
                   ? "Mitigation: microcode"
                   : "Vulnerable: no microcode";
    case FLAW_SRBDS:
        return in->cpuid7_edx & EDX_SRBDS_CTRL && does & DO_KEEP_MICROCODE
                   ? "Mitigation: microcode"
                   : "Vulnerable: no microcode";
    case FLAW_SSB:
        return "Vulnerable: left to the guest, which can't set SSBD; the hypervisor keeps no "
               "secrets from itself";
    case FLAW_ITLB_MULTIHIT:
        return in->nx_huge ? "Mitigation: large pages are not executable"
                           : "Vulnerable: nx_huge=off";
    case FLAW_SPECTRE_V1:
        return "Vulnerable: indexes that a guest gives are not masked against misprediction";
    case FLAW_COUNT:
        break;
    }
    return "?";
}

void flaw_status(const struct flaw_input *in, const struct flaw_verdict *verdict, enum flaw flaw,
                 char *text, size_t size)
{
    bool has = verdict->flaws >> flaw & 1;
    snprintf(text, size, "%s", has ? flaw_describe(in, verdict, flaw) : "Not affected");
}
