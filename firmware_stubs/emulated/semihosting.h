/* Arm semihosting: the emulator (or a debugger) does files and text for the program. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stddef.h>
#include <stdint.h>

enum semihosting_mode { SEMIHOSTING_READ = 1, SEMIHOSTING_WRITE = 5 }; /* binary */

/* A handle, or -1. The path is relative to the emulator's working folder. */
int32_t semihosting_open(const char *path, enum semihosting_mode mode);
void semihosting_close(int32_t file);

/* Both return the bytes that were NOT transferred. */
size_t semihosting_read(int32_t file, void *to, size_t bytes);
size_t semihosting_write(int32_t file, const void *from, size_t bytes);

void semihosting_text(const char *text);

/* Ends the emulation with an exit status. */
void machine_stop(int status);

#endif
