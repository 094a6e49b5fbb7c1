/* record_test.c - a decision comes back as it was, what finds no room is left out in order and
 * counted, and any bytes can be read without harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hash.h"
#include "route/record.h"

#include <stdlib.h>
#include <string.h>

#define MEMBERS (ROUTE_ATTEMPTS_MAX + ROUTE_SHOWN_MAX)

static struct id
id_of(int n)
{
	struct id id;

	memset(id.b, n, sizeof id.b);
	return id;
}

/* The usual request: one upstream, one key, answered. */
static struct route_record
usual(void)
{
	struct route_record r = { .strategy = STRATEGY_WEIGHTED,
		.considered = 1,
		.member_count = 1,
		.attempt_count = 1 };

	r.member[0] = (struct route_member){
		.upstream = id_of(1), .key = id_of(2), .share_permille = 1000
	};
	r.attempt[0] = (struct route_attempt){ .status = 200, .began_ms = 3, .took_ms = 1841 };
	return r;
}

static void
same_after(const struct route_record *r, size_t most)
{
	uint8_t bytes[DECISION_BYTES];
	struct route_record back;
	ptrdiff_t len = route_record_encode(r, bytes, sizeof bytes);

	assert_in_range(len, 1, most);
	assert_int_equal(route_record_decode(bytes, (size_t)len, &back), 0);
	assert_memory_equal(&back, r, sizeof back);
}

static void
usual_takes_few_bytes(void **state)
{
	struct route_record r = usual();

	(void)state;
	same_after(&r, 55);
	r.route = id_of(3);
	same_after(&r, 71);
	r = (struct route_record){ 0 }; /* refused before anybody was looked at */
	same_after(&r, 8);
}

static void
all_of_it_comes_back(void **state)
{
	struct route_record r = { .route = id_of(1),
		.strategy = STRATEGY_OBJECTIVE,
		.affinity = 3,
		.stages_on = { ON_START, ON_ERROR, ON_CONTEXT },
		.policy_count = 4,
		.policy = { id_of(2), id_of(3), id_of(4), id_of(5) },
		.considered = 1000,
		.member_left = 7,
		.member_count = 4,
		.attempt_count = 3,
		.queued_ms = 60000,
		.rules = UINT32_C(1) << 31 | 5 };

	(void)state;
	r.out[REASON_RESTS] = 900;
	r.out[REASON_LIMIT] = 1;
	r.out[REASON_POLICY] = 65535;
	for (int i = 0; i < r.member_count; i++)
		r.member[i] = (struct route_member){ .upstream = id_of(10 + i / 2),
			.key = i == 3 ? ID_NONE : id_of(20 + i),
			.reason = i < 2 ? REASON_CHOSEN : REASON_RESTS,
			.stage = (uint8_t)(i / 2),
			.until_ms = i < 2 ? 0 : 1800000000000 + i * 1000,
			.score = 200,
			.cost = (uint8_t)(i * 3),
			.reliability = 255,
			.fairness = 1,
			.quality = 2,
			.latency = 3,
			.forecast = 4,
			.share_permille = (uint16_t)(i * 100) };
	for (int i = 0; i < r.attempt_count; i++)
		r.attempt[i] = (struct route_attempt){ .member = (uint8_t)(i % 2),
			.failure = FAILURE_TRANSIENT,
			.is_probe = i == 1,
			.status = (uint16_t)(i * 200 + 100),
			.began_ms = (uint32_t)i * 100000,
			.took_ms = UINT32_MAX };
	same_after(&r, 300);
}

/* The most that can stand in one, with numbers as long as they get. */
static struct route_record
fullest(void)
{
	struct route_record r;

	memset(&r, 0xff, sizeof r);
	r.policy_count = 4;
	r.member_count = MEMBERS;
	r.attempt_count = ROUTE_ATTEMPTS_MAX;
	r.member_left = 0;
	r.route = id_of(99);
	for (int i = 0; i < 4; i++)
		r.policy[i] = id_of(100 + i);
	for (int i = 0; i < MEMBERS; i++) {
		r.member[i].upstream = id_of(1 + i);
		r.member[i].key = id_of(50 + i);
		r.member[i].until_ms = i == 0 ? 1 : INT64_MAX;
		r.member[i].reason = i < ROUTE_ATTEMPTS_MAX ? REASON_CHOSEN : REASON_LIMIT;
	}
	for (int i = 0; i < ROUTE_ATTEMPTS_MAX; i++) {
		r.attempt[i].is_probe = true;
		r.attempt[i].failure = 127;
		r.attempt[i].member = (uint8_t)i;
	}
	return r;
}

static void
the_fullest_fits(void **state)
{
	struct route_record r = fullest(), back;
	uint8_t bytes[DECISION_BYTES];
	ptrdiff_t len = route_record_encode(&r, bytes, sizeof bytes);

	(void)state;
	assert_in_range(len, 1, DECISION_BYTES);
	assert_int_equal(route_record_decode(bytes, (size_t)len, &back), 0);
	assert_int_equal(back.attempt_count, ROUTE_ATTEMPTS_MAX);
	assert_memory_equal(back.out, r.out, sizeof r.out);
	assert_int_equal(back.member_count + back.member_left, MEMBERS);
	for (int i = 0; i < back.attempt_count; i++) {
		assert_int_equal(back.attempt[i].took_ms, UINT32_MAX);
		assert_int_equal(
			back.attempt[i].member, i < back.member_count ? i : ROUTE_MEMBER_LEFT);
	}
	for (size_t room = 0; room < 300; room++)
		assert_int_equal(route_record_encode(&r, bytes, room), -1);
}

