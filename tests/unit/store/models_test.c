/*
 * models_test.c - lists of models: any length comes back as it was, a reader never sees half of one, and
 * a snapshot finds each model of the right upstream.
 */
#include "store_fixture.h"

#include "store/models.h"
#include "store/snapshot.h"

static const struct store_change by_test = { .actor = "test", .action = "test", .address = "" };

static struct upstream
new_upstream(struct fixture *f, const char *name, bool discover)
{
	struct upstream u;

	record_init(RECORD_UPSTREAM, &u);
	u.head.id = id_random();
	(void)snprintf(u.name, sizeof u.name, "%s", name);
	(void)snprintf(u.base_url, sizeof u.base_url, "https://%s.example/v1", name);
	u.discover = discover;
	WORKS(store_create(f->s, RECORD_UPSTREAM, &u, &by_test, &err));
	return u;
}

/* Names as long as names get. */
static void
write_list(struct bytes *text, uint32_t count, const char *who)
{
	for (uint32_t i = 0; i < count; i++)
		(void)bytes_printf(
			text, "%u %s text->text %s-%0110u\n", i, i % 2 == 0 ? "f" : "-", who, i);
}

static void
put(struct fixture *f, const struct upstream *u, uint32_t count, const char *who)
{
	struct models_head head = { .at_ms = 1000, .of = models_of(u), .count = count };
	struct bytes text = BYTES_LIMIT(MODELS_TEXT_MAX);

	write_list(&text, count, who);
	assert_false(text.failed);
	WORKS(store_models_put(f->s, u->head.id, &head, bytes_span(&text), &err));
	bytes_free(&text);
}

static bool
count_one(void *ctx, const char *name, struct span value)
{
	(void)name;
	(void)value;
	++*(int *)ctx;
	return true;
}

static void
a_list_of_any_length_comes_back(void **state)
{
	static const uint32_t counts[] = { 0, 1, 24, 500, 3 };
	struct fixture *f = *state;
	struct upstream u = new_upstream(f, "one", true);
	struct models_head head;
	int values;

	assert_int_equal(store_models_get(f->s, u.head.id, &head, NULL, &err), 0);
	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		struct bytes text = BYTES_LIMIT(MODELS_TEXT_MAX),
			     wanted = BYTES_LIMIT(MODELS_TEXT_MAX);

		put(f, &u, counts[i], "m");
		write_list(&wanted, counts[i], "m");
		assert_int_equal(store_models_get(f->s, u.head.id, &head, &text, &err), 1);
		assert_int_equal(head.count, counts[i]);
		assert_int_equal(text.len, wanted.len);
		if (text.len > 0)
			assert_memory_equal(text.at, wanted.at, text.len);
		bytes_free(&text);
		bytes_free(&wanted);
	}
	/* the pieces of the longer list are gone: a head and one */
	values = 0;
	WORKS(store_value_each(f->s, "cache.models.", count_one, &values, &err));
	assert_int_equal(values, 2);
	WORKS(store_models_forget(f->s, u.head.id, &err));
	values = 0;
	WORKS(store_value_each(f->s, "cache.models.", count_one, &values, &err));
	assert_int_equal(values, 0);
}

/* As a writer that died in the middle leaves it. */
static void
half_a_list_is_none(void **state)
{
	struct fixture *f = *state;
	struct upstream u = new_upstream(f, "one", true);
	struct bytes text = BYTES_LIMIT(MODELS_TEXT_MAX);
	struct models_head head;
	char id[ID_TEXT_BYTES], name[96];
	struct snapshot *p;

	put(f, &u, 100, "m");
	id_text("up_", u.head.id, id);
	(void)snprintf(name, sizeof name, "cache.models.%s.2", id);
	WORKS(store_value_put(f->s, name, "another list", 12, &err));
	assert_int_equal(store_models_get(f->s, u.head.id, &head, &text, &err), 1);
	assert_int_equal(head.at_ms, 0);
	assert_int_equal(head.count, 0);
	assert_int_equal(text.len, 0);
	bytes_free(&text);
	p = snapshot_load(f->s, 1, &err);
	assert_non_null(p);
	assert_int_equal(snapshot_list_of(p, u.head.id)->at_ms, 0);
	snapshot_drop(p);
}

static void
a_snapshot_finds_models_by_upstream(void **state)
{
	struct fixture *f = *state;
	struct upstream a = new_upstream(f, "a", true), b = new_upstream(f, "b", true),
			off = new_upstream(f, "off", false);
	const struct snapshot_model *m;
	struct snapshot *p;
	char name[MODEL_BYTES];

	put(f, &a, 300, "a");
	put(f, &b, 2, "b");
	put(f, &off, 2, "off");
	p = snapshot_load(f->s, 1, &err);
	assert_non_null(p);
	assert_int_equal(p->discovered_count, 302);
	assert_int_equal(snapshot_list_of(p, a.head.id)->count, 300);
	assert_int_equal(snapshot_list_of(p, off.head.id)->at_ms, 0);
	for (unsigned i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof name, "a-%0110u", i);
		m = snapshot_discovered(p, a.head.id, span_of(name));
		assert_non_null(m);
		assert_int_equal(m->context, i);
		assert_int_equal(m->is_free, i % 2 == 0);
		assert_true(span_is(m->modality, "text->text"));
		assert_null(snapshot_discovered(p, b.head.id, span_of(name)));
	}
	assert_null(snapshot_discovered(p, a.head.id, span_of("a")));
	assert_null(snapshot_discovered(p, id_random(), span_of(name)));
	snapshot_drop(p);
	/* at another address are other models */
	(void)strcpy(a.base_url, "https://elsewhere.example/v1");
	WORKS(store_update(f->s, RECORD_UPSTREAM, &a, 0, &by_test, &err));
	p = snapshot_load(f->s, 2, &err);
	assert_non_null(p);
	assert_int_equal(snapshot_list_of(p, a.head.id)->at_ms, 0);
	assert_null(snapshot_discovered(p, a.head.id, span_of(name)));
	snapshot_drop(p);
}

static void
broken_lines_are_passed_over(void **state)
{
	struct span text = SPAN_LIT("\n1\n1 f\n1 f -\nx f - bad\n12 - - two words\n0 f a->b last");
	struct model_line m;

	(void)state;
	assert_true(models_next(&text, &m));
	assert_true(span_is(m.name, "two words"));
	assert_int_equal(m.context, 12);
	assert_false(m.is_free);
	assert_int_equal(m.modality.len, 0);
	assert_true(models_next(&text, &m));
	assert_true(span_is(m.name, "last"));
	assert_true(m.is_free);
	assert_false(models_next(&text, &m));
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_list_of_any_length_comes_back),
		TEST(half_a_list_is_none),
		TEST(a_snapshot_finds_models_by_upstream),
		cmocka_unit_test(broken_lines_are_passed_over),
	};

	return cmocka_run_group_tests_name("store/models", tests, NULL, NULL);
}
