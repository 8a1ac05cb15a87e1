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

void Reset_Handler(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    /* CPACR: full access to coprocessors 10 and 11, which are the FPU and MVE */
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
    const uint32_t *from = ld_data_load;
    for (volatile uint32_t *to = ld_data_start; to < ld_data_end; to++) {
        *to = *from++;
    }
    for (volatile uint32_t *to = ld_bss_start; to < ld_bss_end; to++) {
        *to = 0;
    }
    for (;;) {
        machine_stop(main());
    }
}
