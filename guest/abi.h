/* SPDX-License-Identifier: MIT */
/*
 * The contract between the hypervisor and its guests: hypercall numbers, ports, test devices and
 * counters. The hypervisor and the guest programs include this file; docs/ABI.md describes it.
 *
 * A hypercall is VMCALL with EAX = ABI_HYPERCALL | number and arguments in EBX, ECX, EDX, ESI (the
 * 64-bit registers in 64-bit mode). EAX returns 0 or a negative errno, EBX (and ECX) return values;
 * all other registers are preserved. RAX = 0 and the upper half of RAX are left to the layout of
 * the GHCI.
 */
#pragma once

#define ABI_VERSION        1
#define ABI_HYPERCALL      0x45505400u /* "EPT" in the upper three bytes */
#define ABI_HYPERCALL_MASK 0xffffff00u

/* CPUID leaf 0x40000000: "eptvisor" and four zero bytes in EBX, ECX, EDX. */
#define ABI_CPUID_LEAF 0x40000000u
#define ABI_CPUID_EBX  0x76747065u /* "eptv" */
#define ABI_CPUID_ECX  0x726f7369u /* "isor" */
#define ABI_CPUID_EDX  0u

/* CPUID leaf 0x40000001: the numbers of the stolen address bits of this VM; 0: none. */
#define ABI_CPUID_STOLEN 0x40000001u /* EAX the shared bit, EBX the execute-only bit */

/* For every VM. */
#define HC_NOP     0x00 /* does nothing */
#define HC_VERSION 0x01 /* EBX: ABI version */

/* For VMs created with `testctl`; -ENOSYS in others. Sizes in pages, addresses in bytes. */
#define HC_SLOT_ADD       0x10 /* EBX id, ECX gpa, EDX pages, ESI SLOT_ flags */
#define HC_SLOT_DELETE    0x11 /* EBX id */
#define HC_SLOT_MOVE      0x12 /* EBX id, ECX new gpa */
#define HC_GENERATION_GET 0x13 /* -> EBX */
#define HC_GENERATION_SET 0x14 /* EBX generation */
#define HC_ZAP            0x15 /* EBX gpa, ECX pages: drop the EPT entries, keep the memory */
#define HC_COUNTER        0x16 /* EBX COUNTER_ or COUNTER_EXIT(reason) -> EBX */
#define HC_SPTE           0x17 /* EBX gpa -> EBX the lowest entry of the walk, ECX its level */
#define HC_INJECT         0x18 /* EBX event in VM-entry format, ECX error code, EDX TSC ticks */
#define HC_CONFIG         0x19 /* EBX CONFIG_ -> EBX */

#define HC_SLOT_FLAGS 0x20 /* EBX id, ECX SLOT_ flags */
#define HC_DIRTY_GET  0x21 /* EBX id, ECX page, a multiple of 64 -> EBX a bit for each of 64 */
#define HC_TRACK      0x22 /* EBX gpa: from now on each write to the page exits and is counted */
#define HC_UNTRACK    0x23 /* EBX gpa */
#define HC_HOST_REMAP 0x24 /* EBX gpa: moves the page to another host page */
#define HC_AGE        0x25 /* EBX gpa, ECX pages -> EBX leaves used since the last call */
#define HC_NX_RECOVER 0x26 /* -> EBX executed large pages that may become large again */
#define HC_TRACE      0x27 /* EBX a bit for each event of lib/trace.h -> EBX the previous bits */
#define HC_MAP        0x28 /* EBX, ECX, EDX, ESI: a label in ASCII. Draws the memory; with `map` */

#define HC_DOORBELL_ADD    0x30 /* EBX gpa, ECX length or 0, EDX data, ESI DOORBELL_ -> EBX id */
#define HC_DOORBELL_REMOVE 0x31 /* EBX id */
#define HC_DOORBELL_RINGS  0x32 /* EBX id -> EBX how often it was rung */
#define HC_WINDOW          0x33 /* EBX gpa or 0, ECX the RAM behind it, EDX log or 0 */

#define DOORBELL_DATA 0x1 /* rings only when the data is written */

#define SLOT_READONLY  0x1
#define SLOT_LOG_DIRTY 0x2
#define SLOT_SHARED    0x4 /* all its pages are shared at first */

