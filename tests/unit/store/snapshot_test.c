/* snapshot_test.c - what each request reads is complete, without what is switched off, and lives as
 * long as somebody holds it. */
#include "store_fixture.h"

#include "store/snapshot.h"

static const struct store_change by_test = { .actor = "test", .action = "test", .address = "" };

static void
create(struct fixture *f, enum record_kind kind, void *record)
{
	struct record *head = record;

	if (id_is_none(head->id))
		head->id = id_random();
	WORKS(store_create(f->s, kind, record, &by_test, &err));
}

static struct upstream
new_upstream(struct fixture *f, const char *name, bool active)
{
	struct upstream u;

	record_init(RECORD_UPSTREAM, &u);
	(void)snprintf(u.name, sizeof u.name, "%s", name);
	(void)snprintf(u.base_url, sizeof u.base_url, "https://%s.example/v1", name);
	u.is_active = active;
	create(f, RECORD_UPSTREAM, &u);
	return u;
}

static struct key
new_key(struct fixture *f, struct id upstream, const char *secret, bool enabled)
{
	struct key k;

	record_init(RECORD_KEY, &k);
	k.head.id = id_random();
	k.upstream = upstream;
	k.is_enabled = enabled;
	WORKS(store_seal(f->s, k.head.id, span_of(secret), &k.secret, &err));
	create(f, RECORD_KEY, &k);
	return k;
}

static struct snapshot *
load(struct fixture *f)
{
	struct snapshot *p = snapshot_load(f->s, 7, &err);

	if (p == NULL)
		fail_msg("%s", err.text);
	return p;
}

static void
an_empty_store_is_a_snapshot_too(void **state)
{
	struct snapshot *p = load(*state);
	size_t count = 1;

	assert_int_equal(p->generation, 7);
	assert_int_equal(p->upstream_count, 0);
	assert_int_equal(p->key_count, 0);
	assert_int_equal(p->price_count, 0);
	assert_int_equal(p->limit_count, 0);
	assert_null(snapshot_upstream(p, id_random()));
	assert_null(snapshot_upstream_named(p, span_of("x")));
	assert_null(snapshot_price_named(p, span_of("m"), &count));
	assert_int_equal(count, 0);
	snapshot_drop(p);
	snapshot_drop(NULL);
}

static const struct snapshot_key *
find_key(const struct snapshot *p, struct id id)
{
	for (size_t i = 0; i < p->key_count; i++)
		if (id_equal(p->keys[i].id, id))
			return &p->keys[i];
	return NULL;
}

static void
what_is_switched_off_is_left_out(void **state)
{
	struct fixture *f = *state;
	struct upstream on = new_upstream(f, "on", true), off = new_upstream(f, "off", false);
	struct key good = new_key(f, on.head.id, "sk-good", true);
	struct key disabled = new_key(f, on.head.id, "sk-disabled", false);
	struct key of_off = new_key(f, off.head.id, "sk-of-off", true);
	struct key of_none = new_key(f, id_random(), "sk-of-none", true);
	struct limit active, idle;
	struct snapshot *p;

	record_init(RECORD_LIMIT, &active);
	record_init(RECORD_LIMIT, &idle);
	active.cap = idle.cap = 1;
	idle.is_active = false;
	create(f, RECORD_LIMIT, &active);
	create(f, RECORD_LIMIT, &idle);
	p = load(f);
	assert_int_equal(p->upstream_count, 1);
	assert_int_equal(p->key_count, 1);
	assert_int_equal(p->limit_count, 1);
	assert_true(id_equal(p->limits[0].head.id, active.head.id));
	assert_non_null(snapshot_upstream(p, on.head.id));
	assert_null(snapshot_upstream(p, off.head.id));
	assert_ptr_equal(snapshot_upstream_named(p, span_of("ON")), &p->upstreams[0]);
	assert_null(snapshot_upstream_named(p, span_of("off")));
	assert_non_null(find_key(p, good.head.id));
	assert_null(find_key(p, disabled.head.id));
	assert_null(find_key(p, of_off.head.id));
	assert_null(find_key(p, of_none.head.id));
	snapshot_drop(p);
}

#define KEYS 50

static void
keys_stand_in_clear_by_upstream(void **state)
{
	struct fixture *f = *state;
	struct upstream u[2] = { new_upstream(f, "a", true), new_upstream(f, "b", true) };
	struct key key[KEYS];
	char secret[300];
	struct snapshot *p;
	int changes = 0;

	for (int i = 0; i < KEYS; i++) {
		(void)snprintf(secret, sizeof secret, "sk-%d-%0*d", i, 1 + i * 5, i);
		key[i] = new_key(f, u[i % 2].head.id, secret, true);
	}
	p = load(f);
	assert_int_equal(p->key_count, KEYS);
	for (int i = 0; i < KEYS; i++) {
		const struct snapshot_key *k = find_key(p, key[i].head.id);

		(void)snprintf(secret, sizeof secret, "sk-%d-%0*d", i, 1 + i * 5, i);
		assert_non_null(k);
		assert_string_equal(k->secret, secret);
		assert_true(id_equal(k->upstream, u[i % 2].head.id));
		assert_int_equal(k->weight, 1);
		assert_true(k->secret >= p->secrets &&
			    k->secret + strlen(secret) < p->secrets + p->secrets_bytes);
	}
	for (int i = 1; i < KEYS; i++)
		changes += !id_equal(p->keys[i - 1].upstream, p->keys[i].upstream);
	assert_int_equal(changes, 1);
	snapshot_drop(p);
}

