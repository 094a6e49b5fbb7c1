/*
 * mock_route.c - from a path to the protocol that it means; and the API that is no model's.
 */
#include "cli/mock-int.h"

#include "base/json.h"
#include <stdio.h>
#include <string.h>

#define DEPLOYMENT "/v2/inference/deployments/"

static struct span
after(struct span path, const char *prefix)
{
	size_t len = strlen(prefix);

	return span_starts(path, prefix) ? (struct span){ path.at + len, path.len - len }
					 : SPAN_NONE;
}

/* Takes off the first segment, decoded. */
static bool
take_segment(struct span *path, char *out, size_t out_bytes)
{
	const char *slash = path->len == 0 ? NULL : memchr(path->at, '/', path->len);
	size_t len = slash == NULL ? path->len : (size_t)(slash - path->at), n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned hex;

		if (n + 1 >= out_bytes)
			return false;
		if (path->at[i] == '%' && i + 2 < len &&
			sscanf(path->at + i + 1, "%2x", &hex) == 1) {
			out[n++] = (char)hex;
			i += 2;
		} else {
			out[n++] = path->at[i];
		}
	}
	out[n] = '\0';
	path->at += len;
	path->len -= len;
	return n > 0;
}

/* ---- what a path means ---- */

enum target { TO_OPENAI, TO_ANTHROPIC, TO_GEMINI, TO_BEDROCK, TO_PLAIN, TO_DEPLOYMENTS };

struct way {
	enum target to;
	struct span rest; /* of the path, for the target */
	char name[256];   /* model or deployment */
};

static void
find_sap(struct mock_exchange *x, struct way *w, struct span rest)
{
	x->sap = true;
	x->dialect = MOCK_AZURE;
	if (!take_segment(&rest, w->name, sizeof w->name))
		return;
	w->rest = rest;
	if (span_starts(rest, "/converse") || span_starts(rest, "/invoke")) {
		x->dialect = MOCK_BEDROCK;
		w->to = TO_BEDROCK;
		w->rest = after(rest, "/");
	} else if (span_starts(rest, "/models/")) {
		x->dialect = MOCK_GEMINI;
		w->to = TO_GEMINI;
		w->rest = after(rest, "/");
	}
}

/* /v1/projects/p/locations/l/publishers/{google,anthropic}/models/m:method */
static bool
find_vertex(struct mock_exchange *x, struct way *w)
{
	const char *at;

	if (!span_starts(x->path, "/v1/projects/") && !span_starts(x->path, "/v1beta1/projects/"))
		return false;
	at = memmem(x->path.at, x->path.len, "/publishers/", 12);
	if (at == NULL)
		return false;
	x->vertex = true;
	w->rest = (struct span){ at + 12, (size_t)(x->path.at + x->path.len - at - 12) };
	if (span_starts(w->rest, "google/")) {
		x->dialect = MOCK_GEMINI;
		w->to = TO_GEMINI;
		w->rest = after(w->rest, "google/");
	} else {
		x->dialect = MOCK_ANTHROPIC;
		w->to = TO_ANTHROPIC;
		w->rest = after(w->rest, "anthropic/");
	}
	return true;
}

static bool
find_azure(struct mock_exchange *x, struct way *w)
{
	struct span rest = after(x->path, "/openai/deployments/");

	if (!span_starts(x->path, "/openai/"))
		return false;
	x->dialect = MOCK_AZURE;
	if (rest.at != NULL && take_segment(&rest, w->name, sizeof w->name))
		w->rest = rest;
	else if (span_starts(x->path, "/openai/v1/"))
		w->rest = after(x->path, "/openai/v1");
	else
		w->rest = after(x->path, "/openai");
	return true;
}

