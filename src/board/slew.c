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

/* The line in force, and how far along it we are. */
struct reading {
	int64_t base, passed, slew;
};

static int64_t
on_line(struct reading r)
{
	int64_t most = r.passed / 10;

	if (r.slew > most)
		r.slew = most;
	if (r.slew < -most)
		r.slew = -most;
	return r.base + r.passed + r.slew;
}

static struct reading
read_line(const struct board *b, int64_t boot)
{
	const struct head *h = b->head;
	uint64_t turn = atomic_load_explicit(&h->line_turn, memory_order_acquire), again;

	for (;; turn = again) {
		const struct line *line = &h->line[turn & 1];
		struct reading r = { word_get(&line->base_ms), boot - word_get(&line->boot_ms),
			word_get(&line->slew_ms) };

		/* Two readers may take the boot clock before and after a tick. */
		if (r.passed < 0)
			r.passed = 0;
		again = atomic_load_explicit(&h->line_turn, memory_order_acquire);
		if (again == turn)
			return r;
	}
}

int64_t
board_now_ms(const struct board *b)
{
	return on_line(read_line(b, boot_ms(b)));
}

int64_t
board_wait_ms(const struct board *b, int64_t at_ms)
{
	struct reading r = read_line(b, boot_ms(b));
	int64_t way = at_ms - r.base; /* of board time, from where the line begins */
	int64_t slewed = r.slew >= 0 ? way / 11 : -(way / 9) - 1; /* had all of it been slewing */
	int64_t passes;

	if (at_ms <= on_line(r))
		return 0;
	/* It ends when the slew is in. */
	if (r.slew >= 0 ? slewed > r.slew : slewed < r.slew)
		slewed = r.slew;
	passes = way - slewed;
	return passes > r.passed ? passes - r.passed : 0;
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
	struct reading r;
	int64_t now, boot;

	/* The next second's tick does it when this one cannot. */
	if (section_enter(b, &ignored) != 0)
		return;
	boot = boot_ms(b);
	r = read_line(b, boot);
	now = on_line(r);
	if (r.passed >= BOARD_TICK_LEAST_MS)
		write_line(b, boot, now, wall_ms(b) - now);
	section_leave(b);
}
