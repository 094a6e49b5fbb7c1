/*
 * access_test.c - one process fetches an access token, all have it; claims of the dead are free.
 */
#include "store_fixture.h"

#include "store/access.h"
#include <sys/wait.h>

#define NOW     INT64_C(1790000000000)
#define LIFE_MS 600000

static struct access_answer answer;

static struct access_name
name_of(uint8_t key, uint8_t of)
{
	struct access_name n = { .key = { { 1, key } } };

	memset(n.of, of, sizeof n.of);
	return n;
}

static struct access_token
token_of(const char *text, uint64_t number, int64_t from_ms)
{
	struct access_token t = {
		.number = number, .refresh_ms = from_ms + LIFE_MS / 2, .until_ms = from_ms + LIFE_MS
	};

	(void)snprintf(t.text, sizeof t.text, "%s", text);
	return t;
}

static int
claim(struct store *s, const struct access_name *n, uint64_t refused, int64_t now_ms)
{
	WORKS(store_access_claim(s, n, refused, now_ms, &answer, &err));
	return answer.what;
}

static void
put(struct store *s, const struct access_name *n, const char *text, uint64_t number,
	int64_t from_ms)
{
	struct access_token t = token_of(text, number, from_ms);

	WORKS(store_access_put(s, n, &t, &err));
}

/* Another process, forked while the store is closed here, which claims, tells what it was answered, and goes on or dies. */
static pid_t
other(struct fixture *f, const struct access_name *n, int64_t now_ms, bool lives, int *what,
	int *leave)
{
	int told[2], stay[2];
	pid_t pid;

	assert_int_equal(pipe(told), 0);
	assert_int_equal(pipe(stay), 0);
	store_close(f->s);
	f->s = NULL;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct store_options o = fixture_options(f);
		struct store *s = store_open(&o, NULL, &err);
		char done = 0;

		close(stay[1]);
		if (s == NULL || store_access_claim(s, n, 0, now_ms, &answer, &err) != 0)
			_exit(1);
		done = (char)answer.what;
		if (write(told[1], &done, 1) != 1)
			_exit(1);
		if (lives)
			(void)!read(stay[0], &done, 1);
		_exit(0); /* without a word to anybody */
	}
	close(told[1]);
	close(stay[0]);
	{
		char done = 99;

		assert_int_equal(read(told[0], &done, 1), 1);
		*what = done;
	}
	close(told[0]);
	*leave = stay[1];
	f->s = fixture_open(f, false);
	return pid;
}

static void
one_claims_and_all_have_it(void **state)
{
	struct fixture *f = *state;
	struct access_name n = name_of(1, 1), another = name_of(2, 1);

	assert_int_equal(claim(f->s, &n, 0, NOW), ACCESS_CLAIMED);
	assert_int_equal(answer.token.number, 0);
	/* after an abandonment the same is asked again */
	assert_int_equal(claim(f->s, &n, 0, NOW + 1), ACCESS_CLAIMED);
	put(f->s, &n, "the-token", 77, NOW);
	assert_int_equal(claim(f->s, &n, 0, NOW + 2), ACCESS_THERE);
	assert_string_equal(answer.token.text, "the-token");
	assert_int_equal(answer.token.number, 77);
	assert_int_equal(answer.token.until_ms, NOW + LIFE_MS);
	/* another key's is another's */
	assert_int_equal(claim(f->s, &another, 0, NOW), ACCESS_CLAIMED);
	/* another secret's too */
	n = name_of(1, 2);
	assert_int_equal(claim(f->s, &n, 0, NOW), ACCESS_CLAIMED);
}

static void
a_long_one_is_kept_whole_and_sealed(void **state)
{
	static char text[ACCESS_TOKEN_BYTES];
	struct fixture *f = *state;
	struct access_name n = name_of(1, 1);

	for (size_t i = 0; i < sizeof text - 1; i++)
		text[i] = (char)('a' + i * 7 % 26);
	assert_int_equal(claim(f->s, &n, 0, NOW), ACCESS_CLAIMED);
	put(f->s, &n, text, 5, NOW);
	assert_int_equal(claim(f->s, &n, 0, NOW), ACCESS_THERE);
	assert_string_equal(answer.token.text, text);
}

