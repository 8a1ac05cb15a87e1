"""How deep a program's stack goes: C that paints it, and looks at what is left."""

PAINTING = """\
#define PAINTED 4096 /* words below main's stack; what stays unchanged was not used */
#define COLOUR 0x5AFEC0DEu

/* These two must not use the stack that they look at, so they may not be calls. */
static inline __attribute__((always_inline)) void paint(volatile uint32_t *stack)
{
    for (uint32_t word = 0; word < PAINTED; word++) {
        stack[word] = COLOUR;
    }
}

static inline __attribute__((always_inline)) uint32_t used(volatile uint32_t *stack)
{
    uint32_t word = 0;

    while (word < PAINTED && stack[word] == COLOUR) {
        word++;
    }
    return (PAINTED - word) * 4u;
}
"""
