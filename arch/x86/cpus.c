/* this_cpu() for code that does not know arch/x86/. */
#include "arch/x86/cpus.h"

unsigned this_cpu(void)
{
    uint64_t offset;
    __asm__("movq %%gs:0, %0" : "=r"(offset));
    return (unsigned)(offset / CPU_RECORD);
}
