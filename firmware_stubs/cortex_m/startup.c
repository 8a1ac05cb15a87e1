/* Start-up of any Cortex-M: vector table, reset, memory initialisation. No libc. */
#include <stdint.h>

/* from cortex_m.ld */
extern uint32_t ld_stack_top[], ld_data_load[], ld_data_start[], ld_data_end[], ld_bss_start[], ld_bss_end[];

int main(void);
void machine_stop(int status); /* the machine's: what happens after main returns, or on a fault (status 99) */

void Reset_Handler(void);
void Fault_Handler(void);

typedef void (*handler)(void);

struct vector_table {
    uint32_t *stack;
    handler reset;
    handler exceptions[14]; /* NMI, the faults, SVCall, PendSV, SysTick; interrupts are not used */
};

extern const struct vector_table vectors;
__attribute__((section(".vectors"), used)) const struct vector_table vectors = {
    ld_stack_top,
    Reset_Handler,
    {Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
     Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler},
};

void Fault_Handler(void)
{
    for (;;) {
        machine_stop(99);
    }
}

/* The linker's symbols are objects of their own to a compiler, which may not compare pointers to different ones. */
static uint32_t words(const uint32_t *start, const uint32_t *end)
{
    return (uint32_t)(((uintptr_t)end - (uintptr_t)start) / sizeof *start);
}

void Reset_Handler(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    /* CPACR: full access to coprocessors 10 and 11, which are the FPU and MVE */
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
    const uint32_t data = words(ld_data_start, ld_data_end), bss = words(ld_bss_start, ld_bss_end);

    for (uint32_t i = 0; i < data; i++) {
        ((volatile uint32_t *)ld_data_start)[i] = ld_data_load[i];
    }
    for (uint32_t i = 0; i < bss; i++) {
        ((volatile uint32_t *)ld_bss_start)[i] = 0;
    }
    for (;;) {
        machine_stop(main());
    }
}
