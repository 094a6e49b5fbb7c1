/* journal_test.c - what could not be booked is booked once the store is back, once. */
#include "../admit/house.h"

#include "settle/journal.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

static struct usage_row
full_row(void)
{
	struct usage_row r = { .time_ms = clock_wall_ms(),
		.project = id_random(),
		.token = id_random(),
		.upstream = id_random(),
		.key = id_random(),
		.model = "m \"1\"\\",
		.upstream_model = "m-up",
		.endpoint = "/v1/chat/completions",
		.upstream_request_id = "u-1",
		.session = "s\n1",
		.end_user = "\xC3\xA4",
		.tags = { "a=1", "b=2", "c=3", "d=4" },
		.tier = "flex",
		.address = UINT64_MAX - 5,
		.error = "e",
		.status = 599,
		.err_code = 65535,
		.ended_by = 255,
		.usage_source = 1,
		.stream = 1,
		.attempts = 250,
		.duration_ms = UINT32_MAX,
		.ttfb_ms = 7,
		.tokens = { 1, 2, 3, 4, 5, 6, 7, 8, INT64_MAX },
		.cost_nusd = COST_UNKNOWN };

	r.exchange = id_timed(r.time_ms);
	return r;
}

static void
a_row_comes_back_as_it_was(void **state)
{
	struct usage_row rows[2], back;
	struct bytes line = BYTES_LIMIT(JOURNAL_LINE_MAX);

	(void)state;
	memset(rows, 0, sizeof rows); /* what lies between fields too */
	rows[0] = full_row();
	rows[1] = (struct usage_row){ .exchange = id_random() };
	for (int i = 0; i < 2; i++) {
		line.len = 0;
		assert_int_equal(journal_write_line(&rows[i], &line), 0);
		assert_int_equal(journal_read_line(bytes_span(&line), &back), 0);
		assert_memory_equal(&back, &rows[i], sizeof back);
	}
	/* no bit of a line can change unseen */
	line.len = 0;
	assert_int_equal(journal_write_line(&rows[0], &line), 0);
	for (size_t i = 0; i + 1 < line.len; i++) {
		line.at[i] ^= 1;
		if (journal_read_line(bytes_span(&line), &back) == 0)
			fail_msg("byte %zu changed unseen", i);
		line.at[i] ^= 1;
	}
	for (size_t len = 0; len + 1 < line.len; len++)
		if (journal_read_line((struct span){ line.at, len }, &back) == 0)
			fail_msg("cut to %zu bytes unseen", len);
	bytes_free(&line);
}

/* Files in the journal's directory whose name ends so. */
static int
files(const struct house *h, const char *suffix)
{
	char path[96];
	struct dirent *e;
	int count = 0;
	DIR *d;

	(void)snprintf(path, sizeof path, "%s/journal", h->dir);
	if ((d = opendir(path)) == NULL)
		return 0;
	while ((e = readdir(d)) != NULL)
		count += strlen(e->d_name) > strlen(suffix) &&
			 strcmp(e->d_name + strlen(e->d_name) - strlen(suffix), suffix) == 0;
	(void)closedir(d);
	return count;
}

static struct usage_row
plain_row(void)
{
	struct usage_row r = { .time_ms = clock_wall_ms(), .status = 200, .cost_nusd = 5 };

	r.exchange = id_timed(r.time_ms);
	return r;
}

static int64_t
rows_in_store(struct house *h)
{
	struct usage_sum sum;

	WORKS(store_usage_sum(h->store, BY_TOTAL, NULL, 0, clock_wall_ms() + 60000, &sum, &err));
	return sum.requests;
}