/* Copied into a record with another id: whether the rest is served or nothing, not by that key. */
static void
a_key_sealed_for_another_is_never_used(void **state)
{
	struct fixture *f = *state;
	struct upstream u = new_upstream(f, "a", true);
	struct key k = new_key(f, u.head.id, "sk-1", true), stolen;
	struct snapshot *p;

	record_init(RECORD_KEY, &stolen);
	stolen.upstream = u.head.id;
	stolen.secret = k.secret;
	create(f, RECORD_KEY, &stolen);
	err = (struct err){ 0 };
	p = snapshot_load(f->s, 1, &err);
	if (p == NULL) {
		assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
		assert_null(strstr(err.text, "sk-1"));
	} else {
		assert_null(find_key(p, stolen.head.id));
	}
	snapshot_drop(p);
}

static void
new_price(struct fixture *f, const char *model, int64_t from_ms)
{
	struct price r;

	record_init(RECORD_PRICE, &r);
	(void)snprintf(r.model, sizeof r.model, "%s", model);
	r.from_ms = from_ms;
	create(f, RECORD_PRICE, &r);
}

#define NAMES 300

static void
prices_are_found_by_name_and_patterns_stand_behind_them(void **state)
{
	static const char *const patterns[] = { "gpt-4o-????", "gpt-4*", "gpt-*", "m?", "*" };
	struct fixture *f = *state;
	const struct price *row;
	struct snapshot *p;
	char name[MODEL_BYTES];
	size_t count;

	for (size_t i = 0; i < 5; i++)
		new_price(f, patterns[(i * 2) % 5], 0);
	new_price(f, patterns[1], 7);
	for (int i = 0; i < NAMES; i++) {
		(void)snprintf(name, sizeof name, "model-%d", i);
		new_price(f, name, 0);
		if (i % 3 == 0)
			new_price(f, name, 2000);
		if (i % 3 == 0)
			new_price(f, name, 1000);
	}
	p = load(f);
	assert_int_equal(p->price_count, 6 + NAMES + 2 * NAMES / 3);
	assert_int_equal(p->price_named, p->price_count - 6);
	assert_false(p->prices_of_upstreams);
	for (int i = 0; i < NAMES; i++) {
		(void)snprintf(name, sizeof name, "model-%d", i);
		row = snapshot_price_named(p, span_of(name), &count);
		assert_non_null(row);
		assert_int_equal(count, i % 3 == 0 ? 3 : 1);
		for (size_t k = 0; k < count; k++) {
			assert_string_equal(row[k].model, name);
			assert_int_equal(row[k].from_ms, 1000 * (count - 1 - k));
		}
	}
	assert_int_equal(p->price_run_count, 5);
	for (size_t i = 0; i < 5; i++) {
		const struct price_run *run = &p->price_runs[i];

		assert_int_equal(run->count, i == 1 ? 2 : 1);
		assert_string_equal(p->prices[run->first].model, patterns[i]);
		assert_int_equal(run->head_len, strcspn(patterns[i], "*?"));
		assert_memory_equal(run->head, patterns[i], run->head_len);
	}
	assert_null(snapshot_price_named(p, span_of("model-"), &count));
	assert_null(snapshot_price_named(p, span_of("gpt-*"), &count));
	assert_null(snapshot_price_named(p, SPAN_NONE, &count));
	snapshot_drop(p);
}

static void
a_snapshot_stays_as_it_was_while_somebody_holds_it(void **state)
{
	struct fixture *f = *state;
	struct upstream u = new_upstream(f, "a", true);
	struct key k = new_key(f, u.head.id, "sk-1", true);
	struct snapshot *old = load(f), *held = snapshot_hold(old), *now;

	u.is_active = false;
	WORKS(store_update(f->s, RECORD_UPSTREAM, &u, 0, &by_test, &err));
	now = load(f);
	assert_int_equal(now->upstream_count, 0);
	assert_int_equal(now->key_count, 0);
	snapshot_drop(old);
	assert_int_equal(held->upstream_count, 1);
	assert_string_equal(find_key(held, k.head.id)->secret, "sk-1");
	snapshot_drop(held);
	snapshot_drop(now);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_empty_store_is_a_snapshot_too),
		TEST(what_is_switched_off_is_left_out),
		TEST(keys_stand_in_clear_by_upstream),
		TEST(a_key_sealed_for_another_is_never_used),
		TEST(prices_are_found_by_name_and_patterns_stand_behind_them),
		TEST(a_snapshot_stays_as_it_was_while_somebody_holds_it),
	};

	return cmocka_run_group_tests_name("store/snapshot", tests, NULL, NULL);
}