static void
others_wait_for_who_lives_and_not_for_the_dead(void **state)
{
	struct fixture *f = *state;
	struct access_name n = name_of(1, 1);
	int what, leave;
	pid_t pid = other(f, &n, NOW, true, &what, &leave);

	assert_int_equal(what, ACCESS_CLAIMED);
	assert_int_equal(claim(f->s, &n, 0, NOW + 1), ACCESS_BUSY);
	/* it has had its time */
	assert_int_equal(claim(f->s, &n, 0, NOW + ACCESS_CLAIM_MS), ACCESS_CLAIMED);
	close(leave);
	assert_int_equal(waitpid(pid, &what, 0), pid);
	assert_int_equal(what, 0);

	n = name_of(2, 1);
	pid = other(f, &n, NOW, false, &what, &leave);
	assert_int_equal(what, ACCESS_CLAIMED);
	close(leave);
	assert_int_equal(waitpid(pid, &what, 0), pid);
	assert_int_equal(claim(f->s, &n, 0, NOW + 1), ACCESS_CLAIMED);
}

static void
what_comes_too_late_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct access_name n = name_of(1, 1);
	int64_t retry_ms;
	int what, leave;
	pid_t pid;

	assert_int_equal(claim(f->s, &n, 0, NOW), ACCESS_CLAIMED);
	/* another one took over, as ours had its time */
	pid = other(f, &n, NOW + ACCESS_CLAIM_MS, true, &what, &leave);
	assert_int_equal(what, ACCESS_CLAIMED);
	put(f->s, &n, "late", 1, NOW);
	WORKS(store_access_fail(f->s, &n, true, NOW, "late", &retry_ms, &err));
	assert_int_equal(claim(f->s, &n, 0, NOW + ACCESS_CLAIM_MS + 1), ACCESS_BUSY);
	close(leave);
	assert_int_equal(waitpid(pid, &what, 0), pid);
}

static void
the_old_one_serves_while_a_new_one_is_fetched(void **state)
{
	struct fixture *f = *state;
	struct access_name n = name_of(1, 1);
	int64_t later_ms = NOW + LIFE_MS / 2, retry_ms;
	int what, leave;
	pid_t pid;

	assert_int_equal(claim(f->s, &n, 0, NOW), ACCESS_CLAIMED);
	put(f->s, &n, "old", 1, NOW);
	assert_int_equal(claim(f->s, &n, 0, later_ms - 1), ACCESS_THERE);
	pid = other(f, &n, later_ms, true, &what, &leave);
	assert_int_equal(what, ACCESS_CLAIMED);
	assert_int_equal(claim(f->s, &n, 0, later_ms + 1), ACCESS_THERE);
	assert_string_equal(answer.token.text, "old");
	close(leave);
	assert_int_equal(waitpid(pid, &what, 0), pid);
	/* the one that fetches has it as well */
	assert_int_equal(claim(f->s, &n, 0, later_ms + 2), ACCESS_CLAIMED);
	assert_string_equal(answer.token.text, "old");
	/* and keeps it when it gets no other, and does not ask all the time */
	WORKS(store_access_fail(f->s, &n, false, later_ms + 2, "status 500", &retry_ms, &err));
	assert_int_equal(claim(f->s, &n, 0, later_ms + 3), ACCESS_THERE);
	assert_string_equal(answer.token.text, "old");
	assert_int_equal(claim(f->s, &n, 0, retry_ms), ACCESS_CLAIMED);
	/* at its end it is none */
	assert_int_equal(claim(f->s, &n, 0, NOW + LIFE_MS), ACCESS_CLAIMED);
	assert_int_equal(answer.token.number, 0);
}

static void
a_refused_one_is_replaced_once_in_a_while(void **state)
{
	struct fixture *f = *state;
	struct access_name n = name_of(1, 1);

	assert_int_equal(claim(f->s, &n, 0, NOW), ACCESS_CLAIMED);
	put(f->s, &n, "first", 1, NOW);
	assert_int_equal(claim(f->s, &n, 1, NOW + 10), ACCESS_CLAIMED);
	assert_int_equal(answer.token.number, 0);                       /* that one is of no use */
	assert_int_equal(claim(f->s, &n, 1, NOW + 11), ACCESS_CLAIMED); /* again */
	put(f->s, &n, "second", 2, NOW + 10);
	/* whoever was refused with the first finds the second */
	assert_int_equal(claim(f->s, &n, 1, NOW + 12), ACCESS_THERE);
	assert_string_equal(answer.token.text, "second");
	assert_int_equal(claim(f->s, &n, 2, NOW + 13), ACCESS_KEPT);
	assert_int_equal(answer.retry_ms, NOW + 10 + 1 + ACCESS_RENEW_MS);
	assert_int_equal(claim(f->s, &n, 2, NOW + 11 + ACCESS_RENEW_MS), ACCESS_CLAIMED);
}