static void
find(struct mock_exchange *x, struct way *w)
{
	static const char *const versions[] = { "/v1beta/", "/v1alpha/" };
	struct span p = x->path;

	w->to = TO_OPENAI;
	w->rest = SPAN_NONE;
	w->name[0] = '\0';
	x->dialect = MOCK_OPENAI;
	if (span_starts(p, "/v1/messages") ||
		(span_starts(p, "/v1/models") && (mock_header(x, "anthropic-version").len > 0 ||
							 x->keys.x_api_key.len > 0))) {
		x->dialect = MOCK_ANTHROPIC;
		w->to = TO_ANTHROPIC;
		w->rest = after(p, "/v1");
		return;
	}
	for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++)
		if (span_starts(p, versions[i]) && !span_starts(p, "/v1beta/openai/") &&
			!span_starts(p, "/v1beta1/projects/")) {
			x->dialect = MOCK_GEMINI;
			w->to = TO_GEMINI;
			w->rest = after(p, versions[i]);
			return;
		}
	if (find_vertex(x, w) || find_azure(x, w))
		return;
	if (span_starts(p, "/model/")) {
		x->dialect = MOCK_BEDROCK;
		w->to = TO_BEDROCK;
		w->rest = after(p, "/model/");
		if (take_segment(&w->rest, w->name, sizeof w->name))
			w->rest = after(w->rest, "/");
	} else if (span_starts(p, "/api/v1/messages")) {
		x->openrouter = true;
		x->dialect = MOCK_ANTHROPIC;
		w->to = TO_ANTHROPIC;
		w->rest = after(p, "/api/v1");
	} else if (span_starts(p, "/api/v1/")) {
		x->openrouter = true;
		x->dialect = MOCK_OPENROUTER;
		w->rest = after(p, "/api/v1");
	} else if (span_starts(p, DEPLOYMENT)) {
		find_sap(x, w, after(p, DEPLOYMENT));
	} else if (span_is(p, "/v2/lm/deployments")) {
		x->sap = true;
		x->dialect = MOCK_AZURE;
		w->to = TO_DEPLOYMENTS;
	} else if (span_starts(p, "/plain/")) {
		w->to = TO_PLAIN;
	} else if (span_starts(p, "/v1/")) {
		w->rest = after(p, "/v1");
	}
}

/* ---- SAP's list, and the API that is no model's ---- */

static struct bytes page = { .limit = MOCK_OUT_BYTES };

static void
answer_deployments(struct mock_exchange *x)
{
	static const struct {
		const char *id, *model, *executable, *details, *status;
	} rows[] = {
		{ "d-claude", "anthropic--claude-4.5-sonnet", "aws-bedrock", "backendDetails",
			"RUNNING" },
		{ "d-gpt", "gpt-4.1", "azure-openai", "backendDetails", "RUNNING" },
		{ "d-gemini", "gemini-2.5-flash", "gcp-vertexai", "backend_details", "RUNNING" },
		{ "d-old", "anthropic--claude-4.5-sonnet", "aws-bedrock", "backendDetails",
			"STOPPED" },
	};
	struct span host = mock_header(x, "host");
	int count = 0;
	bool running;
	char status[32] = "";

	(void)mock_parameter(x->query, "status", status, sizeof status);
	running = strcmp(status, "RUNNING") == 0;
	page.len = 0;
	(void)bytes_puts(&page, "{\"resources\":[");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (running && strcmp(rows[i].status, "RUNNING") != 0)
			continue;
		(void)bytes_printf(&page,
			"%s{\"id\":\"%s\",\"status\":\"%s\",\"targetStatus\":\"%s\","
			"\"scenarioId\":\"foundation-models\",\"executableId\":\"%s\","
			"\"configurationName\":\"mock\",\"createdAt\":\"2026-01-15T12:0%zu:00Z\","
			"\"deploymentUrl\":\"http://%.*s" DEPLOYMENT "%s\",\"details\":{"
			"\"resources\":{\"%s\":{\"model\":{\"name\":\"%s\",\"version\":\"1\"}}}}}",
			count++ == 0 ? "" : ",", rows[i].id, rows[i].status, rows[i].status,
			rows[i].executable, i, (int)host.len, host.len == 0 ? "" : host.at,
			rows[i].id, rows[i].details, rows[i].model);
	}
	(void)bytes_printf(&page, "],\"count\":%d}", count);
	mock_reply(x, 200, "application/json", bytes_span(&page));
}

