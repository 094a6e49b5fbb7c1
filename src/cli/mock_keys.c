/*
 * mock_keys.c - keys that are told how to behave while the mock runs: POST /mock/keys.
 *
 *   {"A001": {"status": 429, "head": "retry-after: 2\r\n", "body": "{…}", "delay_ms": 50}, "A002": {"hang": true}, "A003": null}
 *
 * A key is known by its last four characters.  null lets it be again, an empty object all of them.
 * GET /mock/keys tells when each that is told something was asked (ms since 1970, the first ones).
 */
#include "base/clock.h"
#include "base/json.h"
#include "cli/mock-int.h"

#include <string.h>

#define TOLD_MOST  256
#define TIMES_MOST 128

struct told {
	char last4[8];
	int status; /* 0: it hangs */
	int64_t delay_ms;
	char head[256], body[1024];
	int64_t asked, at_ms[TIMES_MOST];
};

static struct told told[TOLD_MOST];
static int told_count;

static struct told *
find(const char *last4)
{
	for (int i = 0; i < told_count; i++)
		if (strcmp(told[i].last4, last4) == 0)
			return &told[i];
	return NULL;
}

static bool
tell_one(void *ctx, const struct json_member *m)
{
	struct json_value status = json_get(m->value.raw, "status");
	char last4[8];
	struct told *t;
	int64_t n = 0;

	(void)ctx;
	if (!span_copy(m->key, last4, sizeof last4))
		return true;
	t = find(last4);
	if (m->value.type != JSON_OBJECT) {
		if (t != NULL)
			*t = told[--told_count];
		return true;
	}
	if (t == NULL && told_count == TOLD_MOST)
		return true;
	if (t == NULL)
		t = &told[told_count++];
	memset(t, 0, sizeof *t);
	memcpy(t->last4, last4, sizeof last4);
	(void)json_int(status, &n);
	(void)json_int(json_get(m->value.raw, "delay_ms"), &t->delay_ms);
	t->status = json_get(m->value.raw, "hang").type == JSON_TRUE ? 0 : (int)n;
	(void)json_string(json_get(m->value.raw, "head"), t->head, sizeof t->head);
	(void)json_string(json_get(m->value.raw, "body"), t->body, sizeof t->body);
	return true;
}

bool
mock_keys_tell(struct span json)
{
	if (span_is(json, "{}"))
		told_count = 0;
	return json_each(json, tell_one, NULL, NULL) == 0;
}

void
mock_keys_put(struct bytes *to)
{
	for (int i = 0; i < told_count; i++) {
		const struct told *t = &told[i];

		(void)bytes_puts(to, i == 0 ? "{" : ",");
		(void)bytes_json(to, span_of(t->last4));
		(void)bytes_printf(to, ":{\"asked\":%lld,\"at_ms\":[", (long long)t->asked);
		for (int64_t n = 0; n < t->asked && n < TIMES_MOST; n++)
			(void)bytes_printf(to, "%s%lld", n == 0 ? "" : ",", (long long)t->at_ms[n]);
		(void)bytes_puts(to, "]}");
	}
	(void)bytes_puts(to, told_count == 0 ? "{}" : "}");
}

enum mock_told
mock_keys_answer(struct mock_exchange *x, const char *last4)
{
	struct told *t = find(last4);

	if (t == NULL)
		return MOCK_TOLD_NOTHING;
	if (t->asked < TIMES_MOST)
		t->at_ms[t->asked] = clock_wall_ms();
	t->asked++;
	if (t->status == 0)
		return MOCK_TOLD_HANG;
	x->status = t->status;
	x->script.delay_ms = t->delay_ms;
	x->streams = false;
	x->filler = 0;
	x->out->len = 0;
	(void)bytes_printf(x->out,
		"HTTP/1.1 %d Told\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
		"%s\r\n%s",
		t->status, strlen(t->body), t->head, t->body);
	return MOCK_TOLD_ANSWER;
}