static void
failures_are_waited_for_longer_and_longer(void **state)
{
	struct fixture *f = *state;
	struct access_name n = name_of(1, 1), changed = name_of(1, 2);
	int64_t now_ms = NOW, retry_ms, waits[3];

	for (int i = 0; i < 3; i++) {
		assert_int_equal(claim(f->s, &n, 0, now_ms), ACCESS_CLAIMED);
		WORKS(store_access_fail(f->s, &n, false, now_ms, "status 500", &retry_ms, &err));
		waits[i] = retry_ms - now_ms;
		assert_int_equal(claim(f->s, &n, 0, now_ms + 1), ACCESS_FAILING);
		assert_string_equal(answer.why, "status 500");
		assert_false(answer.refused);
		assert_int_equal(answer.retry_ms, retry_ms);
		now_ms = retry_ms;
	}
	assert_true(waits[0] < waits[1] && waits[1] < waits[2]);
	assert_int_equal(claim(f->s, &n, 0, now_ms), ACCESS_CLAIMED);
	WORKS(store_access_fail(f->s, &n, true, now_ms, "status 401", &retry_ms, &err));
	assert_int_equal(claim(f->s, &n, 0, now_ms + 1), ACCESS_FAILING);
	assert_true(answer.refused);
	/* another secret may be better */
	assert_int_equal(claim(f->s, &changed, 0, now_ms + 1), ACCESS_CLAIMED);
	put(f->s, &changed, "good", 9, now_ms);
	assert_int_equal(claim(f->s, &changed, 0, now_ms + 2), ACCESS_THERE);
	for (uint32_t i = 0; i < 100; i++)
		assert_in_range(access_wait_ms(i, i % 2 == 0), 1, 60000);
}

static void
it_goes_with_its_key(void **state)
{
	struct fixture *f = *state;
	struct store_change by = { .actor = "test", .action = "test", .address = "" };
	static struct key k;
	struct access_name n = name_of(1, 1);

	record_init(RECORD_KEY, &k);
	k.head.id = id_random();
	n.key = k.head.id;
	WORKS(store_create(f->s, RECORD_KEY, &k, &by, &err));
	assert_int_equal(claim(f->s, &n, 0, NOW), ACCESS_CLAIMED);
	put(f->s, &n, "t", 1, NOW);
	assert_int_equal(claim(f->s, &n, 0, NOW), ACCESS_THERE);
	WORKS(store_delete(f->s, RECORD_KEY, k.head.id, &by, &err));
	assert_int_equal(claim(f->s, &n, 0, NOW), ACCESS_CLAIMED);
	assert_int_equal(answer.token.number, 0);
}

static void
under_another_master_key_it_is_fetched_anew(void **state)
{
	struct fixture *f = *state, theirs = { 0 };
	struct access_name n = name_of(1, 1);
	struct store_options o;

	assert_int_equal(claim(f->s, &n, 0, NOW), ACCESS_CLAIMED);
	put(f->s, &n, "sealed", 1, NOW);
	/* without one nothing can be unsealed, nor with a wrong one, which no store opens with */
	theirs = *f;
	o = fixture_options(&theirs);
	o.master_key_file = NULL;
	store_close(f->s);
	f->s = store_open(&o, NULL, &err);
	assert_non_null(f->s);
	assert_int_equal(claim(f->s, &n, 0, NOW + 1), ACCESS_CLAIMED);
	assert_int_equal(answer.token.number, 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(one_claims_and_all_have_it),
		TEST(a_long_one_is_kept_whole_and_sealed),
		TEST(others_wait_for_who_lives_and_not_for_the_dead),
		TEST(what_comes_too_late_changes_nothing),
		TEST(the_old_one_serves_while_a_new_one_is_fetched),
		TEST(a_refused_one_is_replaced_once_in_a_while),
		TEST(failures_are_waited_for_longer_and_longer),
		TEST(it_goes_with_its_key),
		TEST(under_another_master_key_it_is_fetched_anew),
	};

	return cmocka_run_group_tests_name("store/access", tests, NULL, NULL);
}
