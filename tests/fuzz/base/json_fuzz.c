/*
 * json_fuzz.c - a client's body and a provider's answer may be any bytes.
 *
 * Properties: the checker and the walkers agree on what is valid; what stands between the members
 * is punctuation, so that splicing by their places loses nothing; each value is valid by itself;
 * json_get finds what the walk saw last; and a name that was written by our own escaper comes back
 * as it was.
 */
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NAME_BYTES 256

struct view {
	struct span text;
	size_t end; /* of the member before */
	int count;
	bool object;
	char name[NAME_BYTES]; /* of the last member whose name can be decoded */
	bool named;
	struct span value;
};

static void
must(bool ok, const char *what)
{
	if (!ok) {
		(void)fprintf(stderr, "json_fuzz: %s\n", what);
		abort();
	}
}

static bool
only(struct span text, size_t from, size_t to, const char *allowed)
{
	for (size_t i = from; i < to; i++)
		if (text.at[i] == '\0' || strchr(allowed, text.at[i]) == NULL)
			return false;
	return true;
}

static void
check_scalars(struct json_value v)
{
	char out[64];
	int64_t n;

	must((json_string(v, out, sizeof out) >= 0) <= (v.type == JSON_STRING),
		"string of no string");
	must((json_int(v, &n) == 0) <= (v.type == JSON_NUMBER), "number of no number");
}

static bool
member(void *ctx, const struct json_member *m)
{
	struct view *v = ctx;
	const char *value = m->value.raw.at;

	must(m->start >= v->end && m->start < m->end && m->end <= v->text.len, "members overlap");
	must(only(v->text, v->end, m->start, v->count == 0 ? " \t\r\n{[" : " \t\r\n,"),
		"something between members");
	must(value >= v->text.at + m->start && value + m->value.raw.len == v->text.at + m->end,
		"value outside of its member");
	must(m->value.type != JSON_NONE && json_valid(m->value.raw), "value not valid by itself");
	if (v->object) {
		struct json_value name = { JSON_STRING, { m->key.at - 1, m->key.len + 2 } };
		char decoded[NAME_BYTES] = ""; /* left half written by a name that does not fit */

		must(value[-1] == ':' || only(v->text, (size_t)(value - v->text.at) - 1,
						 (size_t)(value - v->text.at), " \t\r\n"),
			"value does not follow its name");
		if (json_string(name, decoded, sizeof decoded) >= 0) {
			memcpy(v->name, decoded, sizeof decoded);
			v->named = true;
			v->value = m->value.raw;
		}
	}
	check_scalars(m->value);
	v->end = m->end;
	v->count++;
	return true;
}

static void
check_get(const struct view *v)
{
	struct json_value got = json_get(v->text, v->name);
	struct bytes again = BYTES_LIMIT(NAME_BYTES * 6 + 16);

	/* Of several members of that name the last counts, and this was the last that could be
	 * decoded; another way to write it would have been decoded as well. */
	must(got.raw.at == v->value.at && got.raw.len == v->value.len, "get differs from walk");

	/* Names with bytes that are no UTF-8 are mended by the escaper, so they may differ. */
	(void)bytes_puts(&again, "{");
	(void)bytes_json(&again, span_of(v->name));
	(void)bytes_puts(&again, ":1}");
	must(!again.failed && json_valid(bytes_span(&again)), "escaper writes what is no JSON");
	if (strstr(again.at, "\xEF\xBF\xBD") == NULL)
		must(json_get(bytes_span(&again), v->name).type == JSON_NUMBER,
			"name changed on its way");
	bytes_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data, size };
	struct view v = { .text = text, .object = true }, e = { .text = text };
	size_t at = size, first = 0;
	bool valid = json_valid(text), object, array;

	object = json_each(text, member, &v, &at) == 0;
	must(at <= size, "error behind the end");
	array = json_each_element(text, member, &e, &at) == 0;
	must(at <= size, "error behind the end");

	while (first < size && strchr(" \t\r\n", text.at[first]) != NULL && text.at[first] != '\0')
		first++;
	must(object == (valid && text.at[first] == '{'), "checker and object walk disagree");
	must(array == (valid && text.at[first] == '['), "checker and array walk disagree");
	if (object)
		must(only(text, v.end, size, " \t\r\n{}"), "something behind the last member");
	if (object && v.named)
		check_get(&v);
	check_scalars((struct json_value){ JSON_STRING, text });
	check_scalars((struct json_value){ JSON_NUMBER, text });
	(void)json_path(text, "a.b.c");
	return 0;
}
