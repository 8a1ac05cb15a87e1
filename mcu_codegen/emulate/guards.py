"""Words behind the arena and behind every output that must stay as they are: C that lays them down and looks at them.

A kernel that writes past its memory changes no output of its own; what it changes is whatever the linker put there."""

ARENA = "ld_guard"
"""The words behind the arena, which `SECTIONS` puts there."""

BYTES = 32  # a vector is 16

SECTIONS = f"""\
SECTIONS
{{
    .guarded (NOLOAD) : {{ *(.bss.kws_model_arena) {ARENA} = .; . += {BYTES}; . = ALIGN(4); }} > RAM
}}
"""
"""A part of a linker script. Start-up code does not clear the arena then, which nobody may rely on."""

GUARDS = f"""\
#define GUARD {BYTES}

extern volatile uint8_t {ARENA}[GUARD];

static void lay(volatile uint8_t *guard)
{{
    for (uint32_t i = 0; i < GUARD; i++) {{
        guard[i] = (uint8_t)(0xA5u ^ i);
    }}
}}

/* Whether `guard` is as it was laid. If not, says behind what. */
static int whole(volatile uint8_t *guard, const char *what)
{{
    for (uint32_t i = 0; i < GUARD; i++) {{
        if (guard[i] != (uint8_t)(0xA5u ^ i)) {{
            semihosting_text("the network wrote behind ");
            semihosting_text(what);
            return 0;
        }}
    }}
    return 1;
}}
"""


def guarded(dtype: str, name: str, elements: int) -> str:
    """C: a buffer called `name`.values, and its guard."""
    return f"static struct {{ {dtype} values[{elements}]; volatile uint8_t guard[GUARD]; }} {name} WHOLE_WORDS;"
