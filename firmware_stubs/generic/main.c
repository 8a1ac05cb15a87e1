/* A keyword spotter: proves itself, then listens and says what it heard. Nothing here depends on the board. */
#include "board.h"
#include "kws_decision.h"
#include "kws_frontend.h"
#include "kws_model.h"
#include "stream.h"

int main(void);

/* `value` in decimal, right-aligned in at least `width` characters. */
static void number(uint32_t value, uint32_t width)
{
    char text[11];
    uint32_t start = sizeof text - 1u;

    text[start] = '\0';
    do {
        text[--start] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0u);
    while (sizeof text - 1u - start < width) {
        text[--start] = ' ';
    }
    board_text(text + start);
}

/* As in "   930 ms  yes": the end of the hop at which it was decided, since the start of listening. */
static void report(const kws_decision_detection *detection)
{
    number(detection->hop * (KWS_FRONTEND_HOP * 1000u / KWS_FRONTEND_SAMPLE_RATE), 8);
    board_text(" ms  ");
    board_text(kws_decision_label(detection->label));
    board_text("\n");
}

static int passed(const char *part, int failure)
{
    board_text("self-test of ");
    board_text(part);
    if (failure == 0) {
        board_text(": passed\n");
    } else {
        board_text(": FAILED at ");
        number((uint32_t)failure, 0);
        board_text("\n");
    }
    return failure == 0;
}

int main(void)
{
    int16_t hop[KWS_FRONTEND_HOP];
    kws_decision_detection detection;
    uint32_t longest = 0;

    if (!passed("front end", kws_frontend_selftest()) || !passed("network", kws_model_selftest()) ||
        !passed("decision", kws_decision_selftest())) {
        return 1;
    }
    stream_reset();
    while (board_audio(hop)) {
        const uint32_t start = board_tick();
        const int event = stream_push(hop, &detection);
        const uint32_t ticks = board_tick() - start;

        longest = ticks > longest ? ticks : longest;
        if (event == KWS_DECISION_DETECTED) {
            report(&detection);
        }
    }
    if (longest != 0u) {
        board_text("longest hop: ");
        number(longest, 0);
        board_text(" ticks\n");
    }
    return 0;
}