/* Of 24 keys of one upstream 21 find room: the tried ones though they stand last. */
static void
left_out_in_order(void **state)
{
	struct route_record r = { .considered = MEMBERS, .member_count = MEMBERS }, back;
	uint8_t bytes[DECISION_BYTES];
	ptrdiff_t len;
	int next = 0, others = 0;

	(void)state;
	for (int i = 0; i < MEMBERS; i++)
		r.member[i] = (struct route_member){ .upstream = id_of(i),
			.key = id_of(100 + i),
			.reason = i % 2 ? REASON_RESTS : REASON_NEXT };
	r.attempt_count = 2;
	r.attempt[0] = (struct route_attempt){ .member = MEMBERS - 1, .status = 500 };
	r.attempt[1] = (struct route_attempt){ .member = MEMBERS - 3, .status = 200 };
	len = route_record_encode(&r, bytes, sizeof bytes);
	assert_in_range(len, 440, DECISION_BYTES);
	assert_int_equal(route_record_decode(bytes, (size_t)len, &back), 0);
	assert_int_equal(back.member_count, 13); /* 35 bytes each, the first without upstream */
	assert_int_equal(back.member_left, MEMBERS - 13);
	for (int i = 0; i < back.member_count; i++) {
		next += back.member[i].reason == REASON_NEXT;
		others += back.member[i].reason == REASON_RESTS;
	}
	assert_int_equal(next, 11);
	assert_int_equal(others, 2); /* those tried, by the attempts */
	assert_true(id_equal(back.member[back.attempt[0].member].key, id_of(100 + MEMBERS - 1)));
	assert_true(id_equal(back.member[back.attempt[1].member].key, id_of(100 + MEMBERS - 3)));
	assert_true(id_equal(back.member[0].key, id_of(100)));
}

static void
the_usual_tells_of_few_others(void **state)
{
	struct route_record r = usual();

	(void)state;
	r.member_count = 6;
	for (int i = 0; i < 6; i++)
		r.member[i] = (struct route_member){ .upstream = id_of(1),
			.key = id_of(10 + i),
			.reason = i == 3 ? REASON_RESTS : REASON_NEXT };
	r.attempt[0].member = 5;
	route_record_shorten(&r, 2);
	assert_int_equal(r.member_count, 4);
	assert_int_equal(r.member_left, 2);
	assert_true(id_equal(r.member[1].key, id_of(11)));
	assert_int_equal(r.member[2].reason, REASON_RESTS);
	assert_int_equal(r.attempt[0].member, 3);
	assert_true(id_equal(r.member[3].key, id_of(15)));
	route_record_shorten(&r, 9);
	assert_int_equal(r.member_count, 4);
}

static void
any_bytes_do_no_harm(void **state)
{
	struct route_record r = fullest(), back, again;
	uint8_t good[DECISION_BYTES], bytes[DECISION_BYTES], out[4096];
	size_t len = (size_t)route_record_encode(&r, good, sizeof good), read = 0;
	unsigned int seed = 1;

	(void)state;
	assert_int_equal(route_record_decode(NULL, 0, &back), -1);
	assert_int_equal(route_record_decode((const uint8_t *)"\2\0\0", 3, &back), -1);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(route_record_decode(good, cut, &back), -1);
	for (int i = 0; i < 200000; i++) {
		size_t size = (size_t)rand_r(&seed) % (len + 1);
		uint8_t *exact;

		memcpy(bytes, good, len);
		for (int n = rand_r(&seed) % 6; n >= 0; n--)
			bytes[(size_t)rand_r(&seed) % len] = (uint8_t)rand_r(&seed);
		if (i % 2) { /* mostly short numbers, so that much can be read */
			for (size_t b = 1; b < size; b++)
				bytes[b] = (uint8_t)(rand_r(&seed) % (i % 4 == 1 ? 6 : 40));
			bytes[0] = 1;
		}
		exact = malloc(size + 1); /* reading behind it shows under ASan */
		assert_non_null(exact);
		memcpy(exact, bytes, size);
		if (route_record_decode(exact, size, &back) == 0) {
			ptrdiff_t n = route_record_encode(&back, out, sizeof out);

			read++;
			assert_in_range(n, 1, size);
			assert_int_equal(route_record_decode(out, (size_t)n, &again), 0);
			assert_memory_equal(&back, &again, sizeof back);
		}
		free(exact);
	}
	assert_in_range(read, 1000, 200000);
}

static void
reasons_have_names(void **state)
{
	(void)state;
	for (int i = 0; i < ROUTE__REASONS; i++)
		assert_non_null(route_reason_name((enum route_reason)i));
	assert_string_equal(route_reason_name(REASON_FORECAST), "forecast");
	assert_string_equal(route_reason_name(ROUTE__REASONS), "?");
	assert_string_equal(route_affinity_name(4), "away");
	assert_string_equal(route_on_name(200), "?");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usual_takes_few_bytes),
		cmocka_unit_test(all_of_it_comes_back),
		cmocka_unit_test(the_fullest_fits),
		cmocka_unit_test(left_out_in_order),
		cmocka_unit_test(the_usual_tells_of_few_others),
		cmocka_unit_test(any_bytes_do_no_harm),
		cmocka_unit_test(reasons_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
