/*
 * forecast_test.c - against a simulated provider with true quotas, under a simulated clock, by real plans:
 * what was foreseen stands beside what came, and who looks ahead is refused a tenth as often as who does
 * not.
 */
#include "../admit/house.h"

#include "route/forecast.h"
#include "route/route-int.h"

#include <math.h>

#define MINUTE   INT64_C(60000)
#define HOUR     (60 * MINUTE)
#define DAY      (24 * HOUR)
#define START    (INT64_C(20000) * DAY + 7 * HOUR + 123)
#define TICK     100
#define KEYS     8
#define UNDERWAY 256

/* ---- a house whose board goes by our clock ---- */

static int64_t now_ms = START;
static struct house *house;
static struct route_table *table;

static int64_t
clock_now(void)
{
	return now_ms;
}

/* A board that knows nothing. */
static void
open_board(void)
{
	static const struct board_options small = { .rows = 1024,
		.segments_max = 2,
		.leases = 256,
		.wall_ms = clock_now,
		.boot_ms = clock_now };
	char path[80];

	now_ms = START;
	route_table_free(table);
	board_close(house->board);
	(void)snprintf(path, sizeof path, "%s/board", house->dir);
	assert_int_equal(unlink(path), 0);
	house->board = board_open_sized(house->dir, house->roster, &small, &err);
	if (house->board == NULL)
		fail_msg("%s", err.text);
	table = route_table_new(house->board, house->snapshot, &err);
	assert_non_null(table);
}

static uint64_t seed;

static double
chance(void)
{
	seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
	return (double)(seed >> 11) / 9007199254740992.0;
}

/* ---- the provider ---- */

enum turns { TURNS_FIXED, TURNS_BUCKET, TURNS_SLIDING };

struct quota {
	enum quota_unit unit;
	enum turns turns;
	int64_t length, capacity;
};

struct script {
	const char *name;
	struct quota quota[2];       /* of each key */
	struct quota mixed[KEYS];    /* or each its own */
	bool tells;                  /* in headers */
	bool states_wait;            /* with a refusal */
	double rate;                 /* calls a second, of all keys together */
	double rate_after;           /* ramps to this until the end; 0: it stays */
	int64_t burst_on, burst_off; /* 0: none */
	double others;               /* of each key's calls a second, by somebody else */
	int64_t tokens, took;
	const char *given;
	int keys;
	int64_t lasts, from; /* what was foreseen counts from then on */
};

struct true_key {
	double left[2]; /* of the window or bucket */
	int64_t end[2];
	int64_t times[4096]; /* sliding: a ring of admissions */
	int count;
	int64_t refused, admitted;
	int64_t empty_at; /* when it first could not admit one more */
};

static struct true_key truth[KEYS];

static const struct quota *
quota_of(const struct script *s, const struct true_key *k, int i)
{
	return i == 0 && s->mixed[k - truth].capacity > 0 ? &s->mixed[k - truth] : &s->quota[i];
}

static void
truth_advance(const struct script *s, struct true_key *k)
{
	for (int i = 0; i < 2; i++) {
		const struct quota *q = quota_of(s, k, i);

		if (q->capacity == 0)
			continue;
		if (q->turns == TURNS_BUCKET) {
			k->left[i] += (double)q->capacity * (double)(now_ms - k->end[i]) /
				      (double)q->length;
			k->left[i] = fmin(k->left[i], (double)q->capacity);
			k->end[i] = now_ms;
		} else if (q->turns == TURNS_FIXED && now_ms >= k->end[i]) {
			k->left[i] = (double)q->capacity;
			k->end[i] = (now_ms / q->length + 1) * q->length;
		} else if (q->turns == TURNS_SLIDING) {
			int live = 0;

			for (int n = k->count - 1; n >= 0 && k->count - n <= 4096; n--, live++)
				if (now_ms - k->times[n % 4096] >= q->length)
					break;
			k->left[i] = (double)(q->capacity - live);
		}
	}
}

static bool
truth_covers(const struct script *s, const struct true_key *k, int64_t tokens)
{
	for (int i = 0; i < 2; i++) {
		const struct quota *q = quota_of(s, k, i);

		if (q->capacity > 0 &&
			k->left[i] < (q->unit == QUOTA_REQUESTS ? 1.0 : (double)tokens))
			return false;
	}
	return true;
}

