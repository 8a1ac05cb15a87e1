/* QEMU plugin: counts executed instructions and estimates Cortex-M4 cycles, from a function's first instruction to its
   return, in segments between marks, for every call of the function.

   Arguments: function=ADDRESS, out=FILE, and markN=ADDRESS in rising order of N for each address (hexadecimal) of mark
   N = 0, 1, ... (decimal). FILE gets one line for each call that has returned: "instructions cycles " for each segment.

   Instructions are exact. Cycles are an ESTIMATE, by the timing table of the Cortex-M4 Technical Reference Manual with
   memory that never waits:
     most data processing, multiplications included   1
     division                                         7 (the manual: 2 to 12)
     load of one register                             2, or 1 right after another load or store of one register
     store of one register                            1
     load or store of N registers                     1 + N
     taken branch, or any other change of the PC      2 more, to refill the pipeline

   The few functions of QEMU's plugin API (version 1) are declared here, so that no header is needed. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*)(uint64_t, struct qemu_plugin_tb *));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int flags,
                                                   void *);
__attribute__((visibility("default"))) int qemu_plugin_version = 1;
__attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const void *info, int count, char **);

enum kind { PLAIN, LOAD, STORE, SEVERAL };

struct instruction {
    uint32_t address, size, cycles;
    enum kind kind;
};

#define MARKS 4096
static struct {
    uint32_t number, address;
} marks[MARKS];
static uint32_t function, back, expected;
static size_t mark_count, mark; /* `mark`: the first that lies ahead */
static size_t segment;
static uint64_t instructions[MARKS + 1], cycles[MARKS + 1];
static bool inside;
static enum kind previous;
static char out[4096];

static uint32_t registers(uint32_t mask)
{
    uint32_t count = 0;

    for (; mask != 0; mask &= mask - 1) {
        count++;
    }
    return count;
}

/* Encodings are those of the Armv7-M Architecture Reference Manual, chapter A5. */
static void classify(struct instruction *it, uint32_t first, uint32_t second)
{
    it->kind = PLAIN;
    it->cycles = 1;
    if (it->size == 2) {
        if ((first & 0xF800) == 0x4800) { /* LDR literal */
            it->kind = LOAD;
        } else if ((first & 0xF000) == 0x5000) { /* register offset: STR STRH STRB, then the loads */
            it->kind = (first & 0x0E00) >= 0x0600 ? LOAD : STORE;
        } else if ((first & 0xE000) == 0x6000 || (first & 0xE000) == 0x8000) { /* immediate offset, SP-relative */
            it->kind = (first & 0x0800) != 0 ? LOAD : STORE;
        } else if ((first & 0xF600) == 0xB400) { /* PUSH, POP */
            it->kind = SEVERAL;
            it->cycles = 1 + registers(first & 0x1FF);
        } else if ((first & 0xF000) == 0xC000) { /* STM, LDM */
            it->kind = SEVERAL;
            it->cycles = 1 + registers(first & 0xFF);
        }
    } else if ((first & 0xFE40) == 0xE800) { /* LDM, STM */
        it->kind = SEVERAL;
        it->cycles = 1 + registers(second);
    } else if ((first & 0xFE40) == 0xE840 && (first & 0x0120) != 0) { /* LDRD, STRD */
        it->kind = SEVERAL;
        it->cycles = 3;
    } else if ((first & 0xFFF0) == 0xE8D0 && (second & 0xFFE0) == 0xF000) { /* TBB, TBH: one load */
        it->kind = LOAD;
    } else if ((first & 0xFE00) == 0xF800) { /* single loads and stores */
        it->kind = (first & 0x0010) != 0 ? LOAD : STORE;
    } else if ((first & 0xFFD0) == 0xFB90 && (second & 0x00F0) == 0x00F0) { /* SDIV, UDIV */
        it->cycles = 7;
    } else if ((first & 0xFE00) == 0xEC00 && (first & 0x01A0) != 0) { /* floating-point loads and stores */
        if ((first & 0x0120) == 0x0100) { /* VLDR, VSTR: one or two words */
            it->kind = (second & 0x0100) != 0 ? SEVERAL : (first & 0x0010) != 0 ? LOAD : STORE;
            it->cycles = it->kind == SEVERAL ? 3 : 1;
        } else {
            it->kind = SEVERAL;
            it->cycles = 1 + (second & 0xFF);
        }
    }
}

static void start(void)
{
    inside = true;
    mark = segment = 0;
    memset(instructions, 0, sizeof instructions);
    memset(cycles, 0, sizeof cycles);
    previous = PLAIN;
}

static void finish(void)
{
    FILE *file = fopen(out, "a");

    inside = false;
    if (file == NULL) {
        return;
    }
    for (size_t index = 0; index <= segment; index++) {
        fprintf(file, "%llu %llu ", (unsigned long long)instructions[index], (unsigned long long)cycles[index]);
    }
    fputc('\n', file);
    fclose(file);
}

static void executed(unsigned cpu, void *user)
{
    const struct instruction *it = user;

    (void)cpu;
    if (!inside && it->address == function) {
        start();
        back = expected; /* the instruction before was the call, so what follows it is the return */
        expected = function;
    } else if (inside && it->address == back) {
        cycles[segment] += 2; /* the return is a branch */
        finish();
    }
    if (inside) {
        if (it->address != expected) {
            cycles[segment] += 2;
        }
        for (size_t index = mark; index < mark_count && marks[index].number == segment; index++) {
            if (marks[index].address == it->address) {
                segment++;
                while (mark < mark_count && marks[mark].number < segment) {
                    mark++;
                }
                index = mark - 1; /* the next mark can be at the same address */
            }
        }
        instructions[segment]++;
        cycles[segment] += it->kind == LOAD && previous != LOAD && previous != STORE ? 2 : it->cycles;
        previous = it->kind;
    }
    expected = it->address + it->size;
}

static void translated(uint64_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    for (size_t index = 0; index < qemu_plugin_tb_n_insns(block); index++) {
        struct qemu_plugin_insn *source = qemu_plugin_tb_get_insn(block, index);
        const uint8_t *bytes = qemu_plugin_insn_data(source);
        struct instruction *it = malloc(sizeof *it); /* lives as long as the translation, which is the process */

        if (it == NULL) {
            abort();
        }
        it->address = (uint32_t)qemu_plugin_insn_vaddr(source);
        it->size = (uint32_t)qemu_plugin_insn_size(source);
        classify(it, bytes[0] | (uint32_t)bytes[1] << 8, it->size == 4 ? bytes[2] | (uint32_t)bytes[3] << 8 : 0);
        qemu_plugin_register_vcpu_insn_exec_cb(source, executed, 0, it);
    }
}

int qemu_plugin_install(uint64_t id, const void *info, int count, char **arguments)
{
    (void)info;
    for (int index = 0; index < count; index++) {
        const char *argument = arguments[index];

        if (strncmp(argument, "function=", 9) == 0) {
            function = (uint32_t)strtoul(argument + 9, NULL, 16);
        } else if (strncmp(argument, "mark", 4) == 0 && mark_count < MARKS) {
            char *rest;

            marks[mark_count].number = (uint32_t)strtoul(argument + 4, &rest, 10);
            marks[mark_count++].address = (uint32_t)strtoul(rest + 1, NULL, 16);
        } else if (strncmp(argument, "out=", 4) == 0) {
            snprintf(out, sizeof out, "%s", argument + 4);
        } else {
            return 1;
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
