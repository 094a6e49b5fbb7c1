/* round_test.c - what is due: lists after seven days, checks after their interval, by one process each. */
#include "../admit/house.h"

#include "errand/errand.h"

/* Nobody listens there: that a call was made is seen by what is kept of its failure. */
static struct upstream
closed_upstream(const char *name)
{
	struct upstream u = house_upstream_draft(name);

	(void)snprintf(u.base_url, sizeof u.base_url, "http://127.0.0.1:1/v1");
	u.allow_private = true;
	u.auth = AUTH_NONE;
	return u;
}

static int64_t
tried_ms(struct house *h, const struct upstream *u)
{
	struct models_head head = { 0 };

	WORKS(store_models_get(h->store, u->head.id, &head, NULL, &err));
	return head.tried_ms;
}

static void
a_list_is_asked_for_again_after_seven_days(void **state)
{
	static const struct {
		const char *why;
		int64_t age_ms;
		bool is_due;
	} cases[] = {
		{ "of this minute", 60000, false },
		{ "of six days and 23 hours", MODELS_KEPT_MS - 3600 * 1000, false },
		{ "of seven days and a minute", MODELS_KEPT_MS + 60000, true },
	};
	struct house *h = *state;
	struct conf conf = { .connect_timeout_ms = 1000 };
	struct errand_desk *d = errand_open(h->store, h->board, &conf, &err);

	assert_non_null(d);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char name[8] = { 'u', (char)('0' + i), '\0' };
		struct upstream u = closed_upstream(name);
		struct models_head head = { .at_ms = board_now_ms(h->board) - cases[i].age_ms };

		u.discover = true;
		house_create(h, RECORD_UPSTREAM, &u);
		head.of = models_of(&u);
		WORKS(store_models_put(h->store, u.head.id, &head, SPAN_LIT("0 - - m\n"), &err));
		WORKS(errand_round(d, house_snapshot(h), &err));
		if ((tried_ms(h, &u) != 0) != cases[i].is_due)
			fail_msg("%s: %s", cases[i].why,
				cases[i].is_due ? "not asked for" : "asked for");
	}
	errand_close(d);
}

static void
a_list_that_fails_stays_and_is_left_alone_for_a_while(void **state)
{
	struct house *h = *state;
	struct conf conf = { .connect_timeout_ms = 1000 };
	struct errand_desk *d = errand_open(h->store, h->board, &conf, &err);
	struct upstream u = closed_upstream("a");
	struct models_head head = { .at_ms = board_now_ms(h->board) - MODELS_KEPT_MS - 60000 };
	struct bytes text = BYTES_LIMIT(MODELS_TEXT_MAX);
	int64_t first_ms;

	assert_non_null(d);
	u.discover = true;
	house_create(h, RECORD_UPSTREAM, &u);
	head.of = models_of(&u);
	WORKS(store_models_put(h->store, u.head.id, &head, SPAN_LIT("0 - - kept\n"), &err));
	WORKS(errand_round(d, house_snapshot(h), &err));
	first_ms = tried_ms(h, &u);
	assert_true(first_ms > 0);
	WORKS(errand_round(d, house_snapshot(h), &err));
	assert_int_equal(tried_ms(h, &u), first_ms);
	WORKS(store_models_get(h->store, u.head.id, &head, &text, &err));
	assert_true(span_is(bytes_span(&text), "0 - - kept\n"));
	assert_true(head.why[0] != '\0');
	bytes_free(&text);
	errand_close(d);
}

static void
a_check_is_made_once_an_interval(void **state)
{
	struct house *h = *state;
	struct conf conf = { .connect_timeout_ms = 1000 };
	struct errand_desk *d = errand_open(h->store, h->board, &conf, &err);
	struct upstream u = closed_upstream("a");
	struct health_history history;

	assert_non_null(d);
	(void)snprintf(u.health_path, sizeof u.health_path, "/models");
	u.health_interval_s = 3600;
	house_create(h, RECORD_UPSTREAM, &u);
	for (int i = 0; i < 3; i++)
		WORKS(errand_round(d, house_snapshot(h), &err));
	assert_int_equal(health_read(h->store, u.head.id, &history, &err), 1);
	assert_int_equal(history.count, 1);
	assert_int_equal(history.check[0].ok, 0);
	assert_int_equal(history.check[0].status, 0);
	errand_close(d);
}

static void
no_errand_goes_with_a_key_that_rests(void **state)
{
	struct house *h = *state;
	struct upstream u = { .head.id = id_random(), .auth = AUTH_BEARER };
	struct snapshot_key keys[2] = { { .id = id_random(), .upstream = u.head.id },
		{ .id = id_random(), .upstream = u.head.id } };
	struct snapshot p = { .keys = keys, .key_count = 2 };
	int64_t now_ms = board_now_ms(h->board);

	assert_ptr_equal(errand_key(h->board, &p, &u), &keys[0]);
	board_target(h->board, keys[0].id)->rest_until_ms = now_ms + 60000;
	assert_ptr_equal(errand_key(h->board, &p, &u), &keys[1]);
	board_target(h->board, keys[1].id)->rest_until_ms = now_ms - 1; /* due: a request's */
	assert_null(errand_key(h->board, &p, &u));
	board_target(h->board, keys[0].id)->rest_until_ms = 0;
	assert_ptr_equal(errand_key(h->board, &p, &u), &keys[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_list_is_asked_for_again_after_seven_days),
		TEST(a_list_that_fails_stays_and_is_left_alone_for_a_while),
		TEST(a_check_is_made_once_an_interval),
		TEST(no_errand_goes_with_a_key_that_rests),
	};

	return cmocka_run_group_tests_name("errand/round", tests, NULL, NULL);
}