static bool
truth_admit(const struct script *s, struct true_key *k, int64_t tokens, bool ours)
{
	truth_advance(s, k);
	if (!truth_covers(s, k, tokens)) {
		k->refused += ours;
		if (k->empty_at == 0)
			k->empty_at = now_ms;
		return false;
	}
	for (int i = 0; i < 2; i++)
		k->left[i] -= quota_of(s, k, i)->unit == QUOTA_REQUESTS ? 1 : (double)tokens;
	k->times[k->count++ % 4096] = now_ms;
	k->admitted += ours;
	truth_advance(s, k);
	if (k->empty_at == 0 && !truth_covers(s, k, tokens))
		k->empty_at = now_ms;
	return true;
}

static void
truth_tell(const struct script *s, const struct true_key *k, struct quota_told *told)
{
	*told = (struct quota_told){ 0 };
	for (int i = 0; i < 2 && s->tells; i++) {
		const struct quota *q = quota_of(s, k, i);
		struct quota_window *w = &told->window[told->count];

		if (q->capacity == 0)
			continue;
		told->count++;
		*w = (struct quota_window){ .unit = q->unit,
			.limit = q->capacity,
			.remaining = k->left[i] < 0 ? 0 : (int64_t)k->left[i] };
		if (q->turns == TURNS_BUCKET)
			w->reset_in_ms = (int64_t)(((double)q->capacity - k->left[i]) *
						   (double)q->length / (double)q->capacity);
		else
			w->reset_in_ms = k->end[i] - now_ms;
	}
}

static int64_t
truth_wait(const struct script *s, const struct true_key *k)
{
	int64_t wait = 0;

	for (int i = 0; i < 2; i++)
		if (quota_of(s, k, i)->capacity > 0 && k->left[i] < 1)
			wait = quota_of(s, k, i)->turns == TURNS_FIXED ? k->end[i] - now_ms : 1000;
	return wait < 1000 ? 1000 : wait;
}

/* ---- the pool ---- */

static struct id key[KEYS];
static char model[16];

struct call {
	struct route_candidate c;
	struct quota_told told;
	int64_t due, tokens;
	bool refused, used;
	int64_t wait;
	int key;
};
static struct call underway[UNDERWAY];

static struct board_target *
part_of(int k)
{
	return board_target(house->board, board_target_part(key[k], "model", model, strlen(model)));
}

static int
key_of(const struct route_candidate *c)
{
	for (int k = 0; k < KEYS; k++)
		if (id_equal(key[k], c->key->id))
			return k;
	fail_msg("another's key");
	return -1;
}

static struct call *
new_call(void)
{
	for (int i = 0; i < UNDERWAY; i++)
		if (!underway[i].used)
			return &underway[i];
	fail_msg("too many calls");
	return NULL;
}

/* One of the plan: true when the provider takes it. */
static bool
try_one(const struct script *s, const struct route_candidate *c, bool is_first, int64_t tokens)
{
	struct call *call = new_call();
	struct true_key *k;

	*call = (struct call){ .tokens = tokens, .c = *c };
	if (!route_begin(house->board, &call->c, is_first))
		return false;
	call->used = true;
	call->key = key_of(c);
	k = &truth[call->key];
	call->refused = !truth_admit(s, k, tokens, true);
	truth_tell(s, k, &call->told);
	call->wait = call->refused && s->states_wait ? truth_wait(s, k) : 0;
	call->due =
		now_ms + (call->refused ? 50 : s->took / 2 + (int64_t)(chance() * (double)s->took));
	return !call->refused;
}

static void
start_call(const struct script *s)
{
	static struct route_plan plan;
	int64_t tokens = s->tokens == 0 ? 0 : (int64_t)((double)s->tokens * (0.5 + chance()));
	const struct route_ask ask = { .model = span_of(model), .is_conversation = true };

	if (route_plan(table, &ask, &plan, &err) != 0)
		return; /* all rest */
	for (int i = 0; i < plan.count; i++)
		if (try_one(s, &plan.candidate[i], i == 0, tokens))
			return;
}

