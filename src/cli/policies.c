/* policies.c - policy try: what a policy would change, before it binds anybody. */
#include "cli/cli-int.h"

#include <stdio.h>
#include <string.h>

#define BODY_BYTES (1 << 20)

static bool
is_there(struct span object, const char *member)
{
	struct json_value v = json_get(object, member);

	return v.type != JSON_NONE && v.type != JSON_NULL && v.raw.len > 2;
}

static bool
show_rule(void *ctx, const struct json_member *m)
{
	(void)ctx;
	printf("     %.*s\n", (int)m->value.raw.len - 2, m->value.raw.at + 1);
	return true;
}

static bool
show_candidate(void *ctx, const struct json_member *m)
{
	struct span c = m->value.raw;

	printf("  %d.", ++*(int *)ctx);
	show_member(" ", c, "upstream");
	if (is_there(c, "key"))
		show_member(", key ", c, is_there(c, "key_label") ? "key_label" : "key");
	show_member(", model ", c, "model");
	puts(span_is(member_text(c, "stage"), "0") ? "" : ", as a fallback");
	(void)json_each_element(json_get(c, "failure_rules").raw, show_rule, NULL, NULL);
	return true;
}

static bool
show_out(void *ctx, const struct json_member *m)
{
	printf("%s %.*s %.*s", (*(int *)ctx)++ > 0 ? "," : "  kept out:", (int)m->value.raw.len,
		m->value.raw.at, (int)m->key.len, m->key.at);
	return true;
}

static void
show_side(const char *title, struct span reply, const char *side)
{
	struct span s = json_get(reply, side).raw;
	int candidates = 0, reasons = 0;

	printf("%s it:", title);
	if (is_there(s, "route"))
		show_member(" route ", s, "route");
	if (json_get(s, "tries").type == JSON_NUMBER)
		show_member(", at most this many attempts: ", s, "tries");
	if (json_get(s, "deadline_ms").type == JSON_NUMBER)
		show_member(", none begins after ms: ", s, "deadline_ms");
	puts("");
	(void)json_each_element(json_get(s, "candidates").raw, show_candidate, &candidates, NULL);
	if (is_there(s, "refused"))
		show_member("  refused: ", s, "refused"), puts("");
	(void)json_each(json_get(s, "out").raw, show_out, &reasons, NULL);
	if (reasons > 0)
		puts("");
}

static void
show_reply(const void *ctx, struct span reply)
{
	(void)ctx;
	show_side("Without", reply, "without");
	show_side("With", reply, "with");
	puts(json_get(reply, "same").type == JSON_TRUE
			? "It changes nothing for this request."
			: "It changes what becomes of this request.");
}

int
policy_try_main(const char *which, struct span fields, struct span ask, bool json)
{
	struct bytes body = BYTES_LIMIT(BODY_BYTES);
	int rc;

	if (ask.len == 0 || json_get(ask, "model").type == JSON_NONE)
		return complain(EXIT_USAGE, "policy try: --model says what is asked for");
	if (which != NULL && fields.len > 2)
		return complain(EXIT_USAGE,
			"policy try: a policy's name, or the fields of one to be made; not both");
	bytes_puts(&body, which != NULL ? "{\"policy_id\":" : "{\"policy\":");
	if (which != NULL)
		bytes_json(&body, span_of(which));
	else
		bytes_add(&body, fields.at, fields.len);
	bytes_puts(&body, ",\"ask\":");
	bytes_add(&body, ask.at, ask.len);
	bytes_puts(&body, "}");
	rc = state_ask(
		"POST", "/manage/policies/dry-run", bytes_span(&body), json, show_reply, NULL);
	bytes_free(&body);
	return rc;
}
