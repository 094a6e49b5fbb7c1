/*
 * models.c - lists of models: where each provider has them, and what is taken from them.
 *
 * One reader for all: a list is an array at a known place, and a model an object in which the name and
 * what else we want stand under a few names.
 */
#include "errand/errand-int.h"

#include "base/json.h"
#include "wire/auth.h"
#include "wire/provider.h"

#include <stdio.h>
#include <string.h>

#define PAGE_SIZE "1000"
/* The last version of Azure's data plane that lists deployments. */
#define AZURE_LISTS "2023-03-15-preview"

enum list_kind {
	LIST_PLAIN,
	LIST_ANTHROPIC,
	LIST_GEMINI,
	LIST_VERTEX,
	LIST_AZURE,
	LIST_BEDROCK,
	LIST_SAP,
	LIST_NONE
};

struct span
errand_base(const char *base_url)
{
	struct span s = { base_url, strcspn(base_url, "?") };

	while (s.len > 0 && s.at[s.len - 1] == '/')
		s.len--;
	return s;
}

static enum list_kind
kind_of(const struct upstream *u)
{
	switch ((enum upstream_protocol)u->protocol) {
	case PROTOCOL_OPENAI:
	case PROTOCOL_OPENAI_CHAT:
	case PROTOCOL_OPENROUTER:
		return LIST_PLAIN;
	case PROTOCOL_AZURE:
		return span_ends(errand_base(u->base_url), "/openai/v1") ? LIST_PLAIN : LIST_AZURE;
	case PROTOCOL_ANTHROPIC:
		return LIST_ANTHROPIC;
	case PROTOCOL_GEMINI:
		return LIST_GEMINI;
	case PROTOCOL_VERTEX:
		return LIST_VERTEX;
	case PROTOCOL_BEDROCK:
	case PROTOCOL_BEDROCK_INVOKE:
		return LIST_BEDROCK;
	case PROTOCOL_SAP_OPENAI:
	case PROTOCOL_SAP_CONVERSE:
	case PROTOCOL_SAP_INVOKE:
	case PROTOCOL_SAP_GEMINI:
		return LIST_SAP;
	default:
		return LIST_NONE;
	}
}

/* ---- where ---- */

/* Scheme and host of an address. */
static struct span
origin_of(const char *url)
{
	const char *host = strstr(url, "://");
	size_t len = host == NULL ? 0 : (size_t)(host + 3 - url);

	return (struct span){ url, len + strcspn(url + len, "/?") };
}

static void
put_span(struct bytes *out, struct span s)
{
	(void)bytes_add(out, s.at, s.len);
}

/* Models are listed by another host than that which runs them. */
static void
put_bedrock(const struct upstream *u, struct bytes *out)
{
	static const char runs[] = "://bedrock-runtime.";
	struct span base = errand_base(u->base_url);
	const char *at = memmem(base.at, base.len, runs, sizeof runs - 1);
	size_t head = at == NULL ? 0 : (size_t)(at - base.at);

	if (at == NULL) {
		put_span(out, base);
	} else {
		put_span(out, (struct span){ base.at, head });
		(void)bytes_puts(out, "://bedrock.");
		put_span(out,
			(struct span){ at + sizeof runs - 1, base.len - head - (sizeof runs - 1) });
	}
	(void)bytes_puts(out, "/foundation-models");
}

/* base_url names one deployment, or the API. */
static void
put_sap(const struct upstream *u, struct bytes *out)
{
	struct span base = errand_base(u->base_url);
	const char *at = memmem(base.at, base.len, "/v2/", 4);

	if (at != NULL)
		base.len = (size_t)(at - base.at);
	else if (span_ends(base, "/v2"))
		base.len -= 3;
	put_span(out, base);
	(void)bytes_puts(out, "/v2/lm/deployments?status=RUNNING");
}

static int
put_plain(const struct upstream *u, const char *query, struct bytes *out)
{
	const struct provider *p = provider_at(u->protocol);
	struct provider_call call = { .path = SPAN_LIT("/models"), .query = span_of(query) };

	return p == NULL ? -1 : provider_url(p, u->base_url, &call, out);
}

static void
put_page(const char *name, struct span page, struct bytes *out)
{
	if (page.len == 0)
		return;
	(void)bytes_printf(out, "&%s=", name);
	(void)auth_escape(page, out);
}

