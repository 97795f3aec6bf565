/* SPDX-License-Identifier: MIT */
/* The report of the machine; see the header. */
#include "main/report.h"

#include "arch/x86/acpi.h"
#include "arch/x86/reg_bits.h"
#include "ept/caps.h"
#include "lib/bit_words.h"
#include "lib/log.h"
#include "lib/log_sum.h"
#include "lib/string.h"
#include "lib/visible.h"
#include "vm/features.h"
#include "vmx/capabilities.h"

#define FORMAT    1
#define WIDTH     150 /* of a value on its line */
#define WORDS_MAX 1024
#define EXTENDED  0x80000000u /* the first extended leaf */

static unsigned lines;
static uint32_t hash;
static char text[WORDS_MAX];

static void sum_up(const char *part)
{
    for (; *part; part++)
        hash = log_hash(hash, *part);
}

/* Prints a line with the first `length` characters of the value. */
static void print_part(const char *key, const char *value, int length)
{
    char raw[LOG_LINE_MAX], part[LOG_LINE_MAX - sizeof("report: ")];
    snprintf(raw, sizeof(raw), "%s: %.*s", key, length, value);
    visible_text(part, sizeof(part),
                 raw); /* as the log does, so that the sum is of what it shows */
    log_info("report: %s", part);
    sum_up(part);
    sum_up("\n");
    lines++;
}

/* Returns how many characters of the value belong on a line: all of them, or those up to the last
 * comma that fits, or to the first one. */
static size_t part_length(const char *value)
{
    size_t length = strlen(value), best = length;
    for (size_t i = 0; length > WIDTH && i + 1 < length; i++)
        if (value[i] == ',' && value[i + 1] == ' ' && (i < WIDTH || best == length))
            best = i + 1;
    return best;
}

static void print(const char *key, const char *value)
{
    size_t length;
    do {
        length = part_length(value);
        print_part(key, value, (int)length);
        value += length;
        while (*value == ' ')
            value++;
    } while (*value);
}

