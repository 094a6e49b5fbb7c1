/*
 * forecast_test.c - against a simulated provider with true quotas, under a simulated clock: what was
 * foreseen stands beside what came, and who looks ahead is refused a tenth as often as who does not.
 */
#include "base/clock.h"
#include "board/board-int.h"
#include "route/forecast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MINUTE   INT64_C(60000)
#define HOUR     (60 * MINUTE)
#define DAY      (24 * HOUR)
#define START    (INT64_C(20000) * DAY + 7 * HOUR + 123)
#define TICK     100
#define KEYS     8
#define UNDERWAY 256

/* ---- a board under our clock ---- */

static int64_t now_ms = START;
static char dir[64];
static struct roster *roster;
static struct board *board;

static int64_t
clock_now(void)
{
	return now_ms;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static void
open_board(void)
{
	static const struct board_options small = { .rows = 1024,
		.segments_max = 2,
		.leases = 256,
		.wall_ms = clock_now,
		.boot_ms = clock_now };
	const char *tmp = getenv("TMPDIR");
	struct err err = { 0 };

	now_ms = START;
	(void)snprintf(dir, sizeof dir, "%.40s/sluice-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(dir));
	roster = roster_join(dir, &err);
	board = roster == NULL ? NULL : board_open_sized(dir, roster, &small, &err);
	if (board == NULL)
		fail_msg("%s", err.text);
}

static void
close_board(void)
{
	board_close(board);
	roster_leave(roster);
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	forecast_switch(true);
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

static void
truth_advance(const struct script *s, struct true_key *k)
{
	for (int i = 0; i < 2; i++) {
		const struct quota *q = &s->quota[i];

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
	for (int i = 0; i < 2; i++)
		if (s->quota[i].capacity > 0 &&
			k->left[i] < (s->quota[i].unit == QUOTA_REQUESTS ? 1.0 : (double)tokens))
			return false;
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
		k->left[i] -= s->quota[i].unit == QUOTA_REQUESTS ? 1 : (double)tokens;
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
		const struct quota *q = &s->quota[i];
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
		if (s->quota[i].capacity > 0 && k->left[i] < 1)
			wait = s->quota[i].turns == TURNS_FIXED ? k->end[i] - now_ms : 1000;
	return wait < 1000 ? 1000 : wait;
}

/* ---- the pool ---- */

static struct snapshot_key key[KEYS];
static const struct upstream upstream;
static int64_t rests[KEYS], turns[KEYS];

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
	return board_target(board, board_target_part(key[k].id, "model", "m", 1));
}

/* Weighted by the word of its share, of those that neither rest nor are held. */
static int
choose(const struct script *s, uint32_t but)
{
	int best = -1;

	for (int k = 0; k < s->keys; k++) {
		struct board_target *whole = board_target(board, key[k].id), *part = part_of(k);

		if ((but >> k & 1) != 0 || rests[k] > now_ms || whole->forecast_hold_ms > now_ms ||
			part->forecast_hold_ms > now_ms)
			continue;
		if (best < 0 || turns[k] < turns[best])
			best = k;
	}
	if (best >= 0) {
		int64_t share = part_of(best)->forecast_share_ppm;

		turns[best] += share == 0 ? 1000 : 1000000000 / share;
	}
	return best;
}

static void
start_call(const struct script *s)
{
	int64_t tokens = s->tokens == 0 ? 0 : (int64_t)((double)s->tokens * (0.5 + chance()));
	struct call *call = NULL;
	uint32_t but = 0;

	for (int i = 0; i < UNDERWAY && call == NULL; i++)
		if (!underway[i].used)
			call = &underway[i];
	if (call == NULL)
		return;
	for (int k = choose(s, but); k >= 0; k = choose(s, but)) {
		but |= 1u << k;
		*call = (struct call){ .key = k,
			.tokens = tokens,
			.c = { .upstream = &upstream, .key = &key[k], .model = SPAN_LIT("m") } };
		if (!forecast_begin(board, &call->c))
			continue;
		call->used = true;
		call->refused = !truth_admit(s, &truth[k], tokens, true);
		truth_tell(s, &truth[k], &call->told);
		call->wait = call->refused && s->states_wait ? truth_wait(s, &truth[k]) : 0;
		call->due =
			now_ms +
			(call->refused ? 50 : s->took / 2 + (int64_t)(chance() * (double)s->took));
		call->told.age_ms = 0;
		if (!call->refused)
			return;
		/* the next key gets it at once, and this one is reported when its answer is there */
		for (int i = 0; i < UNDERWAY; i++)
			if (!underway[i].used) {
				call = &underway[i];
				break;
			}
	}
}

static void
end_calls(const struct script *s)
{
	for (int i = 0; i < UNDERWAY; i++) {
		struct call *call = &underway[i];
		struct route_outcome o = { .failure = FAILURE_NONE,
			.status = 200,
			.tokens = call->tokens,
			.output_tokens = call->tokens / 4,
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
			rests[call->key] = now_ms + (call->wait == 0 ? 30000 : call->wait);
		} else if (s->tells) {
			truth_advance(s, &truth[call->key]);
			truth_tell(s, &truth[call->key], &call->told);
		}
		forecast_see(board, &call->c, &o);
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

static void
begin_script(const struct script *s, bool on)
{
	open_board();
	forecast_switch(on);
	seed = 88172645463325252u;
	memset(truth, 0, sizeof truth);
	memset(underway, 0, sizeof underway);
	memset(rests, 0, sizeof rests);
	memset(turns, 0, sizeof turns);
	for (int k = 0; k < s->keys; k++) {
		key[k] = (struct snapshot_key){ .id = id_random(), .weight = 1 };
		(void)snprintf(key[k].quotas, sizeof key[k].quotas, "%s",
			s->given == NULL ? "" : s->given);
		for (int i = 0; i < 2; i++) {
			truth[k].left[i] = (double)s->quota[i].capacity;
			truth[k].end[i] = s->quota[i].turns == TURNS_BUCKET ? now_ms : 0;
		}
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
		forecast_clerk(board);
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
	printf("%-26s %9s %9s %9s %9s\n", "script", "at", "foreseen", "+- s", "true");
	for (size_t i = 0; i < sizeof alone / sizeof alone[0]; i++) {
		const struct script *s = &alone[i];
		struct foreseen seen[4000];
		int count = 0, right = 0, judged = 0, late = 0;
		double off = 0;
		int64_t each = s->lasts / 2000 + 1, next;

		begin_script(s, true);
		next = (s->from > 0 ? s->from : START) + 5 * MINUTE;
		while (now_ms < START + s->lasts && (truth[0].empty_at == 0 || now_ms < s->from)) {
			struct board_target *t;

			step(s);
			if (now_ms < s->from)
				truth[0].empty_at = 0;
			if (now_ms < next || count == 4000)
				continue;
			next += each;
			t = part_of(0)->forecast_dry_ms != 0 ? part_of(0)
							     : board_target(board, key[0].id);
			if (t->forecast_dry_ms > now_ms) {
				struct forecast_quota q[8];
				int n = forecast_quotas(board, key[0].id, q, 8);

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
				printf("%-26s %9.1f %9.1f %9.1f %9.1f%s\n", s->name,
					(double)(seen[n].at - START) / 1000,
					(double)(seen[n].dry - START) / 1000,
					(double)seen[n].spread / 1000,
					(double)(truth[0].empty_at - START) / 1000,
					good ? "" : "  off");
		}
		printf("%-26s %d of %d within the spread, %lld refused\n", s->name, right, judged,
			(long long)truth[0].refused);

		/* two standard deviations are 95 %; that they follow one another takes some of it */
		if (judged < 100 || right * 100 < judged * 88)
			fail_msg("%s: %d of %d", s->name, right, judged);
		/* when half of the time is over, a tenth of what is left is as far off as it may be */
		for (int n = 0; n < count; n++) {
			double left = (double)(truth[0].empty_at - seen[n].at);

			if (s->burst_on > 0 || left < 30000 ||
				(seen[n].at - START) * 2 < truth[0].empty_at - START)
				continue;
			off += fabs((double)(seen[n].dry - truth[0].empty_at)) / left;
			late++;
		}
		if (late > 0 && off / late > 0.1)
			fail_msg("%s: off by %.1f %% of the time left", s->name, off * 100 / late);
		assert_true(truth[0].refused <= (s->from > 0));
		close_board();
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
		.lasts = 2 * HOUR },
	{ .name = "buckets of requests and tokens",
		.quota = { { QUOTA_REQUESTS, TURNS_BUCKET, MINUTE, 60 },
			{ QUOTA_TOKENS, TURNS_BUCKET, MINUTE, 40000 } },
		.tells = true,
		.states_wait = true,
		.rate = 6,
		.tokens = 1000,
		.keys = 6,
		.took = 1500,
		.lasts = 2 * HOUR },
	{ .name = "ramp",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, MINUTE, 30 } },
		.tells = true,
		.states_wait = true,
		.rate = 0.5,
		.rate_after = 6,
		.keys = 6,
		.took = 1500,
		.lasts = 2 * HOUR },
	{ .name = "bursts",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, MINUTE, 30 } },
		.tells = true,
		.states_wait = true,
		.rate = 2.5,
		.burst_on = 20000,
		.burst_off = 70000,
		.keys = 6,
		.took = 1500,
		.lasts = 2 * HOUR },
	{ .name = "a day, no wait stated",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, DAY, 2000 } },
		.tells = true,
		.rate = 0.5,
		.keys = 4,
		.took = 1500,
		.lasts = 30 * HOUR },
	{ .name = "unknown, fixed minutes",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, MINUTE, 30 } },
		.rate = 4,
		.keys = 6,
		.took = 1500,
		.lasts = 4 * HOUR },
	{ .name = "unknown, sliding minutes",
		.quota = { { QUOTA_REQUESTS, TURNS_SLIDING, MINUTE, 30 } },
		.states_wait = true,
		.rate = 4,
		.keys = 6,
		.took = 1500,
		.lasts = 4 * HOUR },
	{ .name = "given, sliding minutes",
		.quota = { { QUOTA_REQUESTS, TURNS_SLIDING, MINUTE, 30 } },
		.given = "requests/minute=30",
		.rate = 4,
		.keys = 6,
		.took = 1500,
		.lasts = 2 * HOUR },
	{ .name = "another eats too",
		.quota = { { QUOTA_REQUESTS, TURNS_FIXED, MINUTE, 60 } },
		.tells = true,
		.states_wait = true,
		.rate = 5,
		.others = 0.3,
		.keys = 6,
		.took = 1500,
		.lasts = 2 * HOUR },
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
			close_board();
		}
		printf("%-32s %8lld %8lld %5.1f%%   %lld / %lld\n", s->name, (long long)refused[0],
			(long long)refused[1],
			100.0 * (double)(refused[0] - refused[1]) / (double)refused[0],
			(long long)served[0], (long long)served[1]);
		assert_true(refused[0] >= 100 && refused[1] * 10 <= refused[0]);
		/* and nothing to speak of is left unused for it */
		assert_true(served[1] * 100 >= served[0] * 90);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_foreseen_comes_about_then),
		cmocka_unit_test(who_looks_ahead_is_refused_a_tenth_as_often),
	};

	return cmocka_run_group_tests_name("route/forecast", tests, NULL, NULL);
}
