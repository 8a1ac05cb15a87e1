/* What the spotter needs of a board: three functions. Fill them in in board.c. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Wait for the next KWS_FRONTEND_HOP samples (16 kHz, mono) and copy them to `hop`. Returns 1, or 0 when no more will
   come, which ends main. */
int board_audio(int16_t *hop);

/* Write text to where somebody can read it. */
void board_text(const char *text);

/* A free-running counter, in whatever unit; main reports the longest hop in it. 0 throughout: there is none. */
uint32_t board_tick(void);

#endif