static void PRINTF(2, 3) printf_value(const char *key, const char *format, ...)
{
    char value[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(value, sizeof(value), format, arguments);
    va_end(arguments);
    print(key, value);
}

/* ---- The firmware ---------------------------------------------------------------------------- */

/* Prints those of three texts that the firmware gives. */
static void print_texts(const char *key, const char *a, const char *b, const char *c)
{
    if (*a || *b || *c)
        printf_value(key, "%s%s%s%s%s", a, *a && *b ? " " : "", b, (*a || *b) && *c ? " " : "", c);
}

static void print_boot(const struct report *report)
{
    const struct boot_info *info = report->info;
    const struct boot_framebuffer *screen = &info->framebuffer;
    const struct smbios_names *names = report->names;
    print_texts("machine", names->vendor, names->product, names->version);
    print_texts("firmware", names->bios_vendor, names->bios_version, names->bios_date);
    printf_value("loader", "%s by %s, %s", info->protocol, info->loader[0] ? info->loader : "?",
                 info->efi_system_table.v ? "EFI" : "BIOS");
    if (screen->kind == BOOT_FRAMEBUFFER_NONE)
        print("screen", "none");
    else
        printf_value("screen", "%s, %u x %u, %u bits, a line has %u bytes, at %#lx",
                     screen->kind == BOOT_FRAMEBUFFER_TEXT ? "text" : "pixels", screen->width,
                     screen->height, screen->bits_per_pixel, screen->pitch, screen->base.v);
}

static void print_memory(const struct report *report)
{
    static const char *const kinds[] = {[BOOT_RAM] = "RAM",
                                        [BOOT_RESERVED] = "reserved",
                                        [BOOT_ACPI] = "ACPI tables",
                                        [BOOT_NVS] = "ACPI NVS",
                                        [BOOT_BAD] = "bad"};
    const struct boot_info *info = report->info;
    for (enum boot_memory kind = BOOT_RAM; kind <= BOOT_BAD; kind++) {
        uint64_t size = 0, end = 0;
        unsigned count = 0;
        for (unsigned i = 0; i < info->range_count; i++) {
            const struct boot_range *range = &info->ranges[i];
            if (range->kind != kind)
                continue;
            count++;
            size += range->size;
            end = range->base.v + range->size;
        }
        if (count)
            printf_value("memory", "%s, %lu KiB in %u range%s up to %#lx", kinds[kind], size >> 10,
                         count, count == 1 ? "" : "s", end);
    }
    printf_value("memory", "%lu MiB are free", report->free_pages >> 8);
}

static void print_table(hpa_t address, const struct acpi_header *header)
{
    printf_value("ACPI table", "%.4s, revision %u, %u bytes, OEM %.6s %.8s, at %#lx",
                 header->signature, header->revision, header->length, header->oem,
                 header->oem_table, address.v);
}

/* ---- The CPU --------------------------------------------------------------------------------- */

static struct cpuid ask(const struct report *report, uint32_t leaf, uint32_t subleaf)
{
    uint32_t first = leaf & EXTENDED, last = report->cpuid(first, 0).eax;
    return last < leaf || (last ^ first) & EXTENDED ? (struct cpuid){0}
                                                    : report->cpuid(leaf, subleaf);
}

static void print_cpu(const struct report *report)
{
    const struct cpu_facts *cpu = report->cpu;
    const char *kind = core_kind_name(cpu->core_kind);
    char microcode[32] = "";
    print("CPU", cpu->brand[0] ? cpu->brand : "without a name");
    print("CPU vendor", cpu->vendor);
    if (cpu->microcode)
        snprintf(microcode, sizeof(microcode), ", microcode %#x", cpu->microcode);
    printf_value("CPU signature", "%#x: family %u, model %#x, stepping %u%s", cpu->signature,
                 cpu->family, cpu->model, cpu->stepping, microcode);
    if (cpu->threads_of_core || kind)
        printf_value("CPU topology", "threads: %u of a core, %u of the package%s%s",
                     cpu->threads_of_core, cpu->threads_of_package, kind ? "; " : "",
                     kind ? kind : "");
    printf_value("CPU address bits", "%u", cpu->physical_bits);
    if (cpu->below == HYPERVISOR_NONE)
        print("below us", "nothing says that it is a hypervisor");
    else
        printf_value("below us", "%s (%s)", hypervisor_name(cpu->below), cpu->below_name);
}

static void print_features(const struct report *report)
{
    static const struct feature others[] = {
        {.name = "VMX", .leaf = 1, .reg = CPUID_ECX, .bit = BIT(5)},
        {.name = "SMX", .leaf = 1, .reg = CPUID_ECX, .bit = BIT(6)},
        {.name = "PDCM", .leaf = 1, .reg = CPUID_ECX, .bit = BIT(15)},
        {.name = "SGX", .leaf = 7, .reg = CPUID_EBX, .bit = BIT(2)},
        {.name = "Intel PT", .leaf = 7, .reg = CPUID_EBX, .bit = BIT(25)},
        {.name = "shadow stacks", .leaf = 7, .reg = CPUID_ECX, .bit = BIT(7)},
        {.name = "total memory encryption", .leaf = 7, .reg = CPUID_ECX, .bit = BIT(13)},
        {.name = "LA57", .leaf = 7, .reg = CPUID_ECX, .bit = BIT(16)},
        {.name = "bus lock detection", .leaf = 7, .reg = CPUID_ECX, .bit = BIT(24)},
        {.name = "hybrid", .leaf = 7, .reg = CPUID_EDX, .bit = BIT(15)},
        {.name = "IBT", .leaf = 7, .reg = CPUID_EDX, .bit = BIT(20)},
        {.name = "AMX", .leaf = 7, .reg = CPUID_EDX, .bit = BIT(24)},
        {.name = "LAM", .leaf = 7, .subleaf = 1, .reg = CPUID_EAX, .bit = BIT(26)},
        {.name = "FRED", .leaf = 7, .subleaf = 1, .reg = CPUID_EAX, .bit = BIT(17)},
        {.name = "SVM", .leaf = EXTENDED + 1, .reg = CPUID_ECX, .bit = BIT(2)},
    };
    unsigned used = 0;
    text[0] = 0;
    for (unsigned i = 0; i < feature_count + ARRAY_SIZE(others); i++) {
        const struct feature *f =
            i < feature_count ? &feature_table[i] : &others[i - feature_count];
        struct cpuid r = ask(report, f->leaf, f->subleaf);
        const uint32_t registers[] = {r.eax, r.ebx, r.ecx, r.edx};
        if (registers[f->reg] & f->bit && used < sizeof(text))
            used += (unsigned)snprintf(text + used, sizeof(text) - used, "%s%s", used ? ", " : "",
                                       f->name);
    }
    print("CPU features", text);
}

/* The leaves from which the rest can be computed later. */
static void print_leaves(const struct report *report)
{
    static const struct {
        uint32_t leaf, subleaf;
    } leaves[] = {{0, 0},
                  {1, 0},
                  {6, 0},
                  {7, 0},
                  {7, 1},
                  {7, 2},
                  {0xa, 0},
                  {0xd, 0},
                  {0xd, 1},
                  {0x12, 0},
                  {0x14, 0},
                  {0x15, 0},
                  {0x16, 0},
                  {0x19, 0},
                  {0x1a, 0},
                  {0x1f, 0},
                  {0x23, 0},
                  {EXTENDED, 0},
                  {EXTENDED + 1, 0},
                  {EXTENDED + 7, 0},
                  {EXTENDED + 8, 0}};
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++) {
        struct cpuid r = ask(report, leaves[i].leaf, leaves[i].subleaf);
        if (r.eax | r.ebx | r.ecx | r.edx)
            printf_value("CPUID", "%#x.%u: %08x %08x %08x %08x", leaves[i].leaf, leaves[i].subleaf,
                         r.eax, r.ebx, r.ecx, r.edx);
    }
}

