/* SPDX-License-Identifier: MIT */
/* Says why a CPU cannot enter VMX operation; see the header. Pure. */
#include "vmx/refuse.h"

#include "arch/x86/reg_bits.h"
#include "lib/log.h"
#include "lib/string.h"

#define TXT_SENTER_DONE BIT(0)
#define TXT_SEXIT_DONE  BIT(1)

/* What to switch on in the hypervisor below, so that it offers VMX. */
static const struct {
    enum hypervisor below;
    const char *vmx, *ept;
} advice[] = {
    {HYPERVISOR_KVM,
     "on its host, an Intel CPU with `modprobe kvm_intel nested=1`, and in the VM `-cpu host` "
     "(libvirt: mode host-passthrough, Proxmox: type host). VirtualBox with its KVM interface "
     "looks the same: see \"Enable Nested VT-x/AMD-V\" there",
     "load kvm_intel with ept=1 and unrestricted_guest=1, and give the VM `-cpu host`"},
    {HYPERVISOR_TCG,
     "another accelerator, because TCG has no VMX at all: start QEMU with `-accel kvm -cpu host` "
     "on an Intel host, or use Bochs: `make run MACHINE=bochs`",
     "use KVM or Bochs"},
    {HYPERVISOR_HYPER_V,
     "while the VM is off, in PowerShell: Set-VMProcessor -VMName NAME "
     "-ExposeVirtualizationExtensions $true",
     "Hyper-V offers them on Intel hosts that have them: move the VM to one"},
    {HYPERVISOR_VMWARE,
     "in the settings of the VM's processors, \"Virtualize Intel VT-x/EPT or AMD-V/RVI\" (ESXi: "
     "\"Expose hardware assisted virtualization to the guest OS\"), or vhv.enable = \"TRUE\" in "
     "its .vmx file",
     "VMware offers them on hosts that have them: move the VM to one"},
    {HYPERVISOR_VIRTUALBOX,
     "while the VM is off, \"Enable Nested VT-x/AMD-V\" in its settings (System, Processor), or "
     "VBoxManage modifyvm NAME --nested-hw-virt on",
     "switch on \"Enable Nested Paging\" in the VM's settings (System, Acceleration)"},
    {HYPERVISOR_XEN, "in the configuration of the domain, type=\"hvm\", hap=1 and nestedhvm=1",
     "set hap=1 in the configuration of the domain"},
    {HYPERVISOR_OTHER,
     "look for nested virtualization in its settings; if it has none, use KVM, or Bochs: `make "
     "run MACHINE=bochs`",
     "look for nested paging in its settings"},
};

/* How the setups of firmware call bit 2 of IA32_FEATURE_CONTROL, by the machine's maker as SMBIOS
 * writes it. */
static const struct {
    const char *maker, *menu;
} menus[] = {
    {"ASUS", "ASUS: Advanced, CPU Configuration, \"Intel (VMX) Virtualization Technology\""},
    {"Micro-Star", "MSI: OC, CPU Features, \"Intel Virtualization Tech\""},
    {"Gigabyte", "Gigabyte: Tweaker or BIOS Features, \"VT-x\" or \"Intel Virtualization "
                 "Technology\""},
    {"ASRock", "ASRock: Advanced, CPU Configuration, \"Intel Virtualization Technology\""},
    {"Dell", "Dell: Virtualization Support, \"Virtualization\""},
    {"HP", "HP: Security or Advanced, System Options, \"Virtualization Technology (VTx)\""},
    {"Hewlett-Packard", NULL}, /* as the one before */
    {"LENOVO", "Lenovo: Security, Virtualization, \"Intel Virtualization Technology\""},
    {"Acer", "Acer: Advanced, \"Intel VTX\" or \"Virtualization Technology\""},
    {"Supermicro",
     "Supermicro: Advanced, CPU Configuration, \"Intel Virtualization Technology\" or "
     "\"VMX\""},
    {"Intel", "Intel NUC: Security, \"Intel Virtualization Technology\""},
};

bool txt_is_measured(uint64_t status)
{
    return (status & (TXT_SENTER_DONE | TXT_SEXIT_DONE)) == TXT_SENTER_DONE;
}

