/* The emulated boards: audio from a file of int16 samples beside the program, text to the emulator. */
#include "board.h"

#include "kws_frontend.h"
#include "semihosting.h"

#define RECORDING "recording.raw"

int board_audio(int16_t *hop)
{
    static int32_t file = -1;

    if (file < 0) {
        file = semihosting_open(RECORDING, SEMIHOSTING_READ);
    }
    return file >= 0 && semihosting_read(file, hop, KWS_FRONTEND_HOP * sizeof *hop) == 0;
}

void board_text(const char *text)
{
    semihosting_text(text);
}

uint32_t board_tick(void)
{
    return 0; /* an emulator's time says nothing about a core's */
}