static void
end_calls(const struct script *s)
{
	static const struct route_rests rests = {
		.default_ms = 10000, .most_ms = HOUR, .hint_cap_ms = 15 * MINUTE
	};

	for (int i = 0; i < UNDERWAY; i++) {
		struct call *call = &underway[i];
		struct route_outcome o = { .failure = FAILURE_NONE,
			.status = 200,
			.tokens = call->tokens,
			.output_tokens = call->tokens / 4,
			.counts = true,
			.told = &call->told };

		if (!call->used || call->due > now_ms)
			continue;
		call->used = false;
		call->told.age_ms = call->refused ? 50 : 0;
		if (call->refused) {
			o.failure = FAILURE_RATE_LIMITED;
			o.status = 429;
			o.tokens = o.output_tokens = 0;
			o.until_ms = call->wait == 0 ? 0 : clock_wall_ms() + call->wait;
		} else if (s->tells) {
			truth_advance(s, &truth[call->key]);
			truth_tell(s, &truth[call->key], &call->told);
		}
		route_report(house->board, &call->c, &o, &rests);
	}
}

static double
rate_now(const struct script *s)
{
	double past = (double)(now_ms - START);

	if (s->burst_on > 0)
		return (int64_t)past % (s->burst_on + s->burst_off) < s->burst_on
			       ? s->rate * (double)(s->burst_on + s->burst_off) /
					 (double)s->burst_on
			       : 0;
	return s->rate_after == 0 ? s->rate
				  : s->rate + (s->rate_after - s->rate) * past / (double)s->lasts;
}

/* An upstream of its own, which alone serves the script's model. */
static void
make_keys(const struct script *s)
{
	struct upstream u = house_upstream_draft(model);
	struct key k;

	(void)snprintf(u.models, sizeof u.models, "%s", model);
	house_create(house, RECORD_UPSTREAM, &u);
	for (int n = 0; n < s->keys; n++) {
		record_init(RECORD_KEY, &k);
		k.head.id = key[n] = id_random();
		k.upstream = u.head.id;
		k.weight = 1;
		(void)snprintf(k.quotas, sizeof k.quotas, "%s", s->given == NULL ? "" : s->given);
		WORKS(store_seal(
			house->store, k.head.id, span_of("sk-of-a-provider"), &k.secret, &err));
		house_create(house, RECORD_KEY, &k);
	}
	(void)house_snapshot(house);
}

static void
begin_script(const struct script *s, bool on)
{
	static int n;

	(void)snprintf(model, sizeof model, "model-%d", n++);
	make_keys(s);
	open_board();
	forecast_switch(on);
	seed = 88172645463325252u;
	memset(truth, 0, sizeof truth);
	memset(underway, 0, sizeof underway);
	for (int k = 0; k < s->keys; k++)
		for (int i = 0; i < 2; i++) {
			const struct quota *q = quota_of(s, &truth[k], i);

			truth[k].left[i] = (double)q->capacity;
			truth[k].end[i] = q->turns == TURNS_BUCKET ? now_ms : 0;
		}
}

static void
step(const struct script *s)
{
	now_ms += TICK;
	end_calls(s);
	for (double want = rate_now(s) * TICK / 1000; want > 0; want -= 1)
		if (chance() < want)
			start_call(s);
	for (int k = 0; k < s->keys && s->others > 0; k++)
		if (chance() < s->others * TICK / 1000)
			(void)truth_admit(s, &truth[k],
				(int64_t)((double)s->tokens * (0.5 + chance())), false);
	if (now_ms / TICK % 50 == 0) /* answers foresee too */
		forecast_clerk(house->board);
}

/* ---- what was foreseen, beside what came ---- */

