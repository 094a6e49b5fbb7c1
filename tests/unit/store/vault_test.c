/* vault_test.c - what is kept is found again by its project alone, for its time, below its ceiling. */
#include "store_fixture.h"

#include "base/hash.h"
#include "store/care-int.h"
#include "store/vault.h"
#include <sys/wait.h>

#define NOW  1700000000000LL
#define HOUR 3600000LL
#define CAP  (32LL << 20)
#define PER_ROW                                                                                    \
	58 /* what a row takes beside its record: its key, its place in the list, its head */

static const struct id ours = { { 1 } }, theirs = { { 2 } };
static char room[VAULT_RECORD_MAX];

static struct vault_record
record_of(const char *key, struct span record)
{
	struct vault_record r = { .record = record };

	(void)snprintf(r.key, sizeof r.key, "%s", key);
	return r;
}

static void
put_at(struct store *s, struct id project, const char *key, struct span record, int64_t now_ms,
	int64_t cap)
{
	struct vault_record r = record_of(key, record);

	WORKS(store_vault_put(s, project, &r, 1, now_ms, now_ms + HOUR, cap, &err));
}

static void
put(struct store *s, struct id project, const char *key, const char *record)
{
	put_at(s, project, key, span_of(record), NOW, CAP);
}

/* The record as a string, or NULL. */
static const char *
get_at(struct store *s, struct id project, const char *key, int64_t now_ms)
{
	size_t len = 0;
	int rc = store_vault_get(s, project, key, now_ms, room, sizeof room - 1, &len, &err);

	if (rc < 0)
		fail_msg("store_vault_get: %s", err.text);
	room[len] = '\0';
	return rc == 1 ? room : NULL;
}

static const char *
get(struct store *s, struct id project, const char *key)
{
	return get_at(s, project, key, NOW);
}

static int64_t
bytes_of(struct store *s)
{
	int64_t bytes = store_vault_bytes(s, &err);

	assert_true(bytes >= 0);
	return bytes;
}

/* What the rows that are there come to, looked at one by one. */
struct sum {
	int64_t bytes, rows, places;
};

static int
sum_rows(struct attach *at, void *arg, struct err *e)
{
	static uint8_t data_room[VAULT_RECORD_MAX + 64];
	struct sum *sum = arg;
	uint8_t key_room[KEY_MAX];
	DB *db = at->table[TABLE_MAIN];
	DBT key, data;
	DBC *cursor;
	int rc = db->cursor(db, NULL, &cursor, 0);

	(void)e;
	*sum = (struct sum){ 0 };
	if (rc != 0)
		return rc;
	dbt_out(&key, key_room, sizeof key_room);
	dbt_out(&data, data_room, sizeof data_room);
	while ((rc = cursor->get(cursor, &key, &data, DB_NEXT)) == 0) {
		if (key_room[0] != KEY_VAULT && key_room[0] != KEY_VAULT_AGE)
			continue;
		sum->rows += key_room[0] == KEY_VAULT;
		sum->places += key_room[0] == KEY_VAULT_AGE;
		sum->bytes += key.size + (key_room[0] == KEY_VAULT ? data.size : 0);
	}
	(void)cursor->close(cursor);
	return rc == DB_NOTFOUND ? 0 : rc;
}

/* The sum that is kept is the sum of what is there. */
static int64_t
is_exact(struct store *s)
{
	struct sum sum;

	WORKS(store_call(s, "summing", sum_rows, &sum, &err));
	assert_int_equal(sum.places, sum.rows);
	assert_int_equal(bytes_of(s), sum.bytes);
	return sum.rows;
}

