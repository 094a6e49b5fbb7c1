/*
 * decision.c - what is remembered of why a request went where it went: the plan's record, completed on
 * its way along the plan (walk.c tells of the attempts), into its row.
 */
#include "gateway/gateway-int.h"

#include "route/record.h"

/* Of a request that went as planned; a record is kept for each. */
#define NEXT_USUAL 3

static struct route_member *
member_of(struct exchange *x, int candidate)
{
	struct route_record *r = &x->plan.record;
	uint8_t at = x->plan.candidate[candidate].member;

	return at < r->member_count ? &r->member[at] : NULL;
}

void
decision_skip(struct exchange *x, int candidate, enum route_reason why)
{
	const struct board_target *key = x->plan.candidate[candidate].target_key;
	struct route_member *m = member_of(x, candidate);
	int64_t until_ms;

	if (m == NULL)
		return;
	m->reason = (uint8_t)why;
	if (why != REASON_RESTS || key == NULL)
		return;
	/* it rests since the plan was made; or somebody else is finding out whether it still does */
	until_ms = atomic_load_explicit(&key->rest_until_ms, memory_order_relaxed);
	if (until_ms > board_now_ms(x->gw->board))
		m->until_ms = until_ms;
	else
		m->reason = REASON_PROBED;
}

/* Those tried were chosen; of the others nobody was, whatever the plan had in mind. */
static void
name_chosen(struct route_record *r)
{
	for (int i = 0; i < r->member_count; i++)
		if (r->member[i].reason == REASON_CHOSEN)
			r->member[i].reason = REASON_NEXT;
	for (int i = 0; i < r->attempt_count; i++)
		if (r->attempt[i].member < r->member_count)
			r->member[r->attempt[i].member].reason = REASON_CHOSEN;
}

static bool
says_something(const struct route_record *r)
{
	return r->considered > 0 || r->member_count > 0 || r->policy_count > 0 ||
	       r->attempt_count > 0 || !id_is_none(r->route);
}

void
decision_keep(struct exchange *x)
{
	struct usage_row *row = &x->row;
	struct route_record r; /* the plan's own is still walked along */
	ptrdiff_t len = 0;

	if (says_something(&x->plan.record)) {
		r = x->plan.record;
		name_chosen(&r);
		if (r.attempt_count <= 1)
			route_record_shorten(&r, NEXT_USUAL);
		len = route_record_encode(&r, row->decision, sizeof row->decision);
	}
	row->decision_len = (uint16_t)(len > 0 ? len : 0);
}
