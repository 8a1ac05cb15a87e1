/* Operation numbers and argument blocks are those of Arm's "Semihosting for AArch32 and AArch64". */
#include "semihosting.h"

enum operation { OPEN = 0x01, CLOSE = 0x02, WRITE0 = 0x04, WRITE = 0x05, READ = 0x06, EXIT_EXTENDED = 0x20 };

static int32_t call(enum operation operation, const void *argument)
{
    register int32_t r0 __asm__("r0") = (int32_t)operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

int32_t semihosting_open(const char *path, enum semihosting_mode mode)
{
    uint32_t length = 0;
    while (path[length] != '\0') {
        length++;
    }
    const uint32_t block[3] = {(uint32_t)(uintptr_t)path, (uint32_t)mode, length};
    return call(OPEN, block);
}

void semihosting_close(int32_t file)
{
    const uint32_t block[1] = {(uint32_t)file};
    (void)call(CLOSE, block);
}

size_t semihosting_read(int32_t file, void *to, size_t bytes)
{
    const uint32_t block[3] = {(uint32_t)file, (uint32_t)(uintptr_t)to, (uint32_t)bytes};
    return (size_t)call(READ, block);
}

size_t semihosting_write(int32_t file, const void *from, size_t bytes)
{
    const uint32_t block[3] = {(uint32_t)file, (uint32_t)(uintptr_t)from, (uint32_t)bytes};
    return (size_t)call(WRITE, block);
}

void semihosting_text(const char *text)
{
    (void)call(WRITE0, text);
}

void machine_stop(int status)
{
    const uint32_t block[2] = {0x20026u /* ADP_Stopped_ApplicationExit */, (uint32_t)status};
    (void)call(EXIT_EXTENDED, block);
}