#define CONFIG_MMIO_CACHING   0 /* 0 or 1 */
#define CONFIG_GVA_CACHE      1 /* 0 off, 1 exits, 2 verify */
#define CONFIG_AD             2 /* EPT accessed and dirty bits in use */
#define CONFIG_HUGE           3 /* 2 MiB mappings in use */
#define CONFIG_GEN_BITS       4 /* bits of the slot generation that an MMIO SPTE holds */
#define CONFIG_NX_HUGE        5 /* large pages may not be executed */
#define CONFIG_PML            6 /* dirty pages are logged by the CPU */
#define CONFIG_NX_RECOVERY_MS 7 /* milliseconds between two recoveries of split large pages */
#define CONFIG_TSC_KHZ        8
#define CONFIG_VE             9 /* #VE in this VM: 0 none, 1 by the hypervisor, 2 by the CPU */

/* Counters of this VM. */
#define COUNTER_SLOT_SEARCHES      0 /* lookups of a memslot made for faults */
#define COUNTER_MMIO_SPTE_CREATED  1
#define COUNTER_MMIO_CACHE_HITS    2 /* step 2: answered by the vCPU's MMIO cache */
#define COUNTER_MMIO_SPTE_HITS     3 /* step 3: answered by a current MMIO SPTE */
#define COUNTER_MMIO_SPTE_STALE    4 /* step 4 */
#define COUNTER_MMIO_EMULATED      5
#define COUNTER_INVEPT             6
#define COUNTER_INVVPID            7
#define COUNTER_PAGES_4K           8 /* mapped now */
#define COUNTER_PAGES_2M           9
#define COUNTER_FULL_ZAPS          10 /* all roots zapped, e.g. when the generation wraps */
#define COUNTER_EVENTS_REQUEUED    11
#define COUNTER_GVA_CACHE_HITS     12
#define COUNTER_STALE_TRANSLATIONS 13 /* INVVPID and re-entry, decision D6 */
#define COUNTER_FAULTS             14 /* EPT violations handled by the MMU */
#define COUNTER_EXITS              15 /* all VM exits */
#define COUNTER_FAST_FAULTS        16 /* faults repaired without the lock */
#define COUNTER_SPLITS             17 /* large leaves replaced by tables */
#define COUNTER_PAGES_1G           18
#define COUNTER_TABLES             19 /* table pages now, without the root */
#define COUNTER_PF_TAKEN           20 /* faults: violations, and misconfigurations found stale */
#define COUNTER_PF_FIXED           21 /* faults that ended with a translation */
#define COUNTER_PF_EMULATE         22 /* faults by MMIO and writes to tracked or read-only pages */
#define COUNTER_PF_SPURIOUS        23 /* faults whose translation existed already */
#define COUNTER_INVLPG             24 /* emulated for the guest */
#define COUNTER_REMOTE_TLB_FLUSH   25 /* waits for another CPU to leave the guest */
#define COUNTER_NX_LPAGE_SPLITS    26 /* large pages that are split now because of executions */
#define COUNTER_BUS_UNCLAIMED      27 /* MMIO and port accesses, or parts, that reach no device */
#define COUNTER_BUS_REFUSED        28 /* accesses whose size or alignment the device refuses */
#define COUNTER_POISON_TICKS       29 /* TSC ticks that poison=1 took of this vCPU */
#define COUNTER_NET_SENT           30 /* frames that the network device has sent */
#define COUNTER_NET_RECEIVED       31 /* frames that it has received */
#define COUNTER_NET_LOST           32 /* copies of sent frames for which a receiver had no room */
#define COUNTER_INVEPT_DEBT        33 /* of COUNTER_INVEPT: for changes alone */
#define COUNTER_COUNT              34
#define COUNTER_EXIT(reason)       (0x100 + (reason))
#define COUNTER_TRACE(event)       (0x200 + (event))  /* of lib/trace.h: records */
#define COUNTER_INVEPT_FOR(reason) (0x300 + (reason)) /* of lib/flush_reasons.h, from 1 on */

/* The virtualization-exception information area (SDM 3, table 26-1): a page of private memory for
 * each vCPU. A #VE before VE_BUSY has been cleared becomes #DF. */
#define VE_AREA_BASE        0xfd000000u
#define VE_REASON           0
#define VE_BUSY             4
#define VE_QUALIFICATION    8
#define VE_LINEAR_ADDRESS   16
#define VE_PHYSICAL_ADDRESS 24
#define VE_EPTP_INDEX       32