static void print_vmx(const struct report *report)
{
    static const struct bit_word words[] = {
        {FEATURE_CONTROL_LOCKED, "locked"},
        {BIT(1), "VMX inside SMX"},
        {FEATURE_CONTROL_VMX_OUTSIDE, "VMX outside SMX"},
        {BIT(15), "SENTER"},
        {BIT(17), "SGX launch control"},
        {BIT(18), "SGX"},
        {BIT(20), "LMCE"},
    };
    if (report->feature_control) {
        uint64_t control = *report->feature_control;
        int used = snprintf(text, sizeof(text), "%#lx: ", control);
        if (!bit_words(control & ~BITS(14, 8), words, ARRAY_SIZE(words), text + used,
                       (unsigned)(sizeof(text) - (size_t)used)))
            snprintf(text + used, sizeof(text) - (size_t)used, "not locked, VMX not enabled");
        print("IA32_FEATURE_CONTROL", text);
    }
    if (!report->msrs) {
        print("VMX", "none");
        return;
    }
    vmx_capabilities(report->msrs, print);
    uint64_t caps = report->msrs->ept_vpid_cap;
    if (!caps)
        return;
    int used = snprintf(text, sizeof(text), "%#lx: ", caps);
    (void)ept_caps_words(caps, text + used, (unsigned)(sizeof(text) - (size_t)used));
    print("IA32_VMX_EPT_VPID_CAP", text);
}

void report_print(const struct report *report)
{
    lines = 0;
    hash = LOG_HASH_BEGIN;
    printf_value("begin", "%u", FORMAT);
    print_boot(report);
    print_memory(report);
    acpi_list(print_table);
    printf_value("TSC", "%lu kHz", report->tsc_khz);
    if (report->tsc_khz)
        printf_value("time", "the TSC was at %lu ms when the image began, %lu ms ago",
                     report->began / report->tsc_khz,
                     (report->now - report->began) / report->tsc_khz);
    print_cpu(report);
    print_features(report);
    print_leaves(report);
    print_vmx(report);
    log_info("report: end: %u lines, sum %#x", lines, hash);
}