int
models_url(const struct upstream *u, struct span page, struct bytes *out, struct err *err)
{
	switch (kind_of(u)) {
	case LIST_PLAIN:
		(void)put_plain(u, "", out);
		break;
	case LIST_ANTHROPIC:
		(void)put_plain(u, "limit=" PAGE_SIZE, out);
		put_page("after_id", page, out);
		break;
	case LIST_GEMINI:
		(void)put_plain(u, "pageSize=" PAGE_SIZE, out);
		put_page("pageToken", page, out);
		break;
	case LIST_VERTEX:
		put_span(out, origin_of(u->base_url));
		(void)bytes_puts(out, "/v1beta1/publishers/google/models?pageSize=100");
		put_page("pageToken", page, out);
		break;
	case LIST_AZURE:
		put_span(out, errand_base(u->base_url));
		(void)bytes_puts(out, "/openai/deployments?api-version=" AZURE_LISTS);
		break;
	case LIST_BEDROCK:
		put_bedrock(u, out);
		break;
	case LIST_SAP:
		put_sap(u, out);
		break;
	case LIST_NONE:
		return err_set(err, ERR_BAD_REQUEST, "an upstream of plain HTTP lists no models");
	}
	return out->failed ? err_set(err, ERR_MEMORY, "no memory for an address") : 0;
}

/* ---- what ---- */

struct reading {
	const struct upstream *u;
	enum list_kind kind;
	struct models_page *page;
	struct bytes *text;
	struct span deployment; /* the one that SAP's upstream is; "" all */
};

static bool
is_zero(struct json_value v)
{
	char text[32];
	bool digits = false;

	if (v.type == JSON_NUMBER)
		(void)span_copy(v.raw, text, sizeof text);
	else if (v.type != JSON_STRING || json_string(v, text, sizeof text) < 0)
		return false;
	for (const char *c = text; *c != '\0'; c++) {
		if (*c != '0' && *c != '.')
			return false;
		digits |= *c == '0';
	}
	return digits;
}

/* All prices that are stated are nothing, and those of text are stated. */
static bool
costs_nothing(struct json_value pricing)
{
	static const char *const others[] = { "request", "image", "web_search",
		"internal_reasoning" };

	if (pricing.type != JSON_OBJECT || !is_zero(json_get(pricing.raw, "prompt")) ||
		!is_zero(json_get(pricing.raw, "completion")))
		return false;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		struct json_value v = json_get(pricing.raw, others[i]);

		if (v.type != JSON_NONE && v.type != JSON_NULL && !is_zero(v))
			return false;
	}
	return true;
}

static int64_t
context_of(struct span model)
{
	static const char *const names[] = { "context_length", "context_window", "max_model_len",
		"inputTokenLimit", "max_input_tokens" };
	int64_t n;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (json_int(json_get(model, names[i]), &n) == 0 && n > 0 &&
			n < INT64_C(1000000000000))
			return n;
	return 0;
}

/* The text of a member, fit for a line; false when it is none. */
static bool
word_of(struct json_value v, char *out, size_t room)
{
	ptrdiff_t len = v.type == JSON_STRING ? json_string(v, out, room) : -1;

	if (len <= 0)
		return false;
	for (ptrdiff_t i = 0; i < len; i++)
		if ((unsigned char)out[i] < ' ' || out[i] == 0x7f)
			return false;
	return true;
}

static bool
name_of(const struct reading *r, struct span model, char out[MODEL_BYTES])
{
	const char *slash;

	switch (r->kind) {
	case LIST_GEMINI:
		if (!word_of(json_get(model, "name"), out, MODEL_BYTES))
			return false;
		if (strncmp(out, "models/", 7) == 0)
			memmove(out, out + 7, strlen(out + 7) + 1);
		return out[0] != '\0';
	case LIST_VERTEX:
		if (!word_of(json_get(model, "name"), out, MODEL_BYTES))
			return false;
		slash = strrchr(out, '/');
		if (slash != NULL)
			memmove(out, slash + 1, strlen(slash + 1) + 1);
		return out[0] != '\0';
	case LIST_BEDROCK:
		return word_of(json_get(model, "modelId"), out, MODEL_BYTES);
	case LIST_SAP:
		return word_of(json_path(model, "details.resources.backend_details.model.name"),
			       out, MODEL_BYTES) ||
		       word_of(json_path(model, "details.resources.backendDetails.model.name"), out,
			       MODEL_BYTES);
	default:
		return word_of(json_get(model, "id"), out, MODEL_BYTES) ||
		       word_of(json_get(model, "name"), out, MODEL_BYTES);
	}
}

