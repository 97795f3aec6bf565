/* SPDX-License-Identifier: MIT */
/*
 * /init of the Linux that `make bench` boots. It runs the benchmark guests under KVM as eptvisor
 * runs them: from the multiboot1 entry, with their output on COM1, and with a report in the same
 * format.
 *
 * The guests' control hypercalls arrive by a port (PORT_LAUNCHER) and are never inside of a
 * measurement. Everything that is measured is handled in the kernel: its interrupt controllers, its
 * port and MMIO devices, and an ioeventfd for each doorbell. The exception is the row
 * `port_write_user`: writes to the scratch register of the UART end in on_port(), which ignores
 * them. The kernel's command line may contain parameters of KVM's modules (`kvm_intel.pml=N`),
 * `bench.vcpus=2`, which gives the VMs a second vCPU that waits for a start-up IPI, as eptvisor's
 * does, and `bench.stop`, which stops in Bochs' debugger before the first VM starts.
 */
#define _GNU_SOURCE
#include "guest/abi.h"
#include "tools/kvm/init.h"
#include "tools/kvm/kernel.h"

#include <elf.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#define RAM_SIZE  (32ull << 20)
#define INFO_GPA  0x9000ull /* multiboot1 information, then the command line */
#define PAGE      4096ull
#define LARGE     (2ull << 20)
#define SLOTS     1024u
#define BELLS     8u
#define LSR_EMPTY 0x60

#define LEAF1_TSC_DEADLINE (1u << 24) /* ECX */

static int kvm, vm, vcpu, stats;
static unsigned vcpus = 1;
static struct kvm_run *state;
static uint8_t *ram;
static struct bell {
    uint64_t gpa, rings;
    int event;
    bool used;
} bells[BELLS];
static struct slot {
    uint64_t gpa, size;
    void *host;
    bool large, log;
} slots[SLOTS];
static unsigned passed, failed, skipped;

/* ---- Memory ---------------------------------------------------------------------------------- */

static int set_slot(unsigned number, uint64_t gpa, uint64_t size, void *host, bool log)
{
    struct kvm_userspace_memory_region region = {
        .slot = number,
        .flags = log ? KVM_MEM_LOG_DIRTY_PAGES : 0,
        .guest_phys_addr = gpa,
        .memory_size = size,
        .userspace_addr = (uintptr_t)host,
    };
    return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) ? -errno : 0;
}

/* Allocates the memory of a slot: in large pages if the slot consists of whole ones, as eptvisor
 * maps it. */
static void *new_memory(uint64_t gpa, uint64_t size, bool *large)
{
    *large = gpa % LARGE == 0 && size % LARGE == 0;
    void *host = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | (*large ? MAP_HUGETLB : 0), -1, 0);
    must(host == MAP_FAILED ? -1 : 0, "memory for a slot");
    if (!*large)
        must(madvise(host, size, MADV_NOHUGEPAGE), "small pages for a slot");
    return host;
}

static int add_slot(uint64_t id, uint64_t gpa, uint64_t pages)
{
    if (id == 0 || id >= SLOTS || slots[id].host)
        return -EINVAL;
    struct slot *slot = &slots[id];
    *slot = (struct slot){.gpa = gpa, .size = pages * PAGE};
    slot->host = new_memory(gpa, slot->size, &slot->large);
    return set_slot((unsigned)id, gpa, slot->size, slot->host, false);
}

static int delete_slot(uint64_t id)
{
    if (id == 0 || id >= SLOTS || !slots[id].host)
        return -ENOENT;
    int error = set_slot((unsigned)id, slots[id].gpa, 0, slots[id].host, false);
    munmap(slots[id].host, slots[id].size);
    slots[id] = (struct slot){0};
    return error;
}

static int log_slot(uint64_t id, bool log)
{
    if (id == 0 || id >= SLOTS || !slots[id].host)
        return -ENOENT;
    slots[id].log = log;
    return set_slot((unsigned)id, slots[id].gpa, slots[id].size, slots[id].host, log);
}