bool vmx_exists(const struct cpu_facts *cpu)
{
    if (cpu->vmx)
        return true;
    log_error("this CPU has no VMX: CPUID.1:ECX bit 5 is 0");
    if (cpu->svm && cpu->below != HYPERVISOR_TCG) {
        log_error("it is of %s and has SVM, AMD's virtualization (CPUID.80000001H:ECX bit 2 is 1), "
                  "which is not supported; use an Intel CPU with VT-x, or Bochs: `make run "
                  "MACHINE=bochs`",
                  cpu->vendor);
        return false;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(advice); i++)
        if (advice[i].below == cpu->below) {
            log_error("the hypervisor below (CPUID.1:ECX bit 31 is 1) calls itself \"%s\": %s. To "
                      "have VMX in its VM:",
                      cpu->below_name, hypervisor_name(cpu->below));
            log_error("  %s", advice[i].vmx);
        }
    if (cpu->below == HYPERVISOR_NONE)
        log_error("no hypervisor hides it (CPUID.1:ECX bit 31 is 0): use an Intel CPU with VT-x, "
                  "nested virtualization in KVM, or Bochs: `make run MACHINE=bochs`");
    return false;
}

/* Names the entry of this machine's setup, or of all if the maker is not known. */
static void explain_menu(const char *maker)
{
    const char *menu = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(menus); i++)
        if (!strncmp(maker, menus[i].maker, strlen(menus[i].maker)))
            menu = menus[i].menu ? menus[i].menu : menus[i - 1].menu;
    for (unsigned i = 0; i < ARRAY_SIZE(menus); i++)
        if (menus[i].menu && (!menu || menu == menus[i].menu))
            log_error("  %s", menus[i].menu);
    if (!menu)
        log_error(
            "  others: VT-x, VMX or Vanderpool, beside the CPU's cores; VT-d is another thing "
            "and is not needed");
}

static void explain_locked(const struct cpu_facts *cpu, const char *maker, bool measured,
                           uint64_t control)
{
    if (measured) {
        log_error("Intel TXT has started this machine (SENTER was executed), and VMX inside SMX is "
                  "off: bit 1 is 0; start without tboot, or allow VMX in the firmware's settings "
                  "of TXT");
        return;
    }
    if (control & FEATURE_CONTROL_VMX_INSIDE)
        log_error("VMX is allowed inside SMX only (bit 1 is 1): switch off \"Trusted Execution\" "
                  "(Intel TXT) in the firmware's setup, or switch on VT-x beside it");
    if (cpu->below != HYPERVISOR_NONE) {
        log_error("the firmware is that of a VM below %s; set the VM's firmware or its settings of "
                  "nested virtualization",
                  hypervisor_name(cpu->below));
        return;
    }
    log_error("enable virtualization in the firmware's setup, save, and switch the machine off and "
              "on, because only a reset opens the lock; the entry is called:");
    explain_menu(maker);
}

enum exit_code vmx_feature_control(const struct cpu_facts *cpu, const char *maker, unsigned number,
                                   bool measured, uint64_t *control)
{
    uint64_t needed = measured ? FEATURE_CONTROL_VMX_INSIDE : FEATURE_CONTROL_VMX_OUTSIDE;
    if (!(*control & FEATURE_CONTROL_LOCKED)) {
        log_info("IA32_FEATURE_CONTROL = %#lx on CPU %u: unlocked; enabling VMX and locking it",
                 *control, number);
        *control |= FEATURE_CONTROL_LOCKED | needed;
        return EXIT_OK;
    }
    if (*control & needed)
        return EXIT_OK;
    log_error("the firmware has locked VMX off: IA32_FEATURE_CONTROL = %#lx on CPU %u, bit 0 "
              "(lock) is 1 and bit %u (VMX %s SMX) is 0",
              *control, number, measured ? 1 : 2, measured ? "inside" : "outside");
    explain_locked(cpu, maker, measured, *control);
    return EXIT_VMX_LOCKED_OFF;
}

void vmx_explain_missing(const struct cpu_facts *cpu)
{
    for (unsigned i = 0; i < ARRAY_SIZE(advice); i++)
        if (advice[i].below == cpu->below) {
            log_error("%s is below and may hide them: %s", hypervisor_name(cpu->below),
                      advice[i].ept);
            return;
        }
    log_error("Intel's CPUs have EPT and unrestricted guest since 2010 (Core, Westmere) and 2013 "
              "(Atom, Silvermont); no setting adds them to family %u, model %#x",
              cpu->family, cpu->model);
}

void vmx_name_errata(const struct cpu_facts *cpu)
{
    static const struct {
        uint32_t signature;
        const char *erratum;
    } timers[] = {
        {0x20652, "AAT59, AAU65 or AAX65"}, /* Westmere with two cores */
        {0x20655, "AAU65"},
        {0x306a8, "seen on the Xeon E3-1220 v2"}, /* Ivy Bridge */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(timers) && cpu->below == HYPERVISOR_NONE; i++)
        if (timers[i].signature == cpu->signature)
            log_warn("this CPU (signature %#x) may count the VMX-preemption timer at another rate "
                     "than IA32_VMX_MISC says (erratum: %s); timers of guests and time slices may "
                     "be late",
                     cpu->signature, timers[i].erratum);
}