static void
what_is_kept_is_found_and_gives_way_to_the_next(void **state)
{
	struct fixture *f = *state;
	struct vault_record two[] = { record_of("c:one", SPAN_LIT("first")),
		record_of("c:two", SPAN_LIT("second")) };

	assert_null(get(f->s, ours, "c:one"));
	assert_int_equal(bytes_of(f->s), 0);
	WORKS(store_vault_put(f->s, ours, two, 2, NOW, NOW + HOUR, CAP, &err));
	assert_string_equal(get(f->s, ours, "c:one"), "first");
	assert_string_equal(get(f->s, ours, "c:two"), "second");
	assert_null(get(f->s, ours, "c:on"));
	assert_int_equal(bytes_of(f->s), 2 * PER_ROW + 11);
	put(f->s, ours, "c:one", "a longer one");
	assert_string_equal(get(f->s, ours, "c:one"), "a longer one");
	assert_int_equal(bytes_of(f->s), 2 * PER_ROW + 18);
	put(f->s, ours, "c:one", "a longer one"); /* as after an abandonment */
	assert_int_equal(is_exact(f->s), 2);
}

static void
each_project_has_its_own(void **state)
{
	struct fixture *f = *state;

	put(f->s, ours, "c:one", "ours");
	assert_null(get(f->s, theirs, "c:one"));
	put(f->s, theirs, "c:one", "theirs");
	assert_string_equal(get(f->s, ours, "c:one"), "ours");
	assert_string_equal(get(f->s, theirs, "c:one"), "theirs");
}

static void
one_whose_time_is_up_is_not_found_and_swept(void **state)
{
	struct fixture *f = *state;
	char key[32];

	for (int i = 0; i < VAULT_SWEEP_MOST + 5; i++) {
		(void)snprintf(key, sizeof key, "c:%d", i);
		put_at(f->s, ours, key, SPAN_LIT("old"), NOW, CAP);
	}
	put_at(f->s, ours, "c:young", SPAN_LIT("young"), NOW + HOUR / 2, CAP);
	assert_string_equal(get_at(f->s, ours, "c:0", NOW + HOUR - 1), "old");
	assert_null(get_at(f->s, ours, "c:0", NOW + HOUR));
	assert_int_equal(store_vault_sweep(f->s, NOW + HOUR - 1, &err), 0);
	assert_int_equal(store_vault_sweep(f->s, NOW + HOUR, &err), VAULT_SWEEP_MOST);
	assert_int_equal(is_exact(f->s), 6);
	assert_int_equal(store_vault_sweep(f->s, NOW + HOUR, &err), 5);
	assert_int_equal(store_vault_sweep(f->s, NOW + HOUR, &err), 0);
	assert_string_equal(get_at(f->s, ours, "c:young", NOW + HOUR), "young");
	assert_int_equal(is_exact(f->s), 1);
	assert_int_equal(store_vault_sweep(f->s, NOW + 2 * HOUR, &err), 1);
	assert_int_equal(bytes_of(f->s), 0);
	assert_int_equal(store_vault_sweep(f->s, NOW + 2 * HOUR, &err), 0);
}

static void
tidying_up_sweeps(void **state)
{
	struct fixture *f = *state;

	put(f->s, ours, "c:one", "long ago");
	WORKS(store_tidy(f->s, &err));
	assert_int_equal(is_exact(f->s), 0);
}

static void
the_oldest_go_at_the_ceiling(void **state)
{
	struct fixture *f = *state;
	int64_t cap = 3 * (PER_ROW + 100);

	memset(room, 'x', 200);
	put_at(f->s, ours, "c:a", (struct span){ room, 100 }, NOW, cap);
	put_at(f->s, ours, "c:b", (struct span){ room, 100 }, NOW + 1, cap);
	put_at(f->s, ours, "c:c", (struct span){ room, 100 }, NOW + 2, cap);
	assert_int_equal(is_exact(f->s), 3); /* up to the last byte */
	put_at(f->s, ours, "c:a", (struct span){ room, 100 }, NOW + 3, cap); /* the youngest now */
	assert_int_equal(is_exact(f->s), 3);
	memset(room, 'x', 200);
	put_at(f->s, theirs, "c:d", (struct span){ room, 101 }, NOW + 4, cap);
	assert_int_equal(is_exact(f->s), 2);
	assert_null(get(f->s, ours, "c:b"));
	assert_null(get(f->s, ours, "c:c"));
	assert_non_null(get(f->s, ours, "c:a"));
	assert_non_null(get(f->s, theirs, "c:d"));
	put_at(f->s, ours, "c:e", SPAN_LIT("too much"), NOW + 5, 10); /* not even itself */
	assert_int_equal(is_exact(f->s), 0);
	assert_int_equal(bytes_of(f->s), 0);
}

