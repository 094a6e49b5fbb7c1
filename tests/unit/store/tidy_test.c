/* tidy_test.c - records that have had their time go, a little at each call, and no others. */
#include "store_fixture.h"

#define DAY_MS 86400000LL

static const struct store_change change = { .actor = "admin", .action = "test", .address = "" };

static struct id
make_token(struct store *s)
{
	struct token t;

	record_init(RECORD_TOKEN, &t);
	hash_random(t.sha256, sizeof t.sha256);
	WORKS(store_create(s, RECORD_TOKEN, &t, &change, &err));
	return t.head.id;
}

/* scope: NULL, "each" or a token's id. */
static struct id
make_limit(struct store *s, const char *scope)
{
	struct limit l;

	record_init(RECORD_LIMIT, &l);
	if (scope != NULL)
		(void)snprintf(l.scope[DIMENSION_TOKEN], MODEL_BYTES, "%s", scope);
	WORKS(store_create(s, RECORD_LIMIT, &l, &change, &err));
	return l.head.id;
}

static struct id
make_grant(struct store *s, struct id limit, int64_t until_ms)
{
	struct grant g;

	record_init(RECORD_GRANT, &g);
	g.limit = limit;
	g.until_ms = until_ms;
	WORKS(store_create(s, RECORD_GRANT, &g, &change, &err));
	return g.head.id;
}

static bool
is_there(struct store *s, enum record_kind kind, struct id id)
{
	static union {
		struct limit limit;
		struct grant grant;
	} room;
	int rc = store_get(s, kind, id, &room, &err);

	assert_true(rc >= 0);
	return rc == 1;
}

static bool
first_entry(void *ctx, const struct audit_entry *e)
{
	*(struct audit_entry *)ctx = *e;
	return false;
}

static void
limits_of_a_token_go_with_it_and_no_others(void **state)
{
	struct fixture *f = *state;
	struct id token = make_token(f->s), other = make_token(f->s), its, others, each, all, grant;
	struct audit_entry e = { 0 };
	char text[ID_TEXT_BYTES];

	id_text("tok_", token, text);
	its = make_limit(f->s, text);
	grant = make_grant(f->s, its, 0);
	id_text("tok_", other, text);
	others = make_limit(f->s, text);
	each = make_limit(f->s, "each");
	all = make_limit(f->s, NULL);
	WORKS(store_tidy(f->s, &err));
	assert_true(is_there(f->s, RECORD_LIMIT, its));
	assert_true(is_there(f->s, RECORD_GRANT, grant));

	WORKS(store_delete(f->s, RECORD_TOKEN, token, &change, &err));
	WORKS(store_tidy(f->s, &err));
	assert_false(is_there(f->s, RECORD_LIMIT, its));
	assert_false(is_there(f->s, RECORD_GRANT, grant)); /* of a limit that is gone */
	assert_true(is_there(f->s, RECORD_LIMIT, others));
	assert_true(is_there(f->s, RECORD_LIMIT, each));
	assert_true(is_there(f->s, RECORD_LIMIT, all));
	WORKS(store_audit_each(f->s, 0, first_entry, &e, &err));
	assert_string_equal(e.actor, "sluice");
	assert_string_equal(e.action, "grant.cleanup");
}

static void
grants_go_a_month_after_their_end(void **state)
{
	struct fixture *f = *state;
	struct id limit = make_limit(f->s, NULL);
	int64_t now = clock_wall_ms();
	struct id ever = make_grant(f->s, limit, 0), ended = make_grant(f->s, limit, now - DAY_MS);
	struct id old = make_grant(f->s, limit, now - 31 * DAY_MS);

	WORKS(store_tidy(f->s, &err));
	assert_true(is_there(f->s, RECORD_GRANT, ever));
	assert_true(is_there(f->s, RECORD_GRANT, ended));
	assert_false(is_there(f->s, RECORD_GRANT, old));
}

static bool
count_one(void *ctx, const void *record)
{
	(void)record;
	++*(int *)ctx;
	return true;
}

static void
one_call_takes_a_little_and_many_take_all(void **state)
{
	enum { MANY = 6000, OLD_FROM = 5500 };
	struct fixture *f = *state;
	struct id limit = make_limit(f->s, NULL);
	struct grant *all = calloc(MANY, sizeof *all);
	int64_t now = clock_wall_ms();
	int left = 0, before = MANY;

	for (int i = 0; i < MANY; i++) { /* in order of id; the old ones last */
		record_init(RECORD_GRANT, &all[i]);
		all[i].head.id.b[0] = 1;
		all[i].head.id.b[4] = (uint8_t)(i >> 8);
		all[i].head.id.b[5] = (uint8_t)i;
		all[i].limit = limit;
		all[i].until_ms = i < OLD_FROM ? 0 : now - 40 * DAY_MS;
	}
	WORKS(store_create_many(f->s, RECORD_GRANT, all, MANY, NULL, &err));
	free(all);
	for (int i = 0; i < 12 && left != OLD_FROM; i++) {
		WORKS(store_tidy(f->s, &err));
		left = 0;
		WORKS(store_each(f->s, RECORD_GRANT, ID_NONE, count_one, &left, &err));
		assert_in_range(before - left, 0, 64);
		before = left;
	}
	assert_int_equal(left, OLD_FROM);
}

int
main(void)
{
#define IN_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		IN_STORE(limits_of_a_token_go_with_it_and_no_others),
		IN_STORE(grants_go_a_month_after_their_end),
		IN_STORE(one_call_takes_a_little_and_many_take_all),
	};

	log_unbuffered();
	return cmocka_run_group_tests_name("store/tidy", tests, NULL, NULL);
}
