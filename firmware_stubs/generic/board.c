/* The board's functions, to be filled in. As they stand, the program runs its self-tests, hears nothing and ends. */
#include "board.h"

#include "kws_frontend.h"

int board_audio(int16_t *hop)
{
    /* Wait until the microphone's driver (I2S or PDM by DMA, two buffers of KWS_FRONTEND_HOP samples) has filled one
       buffer, and copy it. */
    (void)hop;
    return 0;
}

void board_text(const char *text)
{
    /* Write to a UART, or to the debugger. */
    (void)text;
}

uint32_t board_tick(void)
{
    /* DWT->CYCCNT where the core has one, else a timer. */
    return 0;
}