/* Gets and clears the dirty bits of 64 pages. */
static int get_dirty(uint64_t id, uint64_t page, __u64 *word)
{
    static uint64_t bitmap[LARGE / PAGE];
    if (id == 0 || id >= SLOTS || !slots[id].log || page % 64)
        return -EINVAL;
    uint64_t pages = slots[id].size / PAGE;
    if (page >= pages || pages > 64 * (sizeof(bitmap) / sizeof(bitmap[0])))
        return -EINVAL;
    struct kvm_dirty_log get = {.slot = (uint32_t)id, .dirty_bitmap = bitmap};
    struct kvm_clear_dirty_log clear = {
        .slot = (uint32_t)id,
        .first_page = page,
        .num_pages = (uint32_t)(pages - page < 64 ? pages - page : 64),
        .dirty_bitmap = &bitmap[page / 64],
    };
    must(ioctl(vm, KVM_GET_DIRTY_LOG, &get), "KVM_GET_DIRTY_LOG");
    *word = bitmap[page / 64];
    must(ioctl(vm, KVM_CLEAR_DIRTY_LOG, &clear), "KVM_CLEAR_DIRTY_LOG");
    return 0;
}

/* Makes KVM drop its mapping of a page without freeing the page: KVM's MMU notifier does so at each
 * change of the host's rights. The final write makes the host's page-table entry writable again, so
 * that the guest's next fault does not include that. */
static int zap_page(uint64_t gpa)
{
    for (unsigned i = 1; i < SLOTS; i++) {
        struct slot *slot = &slots[i];
        if (!slot->host || gpa - slot->gpa >= slot->size)
            continue;
        uint64_t size = slot->large ? LARGE : PAGE;
        volatile uint8_t *at = (uint8_t *)slot->host + (gpa - slot->gpa) / size * size;
        must(mprotect((void *)(uintptr_t)at, size, PROT_READ), "mprotect");
        must(mprotect((void *)(uintptr_t)at, size, PROT_READ | PROT_WRITE), "mprotect");
        *at = *at;
        return 0;
    }
    return -ENOENT;
}

/* ---- The guest's control hypercalls ---------------------------------------------------------- */

static int switch_bell(const struct bell *bell, bool on)
{
    struct kvm_ioeventfd event = {
        .addr = bell->gpa, .fd = bell->event, .flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN};
    return ioctl(vm, KVM_IOEVENTFD, &event) ? -errno : 0;
}

