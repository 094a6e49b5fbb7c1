/*
 * names.c - names made fit by a rule, without a table in the way there.
 *
 * What a name becomes depends on it alone, so that calls in the history and the tools offered agree
 * without being looked up in one another.
 */
#include "wire/names.h"

#include "base/hash.h"
#include <string.h>

#define DIGEST_BYTES 4
#define DIGEST_CHARS (2 * DIGEST_BYTES + 1) /* "_" before it */

static bool
is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

static bool
is_allowed(const struct name_rule *rule, char c)
{
	return (is_letter(c) && c != '_') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr(rule->extra, c) != NULL);
}

static bool
fits(const struct name_rule *rule, struct span name)
{
	if (name.len == 0)
		return true; /* what is not there cannot be mended; the provider says so */
	if (name.len > rule->most || (rule->letter_first && !is_letter(name.at[0])))
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!is_allowed(rule, name.at[i]))
			return false;
	return true;
}

static struct span
made_fit(struct arena *a, const struct name_rule *rule, struct span name)
{
	bool before = rule->letter_first && !is_letter(name.at[0]);
	size_t keep = rule->most - DIGEST_CHARS - (before ? 1 : 0);
	uint8_t digest[SHA256_BYTES];
	char *out, *at;

	if (keep > name.len)
		keep = name.len;
	at = out = arena_alloc(a, keep + DIGEST_CHARS + 2);
	if (out == NULL)
		return SPAN_NONE;
	if (before)
		*at++ = '_';
	for (size_t i = 0; i < keep; i++)
		*at++ = is_allowed(rule, name.at[i]) ? name.at[i] : '_';
	*at++ = '_';
	hash_sha256(name.at, name.len, digest);
	hash_hex(digest, DIGEST_BYTES, at);
	return (struct span){ out, (size_t)(at - out) + 2 * DIGEST_BYTES };
}

/* 0, or -1 out of memory. */
static int
fit(struct arena *a, const struct name_rule *rule, struct span *name)
{
	struct span made;

	if (fits(rule, *name))
		return 0;
	made = made_fit(a, rule, *name);
	if (made.at == NULL)
		return -1;
	*name = made;
	return 0;
}

static int
fit_tools(struct neutral_request *n, const struct name_rule *rule, struct names *out)
{
	for (size_t i = 0; i < n->tool_count; i++) {
		struct neutral_tool *t = &n->tool[i];
		struct span client = t->name;

		if (t->kind == TOOL_HOSTED || fits(rule, client))
			continue;
		if (out->pair == NULL)
			out->pair = arena_alloc(n->arena, n->tool_count * sizeof *out->pair);
		if (out->pair == NULL || fit(n->arena, rule, &t->name) != 0)
			return -1;
		out->pair[out->count].client = client;
		out->pair[out->count++].sent = t->name;
	}
	return 0;
}

static int
fit_history(struct neutral_request *n, const struct name_rule *rule)
{
	for (size_t m = 0; m < n->message_count; m++)
		for (size_t i = 0; i < n->message[m].count; i++) {
			struct neutral_part *p = &n->message[m].part[i];

			if ((p->kind == PART_TOOL_CALL || p->kind == PART_TOOL_RESULT) &&
				fit(n->arena, rule, &p->name) != 0)
				return -1;
		}
	return 0;
}

int
names_fit(struct neutral_request *n, const struct name_rule *rule, struct names *out)
{
	*out = (struct names){ 0 };
	if (fit_tools(n, rule, out) != 0 || fit_history(n, rule) != 0 ||
		fit(n->arena, rule, &n->choice_name) != 0)
		return -1;
	for (size_t i = 0; i < n->allowed_count; i++)
		if (fit(n->arena, rule, &n->allowed[i]) != 0)
			return -1;
	return 0;
}

struct span
names_back(const struct names *names, struct span sent)
{
	for (size_t i = 0; names != NULL && i < names->count; i++) {
		struct span s = names->pair[i].sent;

		if (s.len == sent.len && memcmp(s.at, sent.at, s.len) == 0)
			return names->pair[i].client;
	}
	return sent;
}
