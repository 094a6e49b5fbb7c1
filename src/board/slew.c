/*
 * slew.c - board time: CLOCK_BOOTTIME, led slowly to where the wall clock says it should be.
 *
 * A correction is not added at once but grows in by a tenth of the time that passes, so time never
 * runs backwards between two readings, and ends by itself when it is in, even if nobody ticks any
 * more.  Two lines take turns: the one not in force is written, then the turn moves, so a reader
 * needs no lock and a writer may die anywhere.
 */
#include "base/clock.h"
#include "board/board-int.h"

static int64_t
boot_ms(const struct board *b)
{
	return b->o.boot_ms != NULL ? b->o.boot_ms() : clock_boot_ms();
}

static int64_t
wall_ms(const struct board *b)
{
	return b->o.wall_ms != NULL ? b->o.wall_ms() : clock_wall_ms();
}

static int64_t
on_line(int64_t base, int64_t passed, int64_t slew)
{
	int64_t most = passed / 10;

	if (slew > most)
		slew = most;
	if (slew < -most)
		slew = -most;
	return base + passed + slew;
}

static int64_t
read_line(const struct board *b, int64_t boot, int64_t *passed)
{
	const struct head *h = b->head;
	uint64_t turn = atomic_load_explicit(&h->line_turn, memory_order_acquire), again;
	int64_t now;

	for (;; turn = again) {
		const struct line *line = &h->line[turn & 1];

		*passed = boot - word_get(&line->boot_ms);
		/* Two readers may take the boot clock before and after a tick. */
		if (*passed < 0)
			*passed = 0;
		now = on_line(word_get(&line->base_ms), *passed, word_get(&line->slew_ms));
		again = atomic_load_explicit(&h->line_turn, memory_order_acquire);
		if (again == turn)
			return now;
	}
}

int64_t
board_now_ms(const struct board *b)
{
	int64_t passed;

	return read_line(b, boot_ms(b), &passed);
}

static void
write_line(struct board *b, int64_t boot, int64_t base, int64_t slew)
{
	struct head *h = b->head;
	uint64_t turn = atomic_load_explicit(&h->line_turn, memory_order_relaxed) + 1;
	struct line *line = &h->line[turn & 1];

	word_set(&line->boot_ms, boot);
	word_set(&line->base_ms, base);
	word_set(&line->slew_ms, slew);
	atomic_store_explicit(&h->line_turn, turn, memory_order_release);
}

void
clock_make(struct board *b)
{
	write_line(b, boot_ms(b), wall_ms(b), 0);
}

void
board_tick(struct board *b)
{
	struct err ignored;
	int64_t passed, now, boot;

	/* The next second's tick does it when this one cannot. */
	if (section_enter(b, &ignored) != 0)
		return;
	boot = boot_ms(b);
	now = read_line(b, boot, &passed);
	if (passed >= BOARD_TICK_LEAST_MS)
		write_line(b, boot, now, wall_ms(b) - now);
	section_leave(b);
}
