/*
 * line.c - where a request waits while all who could serve it are busy, and whether that makes sense.
 */
#include "quote/quote.h"

#include "base/clock.h"
#include "board/waiter.h"

#include <inttypes.h>

#define RETRY_LEAST_MS 1000

/* The upstream that all of them share, where its calls are capped; else those who choose among the same. */
static struct id
pool_of(const struct route_plan *plan)
{
	const struct upstream *u = plan->count > 0 ? plan->candidate[0].upstream : NULL;

	for (int i = 1; i < plan->count && u != NULL; i++)
		if (plan->candidate[i].upstream != u)
			u = NULL;
	return u != NULL && u->max_parallel > 0 ? u->head.id : plan->pool;
}

struct quote_line
quote_line(const struct route_plan *plan, const struct conf *conf)
{
	return (struct quote_line){ .pool = pool_of(plan),
		.most = plan->queue_most >= 0 ? plan->queue_most : conf->queue_most,
		.wait_ms = plan->queue_wait_ms >= 0 ? plan->queue_wait_ms : conf->queue_wait_ms };
}

bool
quote_may_wait(struct board *board, const struct route_plan *plan, const struct quote_line *line,
	const struct err *why)
{
	if (why->code != ERR_NO_KEY_AVAILABLE || plan->count == 0 || line->most == 0)
		return false;
	return plan->may_free ||
	       (plan->wakes_ms > 0 && board_wait_ms(board, plan->wakes_ms) <= line->wait_ms);
}

int64_t
quote_turn_ms(struct board *board, const struct route_plan *plan, const struct quote_line *line)
{
	int64_t ahead = board_wait_count(board, line->pool), wakes_ms = 0;
	int64_t turn_ms = board_wait_forecast_ms(board, line->pool, ahead);

	if (turn_ms > line->wait_ms)
		turn_ms = line->wait_ms;
	if (!plan->may_free && plan->wakes_ms > 0)
		wakes_ms = board_wait_ms(board, plan->wakes_ms);
	if (turn_ms < wakes_ms)
		turn_ms = wakes_ms;
	return turn_ms < RETRY_LEAST_MS ? RETRY_LEAST_MS : turn_ms;
}

int
quote_refuse_full(struct board *board, const struct route_plan *plan, const struct quote_line *line,
	struct err *err)
{
	int64_t others = board_wait_count(board, line->pool);

	err_set(err, ERR_OVERLOADED, "%" PRId64 " requests wait already", line->most);
	err->retry_boot_ms = clock_boot_ms() + quote_turn_ms(board, plan, line);
	return err_say(err,
		"All that could serve this request are busy, and %" PRId64
		" others wait for them already; try again later.",
		others);
}
