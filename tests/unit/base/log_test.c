/* log_test.c - every line is JSON, none is cut, lost ones are counted, nobody waits. */
#include "base/json.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/sluice-log-XXXXXX";
static char path[64];

static int
make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(path, sizeof path, "%s/log", dir);
	return 0;
}

static int
remove_dir(void **state)
{
	(void)state;
	log_close();
	(void)unlink(path);
	return rmdir(dir);
}

/* A fresh file, opened. */
static int
fresh(void **state)
{
	(void)state;
	log_close();
	(void)unlink(path);
	return log_open(path, "test", LOG_INFO, NULL);
}

/* All of the file; the caller frees. */
static char *
content(size_t *len)
{
	FILE *f = fopen(path, "r");
	size_t room = 8 << 20;
	char *text = malloc(room);

	assert_non_null(f);
	assert_non_null(text);
	*len = fread(text, 1, room - 1, f);
	text[*len] = '\0';
	(void)fclose(f);
	return text;
}

/* Calls fn for each line, which must be a JSON object.  Returns how many there are. */
static int
each_line(void (*fn)(struct span line, void *ctx), void *ctx)
{
	size_t len;
	char *text = content(&len);
	int count = 0;

	for (char *p = text; *p != '\0'; count++) {
		char *end = strchr(p, '\n');
		struct span line;

		assert_non_null(end); /* no half line */
		line = (struct span){ p, (size_t)(end - p) };
		if (!json_valid(line) || *p != '{')
			fail_msg("%.*s", (int)line.len, p);
		if (fn != NULL)
			fn(line, ctx);
		p = end + 1;
	}
	free(text);
	return count;
}

static void
line_has_its_fields(void **state)
{
	size_t len;
	char *text, out[64];
	struct span line;

	(void)state;
	log_write(LOG_WARN, "recovered", "took %d ms \"quoted\"\n", 38);
	log_request(LOG_ERROR, "failed", "req_x", "%s", "why");
	log_write(LOG_DEBUG, "hidden", "x");
	log_flush();
	text = content(&len);
	line = (struct span){ text, strcspn(text, "\n") };
	assert_int_equal(json_string(json_get(line, "level"), out, sizeof out), 4);
	assert_string_equal(out, "warn");
	assert_int_equal(json_string(json_get(line, "program"), out, sizeof out), 4);
	assert_true(json_string(json_get(line, "event"), out, sizeof out) > 0);
	assert_string_equal(out, "recovered");
	assert_true(json_string(json_get(line, "text"), out, sizeof out) > 0);
	assert_string_equal(out, "took 38 ms \"quoted\"\n");
	assert_int_equal(json_string(json_get(line, "time"), out, sizeof out), 24);
	assert_int_equal(json_get(line, "request_id").type, JSON_NONE);
	assert_int_equal(json_get(line, "pid").type, JSON_NUMBER);
	line.at += line.len + 1;
	line.len = strcspn(line.at, "\n");
	assert_true(json_string(json_get(line, "request_id"), out, sizeof out) > 0);
	assert_string_equal(out, "req_x");
	assert_int_equal(line.at[line.len + 1], '\0'); /* debug is below the least level */
	free(text);
}

/* What anybody sends may end up in a text: no byte of it may break the line or the JSON. */
static void
any_bytes_make_one_line(void **state)
{
	char hostile[4000];

	(void)state;
	for (int c = 1; c < 256; c++) {
		memset(hostile, c, sizeof hostile - 1);
		hostile[sizeof hostile - 1] = '\0';
		log_request(LOG_INFO, hostile, hostile, "%s", hostile);
		if (c % 64 == 0)
			log_flush();
	}
	log_flush();
	assert_int_equal(each_line(NULL, NULL), 255);
}

static void
nothing_is_written_before_the_flush(void **state)
{
	(void)state;
	log_write(LOG_INFO, "a", "waits");
	assert_int_equal(each_line(NULL, NULL), 0);
	log_flush();
	assert_int_equal(each_line(NULL, NULL), 1);
	log_unbuffered();
	log_write(LOG_INFO, "a", "at once");
	assert_int_equal(each_line(NULL, NULL), 2);
}

struct tally {
	long long written, lost;
	bool last_says_lost;
};