static const struct script alone[] = {
	{ .name = "steady",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, HOUR, 2000 } },
		.tells = true,
		.rate = 1,
		.keys = 1,
		.took = 800,
		.lasts = HOUR },
	{ .name = "steady, tokens of a day",
		.quota = { { QUOTA_TOKENS, TURNS_FIXED, DAY, 10000000 } },
		.tells = true,
		.rate = 0.25,
		.tokens = 1000,
		.keys = 1,
		.took = 2000,
		.lasts = 13 * HOUR },
	{ .name = "ramp",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, DAY, 9000 } },
		.tells = true,
		.rate = 0.2,
		.rate_after = 3,
		.keys = 1,
		.took = 800,
		.lasts = 3 * HOUR },
	{ .name = "bursts",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, DAY, 6000 } },
		.tells = true,
		.rate = 0.7,
		.burst_on = 2 * MINUTE,
		.burst_off = 8 * MINUTE,
		.keys = 1,
		.took = 800,
		.lasts = 3 * HOUR },
	{ .name = "another eats too",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, DAY, 8000 } },
		.tells = true,
		.rate = 0.5,
		.others = 0.4,
		.keys = 1,
		.took = 800,
		.lasts = 3 * HOUR },
	{ .name = "a bucket",
		.quota = { { QUOTA_REQUESTS, TURNS_BUCKET, HOUR, 1800 } },
		.tells = true,
		.rate = 1.2,
		.keys = 1,
		.took = 800,
		.lasts = 2 * HOUR },
	{ .name = "given",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, DAY, 6000 } },
		.given = "requests/day=6000",
		.rate = 0.5,
		.keys = 1,
		.took = 800,
		.lasts = 4 * HOUR },
	{ .name = "unknown, the second day",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, DAY, 15000 } },
		.states_wait = true,
		.rate = 0.4,
		.keys = 1,
		.took = 800,
		.lasts = 34 * HOUR,
		.from = START + 18 * HOUR },
};

struct foreseen {
	int64_t at, dry, spread;
};

static void
what_is_foreseen_comes_about_then(void **state)
{
	(void)state;
	printf("%-26s %9s %9s %9s %9s %7s\n", "script", "at", "foreseen", "+- s", "true", "off %");
	for (size_t i = 0; i < sizeof alone / sizeof alone[0]; i++) {
		const struct script *s = &alone[i];
		struct foreseen seen[4000];
		int count = 0, right = 0, judged = 0, late = 0;
		double off = 0;
		int64_t each = s->lasts / 2000 + 1, before = 0, next;

		begin_script(s, true);
		next = (s->from > 0 ? s->from : START) + 5 * MINUTE;
		while (now_ms < START + s->lasts && (truth[0].empty_at == 0 || now_ms < s->from)) {
			struct board_target *t;

			step(s);
			if (now_ms < s->from) {
				truth[0].empty_at = 0;
				before = truth[0].refused; /* learned by then */
			}
			if (now_ms < next || count == 4000)
				continue;
			next += each;
			t = part_of(0)->forecast_dry_ms != 0 ? part_of(0)
							     : board_target(house->board, key[0]);
			if (t->forecast_dry_ms > now_ms) {
				struct forecast_quota q[8];
				int n = forecast_quotas(house->board, key[0], q, 8);

				for (int k = 0; k < n; k++)
					if (q[k].dry_ms == t->forecast_dry_ms)
						seen[count].spread = q[k].spread_ms;
				seen[count].at = now_ms;
				seen[count++].dry = t->forecast_dry_ms;
			}
		}
		if (truth[0].empty_at == 0)
			fail_msg("%s: never used up", s->name);
		for (int n = 0; n < count; n++) {
			int64_t apart = llabs(seen[n].dry - truth[0].empty_at);
			bool good = apart <= seen[n].spread + 2000;

			/* of a ramp that has hardly begun nobody can know */
			if (s->rate_after > 0 && seen[n].at - START < s->lasts / 3)
				continue;
			judged++;
			right += good;
			if (n % (count / 5 + 1) == 0 || n == count - 1)
				printf("%-26s %9.1f %9.1f %9.1f %9.1f %6.1f%s\n", s->name,
					(double)(seen[n].at - START) / 1000,
					(double)(seen[n].dry - START) / 1000,
					(double)seen[n].spread / 1000,
					(double)(truth[0].empty_at - START) / 1000,
					100.0 * (double)(seen[n].dry - truth[0].empty_at) /
						fmax((double)(truth[0].empty_at - seen[n].at), 1),
					good ? "" : "  not within");
		}
		for (int n = 0; n < count; n++) {
			double left = (double)(truth[0].empty_at - seen[n].at);

			if (left < 30000 || (seen[n].at - START) * 2 < truth[0].empty_at - START)
				continue;
			off += fabs((double)(seen[n].dry - truth[0].empty_at)) / left;
			late++;
		}
		printf("%-26s %d of %d within the spread; in the second half off by %.1f %% of the "
		       "time "
		       "left; %lld refused\n",
			s->name, right, judged, off * 100 / (late > 0 ? late : 1),
			(long long)truth[0].refused);

		/* two standard deviations are 95 %; that they follow one another takes some of it */
		if (judged < 100 || right * 100 < judged * 88)
			fail_msg("%s: %d of %d", s->name, right, judged);
		/* within a burst nobody can know when the next one comes */
		if (late > 0 && off / late > (s->burst_on > 0 ? 0.25 : 0.1))
			fail_msg("%s: off by %.1f %% of the time left", s->name, off * 100 / late);
		assert_int_equal(truth[0].refused, before);
	}
}