static void
another_process_replays_what_its_writer_left(void **state)
{
	struct house *h = *state;
	struct journal *writer = journal_new(h->dir, &err), *other = journal_new(h->dir, &err);
	struct usage_row rows[STORE_BOOK_MAX + 3];
	bool booked;

	assert_int_equal(journal_replay(other, h->store, &err), 0); /* there is none */
	for (size_t i = 0; i < STORE_BOOK_MAX + 3; i++)
		rows[i] = plain_row();
	WORKS(journal_add(writer, rows, STORE_BOOK_MAX, &err));
	WORKS(journal_add(writer, rows + STORE_BOOK_MAX, 3, &err));
	assert_int_equal(files(h, ".ndjson"), 1);
	/* while its writer has it, it is nobody else's */
	assert_int_equal(journal_replay(other, h->store, &err), 0);
	assert_int_equal(rows_in_store(h), 0);
	/* a reaper was faster with one */
	WORKS(store_book(h->store, &rows[7], 1, &booked, &err));
	journal_free(writer);
	assert_int_equal(journal_replay(other, h->store, &err), STORE_BOOK_MAX + 2);
	assert_int_equal(rows_in_store(h), STORE_BOOK_MAX + 3);
	assert_int_equal(files(h, ".ndjson"), 0);
	assert_int_equal(journal_replay(other, h->store, &err), 0);
	journal_free(other);
}

static void
its_own_file_goes_when_the_store_is_back(void **state)
{
	struct house *h = *state;
	struct journal *j = journal_new(h->dir, &err);
	struct usage_row rows[3] = { plain_row(), plain_row(), plain_row() };

	WORKS(journal_add(j, rows, 2, &err));
	assert_int_equal(journal_replay(j, h->store, &err), 2);
	assert_int_equal(files(h, ".ndjson"), 0);
	WORKS(journal_add(j, rows + 1, 2, &err)); /* the next outage: a new file */
	assert_int_equal(files(h, ".ndjson"), 1);
	assert_int_equal(journal_replay(j, h->store, &err), 1);
	assert_int_equal(rows_in_store(h), 3);
	journal_free(j);
}

static void
without_the_store_nothing_is_lost_or_removed(void **state)
{
	struct house *h = *state;
	struct journal *j;
	struct usage_row row = plain_row();
	char db[80], away[80];

	house_close(h);
	h->brief = true;
	house_open(h);
	(void)snprintf(db, sizeof db, "%s/db", h->dir);
	(void)snprintf(away, sizeof away, "%s/away", h->dir);
	assert_int_equal(rename(db, away), 0);
	j = journal_new(h->dir, &err);
	WORKS(journal_add(j, &row, 1, &err));
	assert_int_equal(journal_replay(j, h->store, &err), -1);
	journal_free(j);
	j = journal_new(h->dir, &err); /* the next process */
	assert_int_equal(journal_replay(j, h->store, &err), -1);
	assert_int_equal(files(h, ".ndjson"), 1);
	assert_int_equal(rename(away, db), 0);
	for (int i = 0; i < 50 && journal_replay(j, h->store, &err) < 0; i++)
		(void)usleep(100000); /* the store looks again in its own time */
	assert_int_equal(rows_in_store(h), 1);
	journal_free(j);
}

static void
good_lines_of_a_damaged_file_are_booked(void **state)
{
	struct house *h = *state;
	struct journal *j = journal_new(h->dir, &err);
	struct bytes text = BYTES_LIMIT(4 * JOURNAL_LINE_MAX);
	struct usage_row rows[3] = { plain_row(), plain_row(), plain_row() };
	char path[96];
	int fd;

	for (int i = 0; i < 3; i++)
		assert_int_equal(journal_write_line(&rows[i], &text), 0);
	(void)snprintf(path, sizeof path, "%s/journal", h->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof path, "%s/journal/1-torn.ndjson", h->dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	/* the last line has no end: its writer died before anybody was told */
	assert_int_equal(write(fd, text.at, text.len - 5), (ssize_t)text.len - 5);
	(void)close(fd);
	assert_int_equal(journal_replay(j, h->store, &err), 2);
	assert_int_equal(files(h, ".ndjson") + files(h, ".damaged"), 0);
	text.at[20] ^= 1;
	(void)snprintf(path, sizeof path, "%s/journal/2-bad.ndjson", h->dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, text.at, text.len), (ssize_t)text.len);
	(void)close(fd);
	assert_int_equal(journal_replay(j, h->store, &err), 1);
	assert_int_equal(files(h, ".damaged"), 1);
	assert_int_equal(rows_in_store(h), 3);
	bytes_free(&text);
	journal_free(j);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_comes_back_as_it_was),
		TEST(another_process_replays_what_its_writer_left),
		TEST(its_own_file_goes_when_the_store_is_back),
		TEST(without_the_store_nothing_is_lost_or_removed),
		TEST(good_lines_of_a_damaged_file_are_booked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