static void
a_ceiling_that_was_lowered_holds_at_once(void **state)
{
	struct fixture *f = *state;
	char key[32];
	int64_t cap = 10 * (PER_ROW + 3);

	for (int i = 0; i < 3 * VAULT_SWEEP_MOST; i++) {
		(void)snprintf(key, sizeof key, "c:%d", i);
		put_at(f->s, ours, key, SPAN_LIT("one"), NOW + i, CAP);
	}
	put_at(f->s, ours, "c:last", SPAN_LIT("one"), NOW + HOUR, cap);
	assert_int_equal(is_exact(f->s), 10);
	assert_non_null(get(f->s, ours, "c:last"));
}

static void
the_sum_is_exact_over_sizes_of_all_kinds(void **state)
{
	static char big[VAULT_RECORD_MAX];
	struct fixture *f = *state;
	int64_t cap = 1 << 20;
	unsigned seed = 7;
	char key[32];

	hash_random(big, sizeof big);
	for (int i = 0; i < 300; i++) {
		size_t len;

		seed = seed * 1103515245u + 12345u;
		len = i % 10 == 0 ? VAULT_RECORD_MAX - seed % 3
				  : (seed >> 8) % (1u << (seed >> 4) % 15);
		len = len == 0 ? 1 : len;
		(void)snprintf(key, sizeof key, "c:%u", (seed >> 16) % 150);
		put_at(f->s, ours, key, (struct span){ big, len }, NOW + i, cap);
		assert_true(bytes_of(f->s) <= cap);
		if (i % 25 == 0)
			(void)is_exact(f->s);
		WORKS(store_vault_get(f->s, ours, key, NOW, room, sizeof room, &len, &err));
		assert_memory_equal(room, big, len);
	}
	assert_true(is_exact(f->s) > 3);
}

static void
what_is_too_long_is_refused_and_what_has_no_room_not_found(void **state)
{
	static char big[VAULT_RECORD_MAX + 1];
	struct fixture *f = *state;
	struct vault_record r = record_of("c:one", (struct span){ big, sizeof big });
	size_t len = 0;

	REFUSED(store_vault_put(f->s, ours, &r, 1, NOW, NOW + HOUR, CAP, &err), ERR_INTERNAL);
	r.record.len--;
	REFUSED(store_vault_put(f->s, ours, &r, VAULT_PUT_MAX + 1, NOW, NOW + HOUR, CAP, &err),
		ERR_INTERNAL);
	WORKS(store_vault_put(f->s, ours, &r, 1, NOW, NOW + HOUR, CAP, &err));
	assert_int_equal(store_vault_get(f->s, ours, "c:one", NOW, room, 100, &len, &err), 0);
	assert_int_equal(
		store_vault_get(f->s, ours, "c:one", NOW, room, sizeof room, &len, &err), 1);
	assert_int_equal(len, VAULT_RECORD_MAX);
	/* a key is cut nowhere: all of its bytes count */
	memset(r.key, 'k', sizeof r.key);
	r.record = SPAN_LIT("whole");
	WORKS(store_vault_put(f->s, ours, &r, 1, NOW, NOW + HOUR, CAP, &err));
	assert_int_equal(store_vault_get(f->s, ours, r.key, NOW, room, sizeof room, &len, &err), 1);
	r.key[sizeof r.key - 1] = 'l';
	assert_int_equal(store_vault_get(f->s, ours, r.key, NOW, room, sizeof room, &len, &err), 0);
}

/* ---- several processes ---- */

#define EACH 120