/* ---- refusals, with and without ---- */

static const struct script pools[] = {
	{ .name = "steady, minutes told",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, MINUTE, 30 } },
		.tells = true,
		.states_wait = true,
		.rate = 4,
		.keys = 6,
		.took = 1500,
		.lasts = HOUR },
	{ .name = "buckets of requests and tokens",
		.quota = { { QUOTA_REQUESTS, TURNS_BUCKET, MINUTE, 60 },
			{ QUOTA_TOKENS, TURNS_BUCKET, MINUTE, 40000 } },
		.tells = true,
		.states_wait = true,
		.rate = 6,
		.tokens = 1000,
		.keys = 6,
		.took = 1500,
		.lasts = HOUR },
	{ .name = "ramp",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, MINUTE, 30 } },
		.tells = true,
		.states_wait = true,
		.rate = 0.5,
		.rate_after = 6,
		.keys = 6,
		.took = 1500,
		.lasts = HOUR },
	{ .name = "bursts",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, MINUTE, 30 } },
		.tells = true,
		.states_wait = true,
		.rate = 2.5,
		.burst_on = 20000,
		.burst_off = 70000,
		.keys = 6,
		.took = 1500,
		.lasts = HOUR },
	{ .name = "a day",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, DAY, 2000 } },
		.tells = true,
		.states_wait = true,
		.rate = 0.5,
		.keys = 4,
		.took = 1500,
		.lasts = 20 * HOUR },
	{ .name = "unknown, fixed minutes",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, MINUTE, 30 } },
		.rate = 4,
		.keys = 6,
		.took = 1500,
		.lasts = 2 * HOUR },
	{ .name = "unknown, sliding minutes",
		.quota = { { QUOTA_REQUESTS, TURNS_SLIDING, MINUTE, 30 } },
		.states_wait = true,
		.rate = 4,
		.keys = 6,
		.took = 1500,
		.lasts = 2 * HOUR },
	{ .name = "given, sliding minutes",
		.quota = { { QUOTA_REQUESTS, TURNS_SLIDING, MINUTE, 30 } },
		.given = "requests/minute=30",
		.rate = 4,
		.keys = 6,
		.took = 1500,
		.lasts = HOUR },
	{ .name = "each its own, one by the day",
		.mixed = { { QUOTA_REQUESTS, TURNS_FIXED, MINUTE, 10 },
			{ QUOTA_REQUESTS, TURNS_FIXED, MINUTE, 40 },
			{ QUOTA_REQUESTS, TURNS_BUCKET, MINUTE, 30 },
			{ QUOTA_TOKENS, TURNS_FIXED, MINUTE, 20000 },
			{ QUOTA_REQUESTS, TURNS_FIXED, HOUR, 600 },
			{ QUOTA_REQUESTS, TURNS_FIXED, DAY, 4000 } },
		.tells = true,
		.states_wait = true,
		.rate = 3,
		.tokens = 1000,
		.keys = 6,
		.took = 1500,
		.lasts = 3 * HOUR },
	{ .name = "another eats too",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, MINUTE, 60 } },
		.tells = true,
		.states_wait = true,
		.rate = 5,
		.others = 0.3,
		.keys = 6,
		.took = 1500,
		.lasts = HOUR },
};

