/*
 * clock.h - the clocks, and times as text.  Safe over threads.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_wall_ms(void);     /* since 1970, may step */
int64_t clock_boot_ms(void);     /* CLOCK_BOOTTIME: never steps, the same in all processes */
int64_t clock_mono_us(void);     /* for durations */

#define CLOCK_TEXT_BYTES 32
/* "2026-11-21T04:05:06.789Z" */
void clock_rfc3339(int64_t wall_ms, char out[CLOCK_TEXT_BYTES]);
/* RFC 3339 with any offset and up to nine digits of fraction.  0, or -1. */
int clock_parse_rfc3339(const char *text, int64_t *wall_ms);
/* RFC 9110 HTTP-date (IMF-fixdate).  0, or -1. */
int clock_parse_http_date(const char *text, int64_t *wall_ms);
/* OpenAI's durations, "6m0s", "1.5s", "20ms": wire fact from reference openai.md, section 7. */
void clock_duration(int64_t ms, char out[CLOCK_TEXT_BYTES]);
/* One or more of number and unit (d h m s ms us ns), parts of a millisecond rounded up. */
int clock_parse_duration(const char *text, int64_t *ms);

#endif