static int
put_many(struct store *s, int who)
{
	char key[32], record[600];

	memset(record, 'x', sizeof record);
	for (int i = 0; i < EACH; i++) {
		struct vault_record r;

		(void)snprintf(
			key, sizeof key, "c:%d/%d", i % 4 == 0 ? 0 : who, i); /* some the same */
		r = record_of(key, (struct span){ record, (size_t)(1 + i * 5) });
		if (store_vault_put(s, ours, &r, 1, NOW + i, NOW + HOUR, 40000, &err) != 0)
			return -1;
	}
	return 0;
}

static void
two_processes_keep_one_sum(void **state)
{
	struct fixture *f = *state;
	int go[2], status;
	pid_t pid;
	char byte = 0;

	assert_int_equal(pipe(go), 0);
	store_close(f->s);
	f->s = NULL;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct store_options o = fixture_options(f);
		struct store *s = store_open(&o, NULL, &err);

		if (s == NULL || read(go[0], &byte, 1) != 1 || put_many(s, 1) != 0)
			_exit(1);
		store_close(s);
		_exit(0);
	}
	f->s = fixture_open(f, false);
	assert_int_equal(write(go[1], &byte, 1), 1);
	assert_int_equal(put_many(f->s, 2), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(go[0]);
	close(go[1]);
	assert_true(is_exact(f->s) > 10);
	assert_true(bytes_of(f->s) <= 40000);
	assert_non_null(get(f->s, ours, "c:2/119"));
	assert_non_null(get(f->s, ours, "c:1/119"));
}

/* ---- what looks after a store ---- */

static const struct store_change change = { .actor = "admin", .action = "test", .address = "" };

static void
note_problem(void *ctx, const char *text)
{
	(void)ctx;
	print_message("%s\n", text);
}

static void
a_store_with_a_full_vault_is_whole_and_its_dump_leaves_it_out(void **state)
{
	static char big[VAULT_RECORD_MAX];
	static const struct care care = { .problem = note_problem };
	struct fixture *f = *state, other;
	struct dump_options options = { 0 };
	struct care_report report = { 0 };
	struct project p;
	FILE *text = tmpfile();

	record_init(RECORD_PROJECT, &p);
	(void)snprintf(p.name, sizeof p.name, "one");
	WORKS(store_create(f->s, RECORD_PROJECT, &p, &change, &err));
	put(f->s, ours, "c:one", "short");
	put_at(f->s, ours, "c:two", (struct span){ big, sizeof big }, NOW, CAP);
	WORKS(store_verify(f->s, &care, &report, &err)); /* as a backup of it */
	assert_int_equal(report.problems, 0);
	memset(&report, 0, sizeof report);
	assert_non_null(text);
	WORKS(store_dump(f->s, text, &options, &care, &report, &err));
	rewind(text);
	fixture_dir(&other);
	other.s = fixture_open(&other, true);
	memset(&report, 0, sizeof report);
	WORKS(store_load(other.s, text, &options, &care, &report, &err));
	assert_int_equal(store_vault_bytes(other.s, &err), 0);
	assert_null(get(other.s, ours, "c:one"));
	WORKS(store_find(other.s, RECORD_PROJECT, "one", &p, &err));
	fclose(text);
	store_close(other.s);
	remove_tree(other.dir);
}

int
main(void)
{
#define IN_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		IN_STORE(what_is_kept_is_found_and_gives_way_to_the_next),
		IN_STORE(each_project_has_its_own),
		IN_STORE(one_whose_time_is_up_is_not_found_and_swept),
		IN_STORE(tidying_up_sweeps),
		IN_STORE(the_oldest_go_at_the_ceiling),
		IN_STORE(a_ceiling_that_was_lowered_holds_at_once),
		IN_STORE(the_sum_is_exact_over_sizes_of_all_kinds),
		IN_STORE(what_is_too_long_is_refused_and_what_has_no_room_not_found),
		IN_STORE(two_processes_keep_one_sum),
		IN_STORE(a_store_with_a_full_vault_is_whole_and_its_dump_leaves_it_out),
	};

	log_unbuffered();
	return cmocka_run_group_tests_name("store/vault", tests, NULL, NULL);
}