/* Its key is a header X-Plain-Token, "Authorization: Token …" or a parameter token. */
static void
answer_plain(struct mock_exchange *x)
{
	struct span key = mock_header(x, "x-plain-token");
	char given[512] = "";

	if (key.len == 0 && span_starts(x->keys.authorization, "Token "))
		key = after(x->keys.authorization, "Token ");
	if (key.len == 0 && mock_parameter(x->query, "token", given, sizeof given))
		key = span_of(given);
	if (mock_auth.strict && (key.len == 0 || !mock_key_is_good(key))) {
		mock_reply(x, 401, "application/json",
			SPAN_LIT("{\"ok\":false,\"why\":\"no token\"}"));
		return;
	}
	if (x->script.status != 200) {
		mock_reply(x, (int)x->script.status, "application/json",
			SPAN_LIT("{\"ok\":false,\"why\":\"told so\"}"));
		return;
	}
	page.len = 0;
	(void)bytes_puts(&page, "{\"ok\":true,\"method\":");
	(void)bytes_json(&page, x->method);
	(void)bytes_puts(&page, ",\"path\":");
	(void)bytes_json(&page, x->path);
	(void)bytes_puts(&page, ",\"key\":");
	(void)bytes_json(
		&page, key.len > 4 ? (struct span){ key.at + key.len - 4, 4 } : SPAN_LIT(""));
	(void)bytes_printf(&page,
		",\"temperature_c\":7,\"body_bytes\":%lld,\"body\":", (long long)x->body_bytes);
	if (x->body.len > 0 && json_valid(x->body))
		(void)bytes_add(&page, x->body.at, x->body.len);
	else
		(void)bytes_puts(&page, "null");
	(void)bytes_puts(&page, "}");
	mock_reply(x, 200, "application/json", bytes_span(&page));
}

/* "models/m:rawPredict" of the platform: the body has no model. */
static void
answer_vertex_claude(struct mock_exchange *x, struct span rest)
{
	char model[256];
	struct span part = after(rest, "models/");
	char *colon;

	if (!take_segment(&part, model, sizeof model) || (colon = strrchr(model, ':')) == NULL) {
		mock_error(x, 404, NULL);
		return;
	}
	*colon++ = '\0';
	anthropic_invoke(x, model, strcmp(colon, "streamRawPredict") == 0, FRAME_SSE);
}

static bool
is_served(const struct mock_exchange *x, const struct way *w)
{
	static const char *const names[MOCK_DIALECTS] = { [MOCK_OPENAI] = "openai",
		[MOCK_AZURE] = "azure",
		[MOCK_OPENROUTER] = "openrouter",
		[MOCK_ANTHROPIC] = "anthropic",
		[MOCK_GEMINI] = "gemini",
		[MOCK_BEDROCK] = "bedrock" };
	const char *name = w->to == TO_PLAIN ? "plain"
			   : x->sap          ? "sap"
			   : x->vertex       ? "vertex"
			   : x->openrouter   ? "openrouter"
					     : names[x->dialect];

	if (mock_auth.only != NULL && strcmp(mock_auth.only, "openai-chat") == 0)
		return strcmp(name, "openai") == 0 && !span_starts(w->rest, "/responses");
	return mock_auth.only == NULL || strcmp(mock_auth.only, name) == 0;
}

void
mock_route(struct mock_exchange *x, int bad, bool good)
{
	static struct way w;

	find(x, &w);
	if (mock_auth_answer(x))
		return;
	if (!is_served(x, &w)) {
		mock_reply(x, 404, "text/plain", SPAN_LIT("The mock serves another protocol."));
		return;
	}
	if (w.to == TO_PLAIN) {
		answer_plain(x);
		return;
	}
	if (bad != 0) {
		mock_error(x, bad, NULL);
		return;
	}
	/* Tokens and signatures are looked at next. */
	if (!good && !span_starts(x->keys.bearer, "mock-token.") &&
		(mock_auth.aws == NULL ||
			!span_starts(x->keys.authorization, "AWS4-HMAC-SHA256 "))) {
		mock_auth_refuse(x);
		return;
	}
	if (!mock_auth_admits(x))
		return;
	x->deployment = w.name;
	if (w.name[0] != '\0')
		mock_script_model(x, w.name);
	if (!mock_quota_take(x)) {
		mock_error_kind(x, KIND_RATE, NULL);
		return;
	}
	switch (w.to) {
	case TO_OPENAI:
		openai_answer(x, w.rest);
		break;
	case TO_ANTHROPIC:
		if (x->vertex)
			answer_vertex_claude(x, w.rest);
		else
			anthropic_answer(x, w.rest);
		break;
	case TO_GEMINI:
		gemini_answer(x, w.rest);
		break;
	case TO_BEDROCK:
		bedrock_answer(x, w.name, w.rest);
		break;
	case TO_DEPLOYMENTS:
		answer_deployments(x);
		break;
	case TO_PLAIN:
		break;
	}
}
