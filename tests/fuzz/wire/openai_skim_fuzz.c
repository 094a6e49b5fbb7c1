/*
 * openai_skim_fuzz.c - a client's body may be any bytes.
 *
 * Properties: what is taken is valid JSON; rewritten, it is valid JSON still, skims to the same but for
 * what was to change, has the same other members with the same bytes in the same order, and
 * rewriting it again changes nothing.  The same bytes are tried as a multipart body, whose model can
 * be replaced and found again.  The first byte chooses endpoint and upstream model.
 */
#include "wire/openai.h"

#include "../../lib/fuzz.h"
#include <string.h>

#define MEMBERS_MOST 512

struct members {
	struct json_member at[MEMBERS_MOST];
	size_t count;
};

static bool
note(void *ctx, const struct json_member *m)
{
	struct members *all = ctx;

	if (all->count < MEMBERS_MOST)
		all->at[all->count++] = *m;
	return true;
}

static bool
same(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* Each member of before stands in after at its place; values may differ only where they were spliced. */
static void
keeps_members(struct span before, struct span after, const struct openai_request *q)
{
	static struct members was, is;

	was.count = is.count = 0;
	must(json_each(before, note, &was, NULL) == 0);
	must(json_each(after, note, &is, NULL) == 0);
	must(is.count >= was.count && is.count <= was.count + 1);
	for (size_t i = 0; i < was.count; i++) {
		must(same(was.at[i].key, is.at[i].key));
		if (was.at[i].value.raw.at != q->model_value.raw.at &&
			was.at[i].value.raw.at != q->stream_options.raw.at)
			must(same(was.at[i].value.raw, is.at[i].value.raw));
	}
}

static void
try_json(struct span body, const char *endpoint, const char *model)
{
	struct openai_request q, again;
	struct err err = { .code = ERR_NONE };
	struct arena *a;
	struct span out, twice;

	if (openai_skim(body, endpoint, &q, &err) != 0) {
		must(err.code == ERR_BAD_REQUEST && err.says[0] != '\0');
		return;
	}
	must(json_valid(body));
	must(body.at[q.object_end] == '}');
	must(q.choices >= 1 && q.max_output >= -1 && q.input_estimate >= 0);
	must(strlen(q.end_user) < sizeof q.end_user);

	a = arena_new((size_t)64 << 20);
	must(a != NULL);
	out = openai_rewrite(a, body, &q, endpoint, model);
	must(out.at != NULL);
	must(openai_skim(out, endpoint, &again, &err) == 0);
	keeps_members(body, out, &q);
	if (q.model_value.type == JSON_STRING && model != NULL)
		must(strcmp(again.model, model) == 0);
	else
		must(strcmp(again.model, q.model) == 0);
	must(again.stream == q.stream && again.max_output == q.max_output &&
		again.choices == q.choices);
	must(strcmp(again.end_user, q.end_user) == 0 && again.input_estimate == q.input_estimate);
	if (q.stream && strstr(endpoint, "completions") != NULL &&
		(q.stream_options.type <= JSON_NULL || q.stream_options.type == JSON_OBJECT))
		must(again.wants_usage);
	twice = openai_rewrite(a, out, &again, endpoint, model);
	must(twice.at == out.at && twice.len == out.len);
	arena_free(a);
}

static void
try_multipart(struct span body)
{
	static const char type[] = "multipart/form-data; boundary=\"b\"";
	char model[64], again[64];
	struct err err = { .code = ERR_NONE };
	struct arena *a;
	struct span out;
	int rc = openai_skim_multipart(body, type, model, sizeof model, &err);

	must(rc == 0 ? model[0] != '\0' : model[0] == '\0');
	must((rc < 0) == (err.code != ERR_NONE));
	if (rc != 0)
		return;
	a = arena_new((size_t)64 << 20);
	must(a != NULL);
	out = openai_rewrite_multipart(a, body, type, "other");
	must(out.at != NULL && out.len == body.len - strlen(model) + 5);
	must(openai_skim_multipart(out, type, again, sizeof again, &err) == 0);
	must(strcmp(again, "other") == 0);
	arena_free(a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const endpoints[] = { "/v1/chat/completions", "/v1/completions",
		"/v1/responses", "/v1/files" };
	static const char *const models[] = { NULL, "gpt", "a\"b\\\xC3\xA4", "gpt" };
	struct span body;

	if (size == 0)
		return 0;
	body = (struct span){ (const char *)data + 1, size - 1 };
	try_json(body, endpoints[data[0] & 3], models[data[0] >> 2 & 3]);
	try_multipart(body);
	return 0;
}