/* Adds a doorbell for writes of any length and data, and returns its number in *id. */
static int add_bell(uint64_t gpa, __u64 *id)
{
    for (unsigned i = 0; i < BELLS; i++) {
        struct bell *bell = &bells[i];
        if (bell->used)
            continue;
        *bell = (struct bell){.gpa = gpa, .event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
        must(bell->event, "eventfd");
        int error = switch_bell(bell, true);
        bell->used = !error;
        *id = i + 1;
        return error;
    }
    return -ENOSPC;
}

static struct bell *find_bell(uint64_t id)
{
    return id >= 1 && id <= BELLS && bells[id - 1].used ? &bells[id - 1] : NULL;
}

static int read_bell(uint64_t id, __u64 *rings)
{
    struct bell *bell = find_bell(id);
    uint64_t more;

    if (!bell)
        return -ENOENT;
    if (read(bell->event, &more, sizeof(more)) == sizeof(more))
        bell->rings += more;
    *rings = bell->rings;
    return 0;
}

static int remove_bell(uint64_t id)
{
    struct bell *bell = find_bell(id);

    if (!bell)
        return -ENOENT;
    int error = switch_bell(bell, false);
    close(bell->event);
    bell->used = false;
    return error;
}

/* Answers the control hypercalls that the benchmarks use, as eptvisor does (docs/ABI.md). */
static int answer_control(unsigned number, struct kvm_regs *regs)
{
    switch (number) {
    case HC_SLOT_ADD:
        return add_slot(regs->rbx, regs->rcx, regs->rdx);
    case HC_SLOT_DELETE:
        return delete_slot(regs->rbx);
    case HC_SLOT_FLAGS:
        return log_slot(regs->rbx, regs->rcx & SLOT_LOG_DIRTY);
    case HC_DIRTY_GET:
        return get_dirty(regs->rbx, regs->rcx, &regs->rbx);
    case HC_ZAP:
        return regs->rcx == 1 ? zap_page(regs->rbx) : -EINVAL;
    case HC_COUNTER:
        if (regs->rbx == COUNTER_EXIT(48)) /* EPT violations */
            regs->rbx = kvm_statistic(stats, "pf_taken");
        else if (regs->rbx == COUNTER_EXITS)
            regs->rbx = kvm_statistic(stats, "exits");
        else if (regs->rbx == COUNTER_TABLES)
            regs->rbx = kernel_pages("SecPageTables:") /* of all VMs */;
        else
            return -ENOSYS;
        return 0;
    case HC_CONFIG:
        if (regs->rbx != CONFIG_MMIO_CACHING)
            return -ENOSYS;
        regs->rbx = kvm_mmio_caching();
        return 0;
    case HC_DOORBELL_ADD:
        return add_bell(regs->rbx, &regs->rbx);
    case HC_DOORBELL_RINGS:
        return read_bell(regs->rbx, &regs->rbx);
    case HC_DOORBELL_REMOVE:
        return remove_bell(regs->rbx);
    default:
        return -ENOSYS;
    }
}

static void on_control(uint32_t eax)
{
    struct kvm_regs regs;

    must(ioctl(vcpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
    regs.rax = (uint32_t)answer_control(eax & ~ABI_HYPERCALL_MASK, &regs);
    must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

/* ---- The guest's serial output --------------------------------------------------------------- */

static void console_put(char c)
{
    static char line[256];
    static size_t length;

    if (c != '\n') {
        if (length < sizeof(line) - 1)
            line[length++] = c;
        return;
    }
    line[length] = 0;
    length = 0;
    if (!strncmp(line, "ok ", 3))
        *(strstr(line, "# SKIP") ? &skipped : &passed) += 1;
    failed += !strncmp(line, "not ok ", 7) || !strncmp(line, "Bail out!", 9);
    printf("    %s\n", line);
}

/* ---- The VM ---------------------------------------------------------------------------------- */

static uint32_t load_guest(const char *path)
{
    int file = must(open(path, O_RDONLY | O_CLOEXEC), path);
    Elf32_Ehdr head;
    Elf32_Phdr part;

    must((int)pread(file, &head, sizeof(head), 0), path);
    for (unsigned i = 0; i < head.e_phnum; i++) {
        must((int)pread(file, &part, sizeof(part), (off_t)(head.e_phoff + i * sizeof(part))), path);
        if (part.p_type == PT_LOAD)
            must((int)pread(file, ram + part.p_paddr, part.p_filesz, part.p_offset), path);
    }
    close(file);
    return head.e_entry;
}

/* Writes the multiboot1 information: flags that make the memory sizes and the command line valid,
 * and these values. */
static void write_multiboot_info(const char *args)
{
    uint32_t info[32] = {0x5, 640, (uint32_t)(RAM_SIZE >> 10) - 1024, 0, INFO_GPA + sizeof(info)};

    memcpy(ram + INFO_GPA, info, sizeof(info));
    strcpy((char *)ram + INFO_GPA + sizeof(info), args);
}

/* Multiboot1 requires 32-bit protected mode with flat segments and without paging. */
static void set_registers(uint32_t entry)
{
    struct kvm_segment code = {
        .limit = ~0u, .selector = 8, .type = 11, .present = 1, .db = 1, .s = 1, .g = 1};
    struct kvm_segment data = code;
    struct kvm_sregs special;
    struct kvm_regs regs = {.rax = 0x2badb002, .rbx = INFO_GPA, .rip = entry, .rflags = 2};

    data.selector = 16;
    data.type = 3;
    must(ioctl(vcpu, KVM_GET_SREGS, &special), "KVM_GET_SREGS");
    special.cs = code;
    special.ds = special.es = special.fs = special.gs = special.ss = data;
    special.cr0 = 0x11;
    must(ioctl(vcpu, KVM_SET_SREGS, &special), "KVM_SET_SREGS");
    must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

/* Offers the guest everything that KVM supports, as QEMU does. TSC-deadline mode is added here,
 * because KVM leaves that to the user of its in-kernel APIC. */
static void set_cpuid(void)
{
    static struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[128];
    } table;

    table.head.nent = 128;
    must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &table), "KVM_GET_SUPPORTED_CPUID");
    for (unsigned i = 0; i < table.head.nent; i++)
        if (table.entries[i].function == 1)
            table.entries[i].ecx |= LEAF1_TSC_DEADLINE;
    must(ioctl(vcpu, KVM_SET_CPUID2, &table), "KVM_SET_CPUID2");
}

static void create_vm(void)
{
    struct kvm_enable_cap clear = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = {1}};

    vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    must(ioctl(vm, KVM_ENABLE_CAP, &clear), "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
    must(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000ul), "KVM_SET_TSS_ADDR");
    must(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
    ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(ram == MAP_FAILED ? -1 : 0, "the guest's RAM");
    must(set_slot(0, 0, RAM_SIZE, ram, false), "slot 0");
    vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    for (unsigned i = 1; i < vcpus; i++)
        must(ioctl(vm, KVM_CREATE_VCPU, i), "KVM_CREATE_VCPU");
    size_t size = (size_t)must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    state = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    must(state == MAP_FAILED ? -1 : 0, "the vCPU's page");
}

static void create_guest(const char *path, const char *args)
{
    create_vm();
    stats = must(ioctl(vcpu, KVM_GET_STATS_FD, 0), "KVM_GET_STATS_FD");
    set_cpuid();
    uint32_t entry = load_guest(path);
    write_multiboot_info(args);
    set_registers(entry);
}

/* Handles a port access for which the kernel has no device. Returns true if the guest has ended. */
static bool on_port(void)
{
    uint8_t *data = (uint8_t *)state + state->io.data_offset;
    uint16_t port = state->io.port;

    if (state->io.direction == KVM_EXIT_IO_IN) {
        memset(data, port == PORT_UART + 5 ? LSR_EMPTY : 0xff, state->io.size);
    } else if (port == PORT_UART) {
        static bool divisor; /* the first byte sets the speed */
        if (divisor)
            console_put((char)*data);
        divisor = true;
    } else if (port == PORT_LAUNCHER) {
        on_control(*(uint32_t *)data);
    } else if (port == PORT_DEBUG_EXIT) {
        failed += *data != 0 && !failed;
        return true;
    }
    return false;
}

static void run_guest(const char *path, const char *name)
{
    char args[128];

    snprintf(args, sizeof(args), "%s launcher", name);
    printf("# %s: 32 MiB, launcher\n", name);
    create_guest(path, args);
    for (;;) {
        int error = ioctl(vcpu, KVM_RUN, 0);
        if (error && errno == EINTR)
            continue;
        must(error, "KVM_RUN");
        if (state->exit_reason == KVM_EXIT_IO) {
            if (on_port())
                break;
        } else if (state->exit_reason != KVM_EXIT_MMIO || !state->mmio.is_write) {
            printf("error: %s: exit reason %u\n", name, state->exit_reason);
            power_off(1, "failed");
        }
    }
}

/* ---- Memory of a VM -------------------------------------------------------------------------- */

/* Returns the memory that the kernel needs for a VM, as the mean of many. These VMs exist until the
 * machine is switched off. */
static uint64_t vm_bytes(void)
{
    const unsigned count = 64;
    uint64_t before = kernel_pages("MemFree:");
    for (unsigned i = 0; i < count; i++)
        create_vm();
    return (before - kernel_pages("MemFree:")) * PAGE / count;
}

/* ---- /init ----------------------------------------------------------------------------------- */

int main(void)
{
    static char cmdline[2048];
    static const char *const guests[] = {"bench", "mmio_bench", "cpu_bench", "mmu_bench"};
    struct utsname name;

    open_console();
    FILE *file = fopen("/proc/cmdline", "r");
    must(file && fgets(cmdline, sizeof(cmdline), file) ? 0 : -1, "/proc/cmdline");
    uname(&name);
    printf("KTAP version 1\n1..%zu\n# kernel: %s %s\n", sizeof(guests) / sizeof(guests[0]),
           name.release, name.version);
    load_kvm();
    print_mitigations(); /* after load_kvm(), because KVM reports some of them */
    kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    vcpus = strstr(cmdline, "bench.vcpus=2") ? 2 : 1;
    if (strstr(cmdline, "bench.stop"))
        stop_debugger();
    for (unsigned i = 0; i < sizeof(guests) / sizeof(guests[0]); i++) {
        char path[64];
        unsigned before = failed;
        snprintf(path, sizeof(path), "/guests/%s.elf", guests[i]);
        run_guest(path, guests[i]);
        printf("%sok %u %s\n", failed > before ? "not " : "", i + 1, guests[i]);
        fflush(stdout);
    }
    printf("    BENCH vm_bytes %llu bytes\n", (unsigned long long)vm_bytes());
    printf("    BENCH image_bytes %llu bytes\n", (unsigned long long)kernel_bytes());
    printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
    power_off(failed != 0, failed ? "failed" : "ok");
}