/* Ports. */
#define PORT_DEBUG_EXIT 0xf4 /* out v: end this VM; 0 is success, anything else failure v */
#define PORT_TEST       0xe0 /* with `testctl`, 4 bytes: returns what was written to it, in order */
#define PORT_UART       0x3f8
/* With `pc`: */
#define PORT_PIC           0x20 /* with `legacy`: 2 ports */
#define PORT_PIC_SLAVE     0xa0
#define PORT_CRTC          0x3d4 /* index, data */
#define PORT_ELCR          0x4d0 /* the edge/level control registers of the two 8259s */
#define PORT_PIT           0x40  /* counters 0 to 2, of which only 2 exists; the command */
#define PORT_SYSTEM        0x61  /* gate and output of counter 2 */
#define PORT_KEYBOARD      0x64  /* a controller that only resets the machine */
#define PORT_KEYBOARD_DATA 0x60  /* with `legacy` */
#define PORT_VGA           0x3c0 /* with `legacy`: 32 ports */
#define PORT_RTC           0x70  /* index, data */
#define PORT_SLEEP         0x600 /* ACPI's sleep control and sleep status registers */
#define PORT_PM_TIMER      0x608 /* 4 bytes */
#define PORT_RESET         0xcf9
/* With `pci`: */
#define PORT_PCI_ADDRESS 0xcf8 /* accesses of 4 bytes only */
#define PORT_PCI_DATA    0xcfc

/* Under another hypervisor, whose launcher has started the program with the word `launcher`, a
 * write of EAX to this port stands for a control hypercall (tools/kvm/launcher.c). */
#define PORT_LAUNCHER 0xe8

/* Two identical test devices, one page each, with nothing else in their 2 MiB. */
#define TESTDEV_A_BASE 0xfe000000u
#define TESTDEV_B_BASE 0xfe001000u
#define TESTDEV_SIZE   0x1000u

/* Registers of a test device, all 32-bit. Offsets 0 to 0x7ff and the last 16 bytes of the page (so
 * that an access may cross into the next device) are like RAM, and accesses of 1 to 8 bytes that
 * start there are counted. */
#define TESTDEV_RAM_SIZE   0x800
#define TESTDEV_TAIL       0xff0
#define TESTDEV_READS      0x800 /* number of reads of the RAM-like part */
#define TESTDEV_WRITES     0x804 /* number of writes to it */
#define TESTDEV_LAST_OFS   0x808
#define TESTDEV_LAST_SIZE  0x80c
#define TESTDEV_LAST_VALUE 0x810 /* low half; high half at 0x814 */
#define TESTDEV_RESET      0x818 /* a write clears the counts and the memory */
#define TESTDEV_IDENT      0x81c /* 'A' or 'B' */

/* With `pci` and `testctl`, the last device on the bus has these functions. The registers, 32-bit,
 * lie in BAR 0. Function 0 has MSI-X in BAR 1, and a 64-bit BAR 2, in which a read returns its
 * offset, and a write goes to the scratch register; function 1 has BAR 0 and INTA# only. */
#define PCI_TEST_DEVICE    31
#define PCI_TEST_FUNCTIONS 2
#define PCI_TEST_VENDOR    0xe0f1
#define PCI_TEST_ID        0x7e57 /* of function 0; that of function 1 follows */
#define PCI_TEST_VECTORS   4
#define PCI_TEST_SIZE      0x1000 /* of BAR 0 */
#define PCI_TEST_WIDE_SIZE 0x4000 /* of BAR 2 */
#define PCI_TEST_SCRATCH   0x0    /* like RAM */
#define PCI_TEST_RAISE     0x4    /* a write raises the MSI-X vector */
#define PCI_TEST_LEVEL     0x8    /* the level of INTA# */
#define PCI_TEST_ABORT     0xc    /* a write sets Received Master Abort */

/* The window of HC_WINDOW, and its log: a page with the number of accesses so far in its first 8
 * bytes, then the last WINDOW_LOG_RECORDS of them, the oldest overwritten first. A record is its
 * number from 1 (8 bytes), offset (4), size (2), 1 for a write (2), and up to 64 bytes of data. */
#define WINDOW_SIZE        0x10000
#define WINDOW_LOG_HEADER  16
#define WINDOW_LOG_RECORD  80
#define WINDOW_LOG_RECORDS 51