static void
count_lost(struct span line, void *ctx)
{
	struct tally *t = ctx;
	char text[64];

	t->last_says_lost = false;
	if (json_string(json_get(line, "event"), text, sizeof text) > 0 &&
		strcmp(text, "log_full") == 0) {
		assert_true(json_string(json_get(line, "text"), text, sizeof text) > 0);
		t->lost += atoll(text);
		t->last_says_lost = true;
	} else {
		t->written++;
	}
}

static void
lines_that_do_not_fit_are_counted(void **state)
{
	struct tally t = { 0 };

	(void)state;
	for (int i = 0; i < 20000; i++)
		log_write(LOG_INFO, "flood", "%0100d", i);
	log_flush();
	log_write(LOG_INFO, "after", "fits again");
	log_flush();
	(void)each_line(count_lost, &t);
	assert_true(t.lost > 10000 && t.written > 3000);
	assert_int_equal(t.written + t.lost, 20001);
	assert_false(t.last_says_lost);
}

/* A full disk loses nothing that still waits. */
static void
what_cannot_be_written_waits(void **state)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	if (full < 0)
		skip();
	(void)close(full);
	assert_int_equal(log_open("/dev/full", "test", LOG_INFO, NULL), 0);
	log_write(LOG_INFO, "a", "no room");
	log_flush();
	assert_int_equal(log_open(path, "test", LOG_INFO, NULL), 0);
	log_flush();
	assert_int_equal(each_line(NULL, NULL), 1);
}

enum { WRITERS = 4, LINES = 3000 };

static void *
write_many(void *arg)
{
	for (int i = 0; i < LINES; i++)
		log_write(LOG_INFO, "many", "%d of %d", i, *(int *)arg);
	return NULL;
}

static void *
flush_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < 2000; i++)
		log_flush();
	return NULL;
}

/* The ring goes round several times under the flusher's hands. */
static void
threads_do_not_mix_their_lines(void **state)
{
	pthread_t writer[WRITERS], flusher;
	struct tally t = { 0 };
	int number[WRITERS];

	(void)state;
	assert_int_equal(pthread_create(&flusher, NULL, flush_many, NULL), 0);
	for (int i = 0; i < WRITERS; i++) {
		number[i] = i;
		assert_int_equal(pthread_create(&writer[i], NULL, write_many, &number[i]), 0);
	}
	for (int i = 0; i < WRITERS; i++)
		(void)pthread_join(writer[i], NULL);
	(void)pthread_join(flusher, NULL);
	log_flush();
	log_write(LOG_INFO, "end", "x");
	log_flush();
	(void)each_line(count_lost, &t);
	assert_int_equal(t.written + t.lost, WRITERS * LINES + 1);
}

static void
child_writes_its_own_lines_only(void **state)
{
	pid_t child;
	int status;

	(void)state;
	log_write(LOG_INFO, "parent", "waits");
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (log_open(path, "child", LOG_INFO, NULL) != 0)
			_exit(1);
		log_write(LOG_INFO, "child", "x");
		log_close();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(each_line(NULL, NULL), 1);
	log_flush();
	assert_int_equal(each_line(NULL, NULL), 2);
}

static void
file_that_cannot_be_opened_is_told(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(log_open("/nonexistent/folder/log", "test", LOG_INFO, &err), -1);
	assert_non_null(strstr(err.text, "/nonexistent/folder/log"));
	log_write(LOG_INFO, "a", "still to the old file");
	log_flush();
	assert_int_equal(each_line(NULL, NULL), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(line_has_its_fields, fresh),
		cmocka_unit_test_setup(any_bytes_make_one_line, fresh),
		cmocka_unit_test_setup(nothing_is_written_before_the_flush, fresh),
		cmocka_unit_test_setup(lines_that_do_not_fit_are_counted, fresh),
		cmocka_unit_test_setup(what_cannot_be_written_waits, fresh),
		cmocka_unit_test_setup(threads_do_not_mix_their_lines, fresh),
		cmocka_unit_test_setup(child_writes_its_own_lines_only, fresh),
		cmocka_unit_test_setup(file_that_cannot_be_opened_is_told, fresh),
	};

	return cmocka_run_group_tests_name("base/log", tests, make_dir, remove_dir);
}