static void
who_looks_ahead_is_refused_a_tenth_as_often(void **state)
{
	(void)state;
	printf("%-32s %8s %8s %6s   %s\n", "pool", "off", "on", "less", "served off / on");
	for (size_t i = 0; i < sizeof pools / sizeof pools[0]; i++) {
		const struct script *s = &pools[i];
		int64_t refused[2] = { 0 }, served[2] = { 0 };

		for (int on = 0; on < 2; on++) {
			begin_script(s, on == 1);
			while (now_ms < START + s->lasts)
				step(s);
			for (int k = 0; k < s->keys; k++) {
				refused[on] += truth[k].refused;
				served[on] += truth[k].admitted;
			}
		}
		printf("%-32s %8lld %8lld %5.1f%%   %lld / %lld\n", s->name, (long long)refused[0],
			(long long)refused[1],
			100.0 * (double)(refused[0] - refused[1]) / (double)refused[0],
			(long long)served[0], (long long)served[1]);
		assert_true(refused[0] >= 30 && refused[1] * 10 <= refused[0]);
		/* and nothing to speak of is left unused for it */
		assert_true(served[1] * 100 >= served[0] * 90);
	}
}

/* ---- in the choice, before any refusal ---- */

static const struct script unlike = { .name = "unlike",
	.mixed = { { QUOTA_REQUESTS, TURNS_FIXED, HOUR, 600 },
		{ QUOTA_REQUESTS, TURNS_FIXED, HOUR, 6000 },
		{ QUOTA_REQUESTS, TURNS_FIXED, MINUTE, 120 } },
	.tells = true,
	.rate = 1,
	.keys = 3,
	.took = 800 };

/* How many of 100 quotes ask key 0 first; what the last one tells of it. */
static int
first_of_100(struct route_member *m)
{
	static struct route_plan plan;
	const struct route_ask ask = { .model = span_of(model), .is_conversation = true };
	int first = 0;

	for (int n = 0; n < 100; n++) {
		WORKS(route_plan(table, &ask, &plan, &err));
		first += key_of(&plan.candidate[0]) == 0;
	}
	for (int i = 0; i < plan.record.member_count; i++)
		if (id_equal(plan.record.member[i].key, key[0]))
			*m = plan.record.member[i];
	return first;
}

static void
who_must_last_goes_less_often_and_who_is_used_up_not_at_all(void **state)
{
	struct route_member m = { .forecast = 0 };
	int first;

	(void)state;
	begin_script(&unlike, true);
	truth[0].left[0] = 60;
	truth[0].end[0] = now_ms + HOUR / 2;
	while (now_ms < START + MINUTE)
		step(&unlike);
	/* a tenth is left for half of the time */
	assert_in_range(part_of(0)->forecast_share_ppm, 50000, 250000);
	first = first_of_100(&m);
	assert_in_range(first, 2, 12);
	assert_in_range(m.forecast, 1, 64);
	truth[0].left[0] = fmin(truth[0].left[0], 1);
	for (int64_t end = now_ms + 15 * MINUTE; now_ms < end;)
		step(&unlike);
	assert_true(truth[0].left[0] < 1);
	assert_int_equal(first_of_100(&m), 0);
	assert_int_equal(m.reason, REASON_FORECAST);
	assert_in_range(m.until_ms, truth[0].end[0], truth[0].end[0] + 1000);
	assert_int_equal(truth[0].refused + truth[1].refused + truth[2].refused, 0);
	for (int64_t end = truth[0].end[0] + MINUTE; now_ms < end;)
		step(&unlike);
	assert_in_range(first_of_100(&m), 30, 37);
}

static int
open_house(void **state)
{
	int rc = house_setup(state);

	house = *state;
	return rc;
}

static int
close_house(void **state)
{
	forecast_switch(true);
	route_table_free(table);
	return house_teardown(state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_foreseen_comes_about_then),
		cmocka_unit_test(who_looks_ahead_is_refused_a_tenth_as_often),
		cmocka_unit_test(who_must_last_goes_less_often_and_who_is_used_up_not_at_all),
	};

	return cmocka_run_group_tests_name("route/forecast", tests, open_house, close_house);
}
