/* The functions that a compiler may call without being asked: there is no libc to bring them.
   The empty asm keeps the compiler from recognising each loop as the very function it implements. */
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    unsigned char *out = to;
    const unsigned char *in = from;
    for (; bytes > 0; bytes--) {
        *out++ = *in++;
        __asm__ volatile("");
    }
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    unsigned char *out = to;
    const unsigned char *in = from;
    if (out <= in) {
        return memcpy(to, from, bytes);
    }
    while (bytes > 0) {
        bytes--;
        out[bytes] = in[bytes];
        __asm__ volatile("");
    }
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    unsigned char *out = to;
    for (; bytes > 0; bytes--) {
        *out++ = (unsigned char)value;
        __asm__ volatile("");
    }
    return to;
}
