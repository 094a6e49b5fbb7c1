/* quote.c - quote: what would become of a request, asked before it is sent. */
#include "cli/cli-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX (1024 * 1024)

static const char usage[] =
	"usage: sluice quote --model M [--project P | --token T] [--endpoint PATH] [--upstream U]\n"
	"       [--input-tokens N] [--max-tokens N] [--end-user E] [--session S] [--tag T]...\n"
	"       [--body FILE] [--json]";

static const struct option {
	const char *word, *member;
	bool is_number;
} options[] = {
	{ "--model", "model", false },
	{ "--project", "project", false },
	{ "--token", "token", false },
	{ "--endpoint", "endpoint", false },
	{ "--upstream", "upstream", false },
	{ "--input-tokens", "input_tokens", true },
	{ "--max-tokens", "max_tokens", true },
	{ "--end-user", "end_user", false },
	{ "--session", "session", false },
};

/* ---- what is shown ---- */

static bool
show_candidate(void *ctx, const struct json_member *m)
{
	struct span c = m->value.raw;

	++*(int *)ctx;
	printf("  %d.", *(int *)ctx);
	show_member(" ", c, "upstream");
	show_member(", key ", c, "key_id");
	show_member(", model ", c, "model");
	if (json_get(c, "probe").type == JSON_TRUE)
		printf(", to find out whether it is back");
	show_member(": at worst $", c, "worst_cost");
	show_member(", usually $", c, "usual_cost");
	if (json_get(c, "dropped").type == JSON_STRING && member_text(c, "dropped").len > 0)
		show_member("; would lose: ", c, "dropped");
	if (json_get(c, "refused_by").type == JSON_STRING)
		show_member("; ", c, "refused_by");
	puts("");
	return true;
}

static bool
show_other(void *ctx, const struct json_member *m)
{
	(void)ctx;
	show_member("  not ", m->value.raw, "upstream");
	show_member(", key ", m->value.raw, "key_id");
	show_member(": ", m->value.raw, "reason");
	if (json_get(m->value.raw, "until").type == JSON_STRING)
		show_member(" until ", m->value.raw, "until");
	puts("");
	return true;
}

static bool
show_limit(void *ctx, const struct json_member *m)
{
	struct span l = m->value.raw;

	(void)ctx;
	show_member(json_get(l, "refuses").type == JSON_TRUE ? "  ! " : "  ", l, "limit_id");
	show_member(" on ", l, "metric");
	show_member(": ", l, "used");
	show_member(" used and ", l, "reserved");
	show_member(" held of ", l, "cap");
	show_member(", ", l, "remaining");
	show_member(" left, would take ", l, "takes");
	show_member(", resets ", l, "resets");
	puts("");
	return true;
}

static void
show_queue(struct json_value queue)
{
	if (queue.type != JSON_OBJECT)
		return;
	show_member("All who could serve it are busy: it would wait, with ", queue.raw, "ahead");
	show_member(" before it, for at most ", queue.raw, "may_wait_ms");
	puts(" ms.");
}

static void
show_quote(const void *ctx, struct span q)
{
	int count = 0;

	(void)ctx;
	if (json_get(q, "would_admit").type == JSON_TRUE) {
		show_member("It would be let in; at worst it costs $", q, "worst_cost");
		show_member(", usually $", q, "usual_cost");
		puts(".");
		show_queue(json_get(q, "queue"));
	} else {
		show_member("It would be refused: ", json_get(q, "error").raw, "message");
		puts("");
		if (json_get(q, "may_go").type == JSON_STRING) {
			show_member("It may go at ", q, "may_go");
			puts(".");
		}
	}
	show_member("Route: ", q, "route");
	puts("\nWho would be asked, in order:");
	(void)json_each_element(json_get(q, "candidates").raw, show_candidate, &count, NULL);
	if (count == 0)
		puts("  nobody");
	(void)json_each_element(json_get(q, "others").raw, show_other, NULL, NULL);
	puts("Limits that bind it:");
	if (json_each_element(json_get(q, "limits").raw, show_limit, NULL, NULL) == 0 &&
		json_get(q, "limits").raw.len <= 2)
		puts("  none");
}

/* ---- the call ---- */

static void
add_name(struct bytes *body, const char *name)
{
	bytes_printf(body, "%s\"%s\":", body->len > 1 ? "," : "", name);
}

static const struct option *
option_of(const char *word)
{
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
		if (strcmp(word, options[i].word) == 0)
			return &options[i];
	return NULL;
}

/* One word and its value; EXIT_DONE, or another after having complained. */
static int
add_option(struct bytes *body, struct bytes *tags, const char *word, const char *value)
{
	const struct option *o = option_of(word);
	struct bytes text = BYTES_LIMIT(BODY_MAX);
	int rc = EXIT_DONE;

	if (value == NULL)
		return complain(EXIT_USAGE, "quote: %s wants a value\n%s", word, usage);
	if (strcmp(word, "--tag") == 0) {
		bytes_puts(tags, tags->len > 0 ? "," : "");
		bytes_json(tags, span_of(value));
	} else if (strcmp(word, "--body") == 0) {
		if ((rc = words_file(value, &text)) == EXIT_DONE && !json_valid(bytes_span(&text)))
			rc = complain(EXIT_USAGE, "quote: %s is no JSON", value);
		if (rc == EXIT_DONE) {
			add_name(body, "body");
			bytes_add(body, text.at, text.len);
		}
		bytes_free(&text);
	} else if (o == NULL) {
		return complain(EXIT_USAGE, "quote: '%s' is not known here\n%s", word, usage);
	} else {
		add_name(body, o->member);
		if (!o->is_number)
			bytes_json(body, span_of(value));
		else if (value[0] == '\0' || strspn(value, "0123456789") != strlen(value))
			return complain(EXIT_USAGE, "quote: %s wants a number", word);
		else
			bytes_puts(body, value);
	}
	return rc;
}

int
quote_main(int argc, char **argv)
{
	struct bytes body = BYTES_LIMIT(BODY_MAX), tags = BYTES_LIMIT(4096);
	bool json = false;
	int rc = EXIT_DONE;

	bytes_puts(&body, "{");
	for (int i = 1; i < argc && rc == EXIT_DONE; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(argv[i], "--help") == 0) {
			bytes_free(&body);
			bytes_free(&tags);
			return puts(usage) < 0 ? EXIT_FAILED : EXIT_DONE;
		}
		if (strcmp(argv[i], "--json") == 0) {
			json = true;
		} else if (strcmp(argv[i], "--config") == 0 && value != NULL) {
			setenv("SLUICE_CONFIG", argv[++i], 1);
		} else {
			rc = add_option(&body, &tags, argv[i], value);
			i++;
		}
	}
	if (tags.len > 0) {
		add_name(&body, "tags");
		bytes_printf(&body, "[%s]", tags.at);
	}
	bytes_puts(&body, "}");
	if (rc == EXIT_DONE && (body.failed || tags.failed))
		rc = complain(EXIT_USAGE, "quote: this is too much for one request");
	if (rc == EXIT_DONE)
		rc = state_ask(
			"POST", "/manage/routes/quote", bytes_span(&body), json, show_quote, NULL);
	bytes_free(&body);
	bytes_free(&tags);
	return rc;
}