/* Does what is listed belong to this upstream, and does it work? */
static bool
is_wanted(const struct reading *r, struct span model)
{
	char text[MODEL_BYTES];

	if (r->kind == LIST_AZURE)
		return !word_of(json_get(model, "status"), text, sizeof text) ||
		       strcmp(text, "succeeded") == 0;
	if (r->kind != LIST_SAP)
		return true;
	if (word_of(json_get(model, "status"), text, sizeof text) && strcmp(text, "RUNNING") != 0)
		return false;
	return r->deployment.len == 0 ||
	       (word_of(json_get(model, "id"), text, sizeof text) && span_is(r->deployment, text));
}

static bool
take_model(void *ctx, const struct json_member *m)
{
	struct reading *r = ctx;
	char name[MODEL_BYTES], modality[MODALITY_BYTES];
	size_t len;

	if (m->value.type != JSON_OBJECT || !is_wanted(r, m->value.raw) ||
		!name_of(r, m->value.raw, name))
		return true;
	if (r->page->count == MODELS_MAX) {
		r->page->is_cut = true;
		return false;
	}
	if (!word_of(json_path(m->value.raw, "architecture.modality"), modality, sizeof modality) ||
		strchr(modality, ' ') != NULL)
		(void)strcpy(modality, "-");
	len = strlen(name);
	r->page->count++;
	return bytes_printf(r->text, "%lld %s %s %s\n", (long long)context_of(m->value.raw),
		       (len > 5 && strcmp(name + len - 5, ":free") == 0) ||
				       costs_nothing(json_get(m->value.raw, "pricing"))
			       ? "f"
			       : "-",
		       modality, name) == 0;
}

static struct json_value
list_of(const struct reading *r, struct span body)
{
	static const char *const plain[] = { "data", "models" };
	struct json_value v = { JSON_NONE, SPAN_NONE };

	switch (r->kind) {
	case LIST_GEMINI:
		return json_get(body, "models");
	case LIST_VERTEX:
		return json_get(body, "publisherModels");
	case LIST_BEDROCK:
		return json_get(body, "modelSummaries");
	case LIST_SAP:
		return json_get(body, "resources");
	default:
		for (size_t i = 0; i < 2 && v.type != JSON_ARRAY; i++)
			v = json_get(body, plain[i]);
		return v;
	}
}

static void
read_next(const struct reading *r, struct span body)
{
	struct models_page *page = r->page;

	page->next[0] = '\0';
	if (r->kind == LIST_GEMINI || r->kind == LIST_VERTEX) {
		if (!word_of(json_get(body, "nextPageToken"), page->next, sizeof page->next))
			page->next[0] = '\0';
	} else if (r->kind == LIST_ANTHROPIC && json_get(body, "has_more").type == JSON_TRUE) {
		if (!word_of(json_get(body, "last_id"), page->next, sizeof page->next))
			page->next[0] = '\0';
	}
}

static struct span
deployment_of(const struct upstream *u)
{
	static const char where[] = "/deployments/";
	struct span base = errand_base(u->base_url);
	const char *at = memmem(base.at, base.len, where, sizeof where - 1);
	struct span id = SPAN_LIT("");

	if (at == NULL)
		return id;
	id.at = at + sizeof where - 1;
	id.len = (size_t)(base.at + base.len - id.at);
	for (size_t i = 0; i < id.len; i++)
		if (id.at[i] == '/')
			id.len = i;
	return id;
}

int
models_read(const struct upstream *u, struct span body, struct models_page *page,
	struct bytes *text, struct err *err)
{
	struct reading r = { .u = u, .kind = kind_of(u), .page = page, .text = text };
	struct json_value list = { JSON_ARRAY, body };

	if (r.kind == LIST_SAP)
		r.deployment = deployment_of(u);
	while (body.len > 0 && body.at[0] != '\0' && strchr(" \t\r\n", body.at[0]) != NULL)
		body.at++, body.len--;
	/* some give the array alone */
	if (body.len == 0 || body.at[0] != '[')
		list = list_of(&r, body);
	page->next[0] = '\0';
	if (list.type != JSON_ARRAY || !json_valid(body) ||
		(json_each_element(list.raw, take_model, &r, NULL) != 0 && !text->failed))
		return err_set(err, ERR_UPSTREAM_UNREACHABLE, "the answer is no list of models");
	if (text->failed)
		return err_set(err, ERR_MEMORY, "no memory for a list of models");
	if (body.at[0] == '{' && !page->is_cut)
		read_next(&r, body);
	return 0;
}
