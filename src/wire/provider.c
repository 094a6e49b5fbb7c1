/*
 * provider.c - the table, and the paths.
 */
#include "wire/provider.h"

#include <string.h>

#define BIT(format) (1u << FORMAT_##format)
#define OPENAI_BOTH (BIT(OPENAI_CHAT) | BIT(OPENAI_RESPONSES))

static const struct provider providers[] = {
	{ "openai", true, DIALECT_OPENAI, OPENAI_BOTH, FORMAT_OPENAI_CHAT, "/v1" },
	/* servers that speak chat completions and no more */
	{ "openai_chat", true, DIALECT_OPENAI, BIT(OPENAI_CHAT), FORMAT_OPENAI_CHAT, "/v1" },
	{ "azure", true, DIALECT_OPENAI, BIT(OPENAI_CHAT) | BIT(AZURE), FORMAT_AZURE, "" },
	{ "openrouter", true, DIALECT_OPENAI, OPENAI_BOTH | BIT(OPENROUTER) | BIT(ANTHROPIC),
		FORMAT_OPENROUTER, "/api/v1" },
	{ "anthropic", true, DIALECT_ANTHROPIC, BIT(ANTHROPIC), FORMAT_ANTHROPIC, "/v1" },
	{ "gemini", true, DIALECT_GEMINI, BIT(GEMINI), FORMAT_GEMINI, "/v1beta" },
	{ "vertex", true, DIALECT_GEMINI, BIT(GEMINI), FORMAT_GEMINI, "" },
	{ "bedrock", true, DIALECT_BEDROCK, BIT(CONVERSE) | BIT(BEDROCK_INVOKE), FORMAT_CONVERSE,
		"" },
	{ "bedrock_invoke", true, DIALECT_BEDROCK, BIT(CONVERSE) | BIT(BEDROCK_INVOKE),
		FORMAT_BEDROCK_INVOKE, "" },
	/* one deployment each: its address is the base URL */
	{ "sap_openai", true, DIALECT_OPENAI, BIT(OPENAI_CHAT) | BIT(AZURE), FORMAT_AZURE, "" },
	{ "sap_converse", true, DIALECT_BEDROCK, 0, FORMAT_SAP_CONVERSE, "" },
	{ "sap_invoke", true, DIALECT_BEDROCK, 0, FORMAT_SAP_INVOKE, "" },
	{ "sap_gemini", true, DIALECT_GEMINI, BIT(GEMINI), FORMAT_GEMINI, "" },
	{ "http", false, DIALECT_OPENAI, 0, FORMAT_OPENAI_CHAT, "" },
};

const struct provider *
provider_at(int number)
{
	if (number < 0 || (size_t)number >= sizeof providers / sizeof providers[0])
		return NULL;
	return &providers[number];
}

static enum format_id
id_of(const struct format *f)
{
	return (enum format_id)(f - format_of(FORMAT_OPENAI_CHAT));
}

const struct format *
provider_format(const struct provider *p, const struct format *from)
{
	return (p->speaks >> id_of(from) & 1) != 0 ? from : format_of(p->into);
}

/* RFC 3986: all but the unreserved is escaped, so that it is one segment. */
static void
put_segment(struct bytes *out, struct span s)
{
	static const char kept[] = "-._~";

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.at[i];

		if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			(c != '\0' && strchr(kept, c) != NULL))
			(void)bytes_add(out, &s.at[i], 1);
		else
			(void)bytes_printf(out, "%%%02X", c);
	}
}

static void
put_gemini(const struct provider *p, const struct provider_call *call, struct bytes *out)
{
	struct span model = call->model;

	if (strcmp(p->name, "vertex") == 0)
		(void)bytes_puts(out, "/publishers/google");
	/* tuned models bring their folder along */
	if (span_starts(model, "models/"))
		model.at += strlen("models/"), model.len -= strlen("models/");
	if (span_starts(model, "tunedModels/")) {
		(void)bytes_puts(out, "/tunedModels/");
		model.at += strlen("tunedModels/"), model.len -= strlen("tunedModels/");
	} else {
		(void)bytes_puts(out, "/models/");
	}
	put_segment(out, model);
	(void)bytes_puts(out, !call->stream ? ":generateContent"
			      : call->array ? ":streamGenerateContent"
					    : ":streamGenerateContent?alt=sse");
}

static bool
is_sap(const struct provider *p)
{
	return strncmp(p->name, "sap_", 4) == 0;
}

static void
put_bedrock(const struct provider *p, const struct format *f, struct span model, bool stream,
	struct bytes *out)
{
	bool converse = f == format_of(FORMAT_CONVERSE) || f == format_of(FORMAT_SAP_CONVERSE);

	if (!is_sap(p)) {
		(void)bytes_puts(out, "/model/");
		put_segment(out, model);
	}
	(void)bytes_puts(out, converse ? "/converse" : "/invoke");
	if (stream)
		(void)bytes_puts(out, converse ? "-stream" : "-with-response-stream");
}

/* GA, and known to all resources; another one stands in base_url. */
#define AZURE_VERSION "api-version=2024-10-21"

/* The pieces of a base URL: without slashes at the end, and without the query. */
struct base {
	struct span url, query;
	bool bare; /* a host alone */
};

static struct base
read_base(const char *text)
{
	struct base b = { .url = span_of(text) };
	const char *mark = strchr(text, '?'), *host = strstr(text, "://");

	if (mark != NULL) {
		b.url.len = (size_t)(mark - text);
		b.query = span_of(mark + 1);
	}
	while (b.url.len > 0 && b.url.at[b.url.len - 1] == '/')
		b.url.len--;
	host = host == NULL ? text : host + 3;
	b.bare = host >= b.url.at + b.url.len ||
		 memchr(host, '/', (size_t)(b.url.at + b.url.len - host)) == NULL;
	return b;
}

static void
put_conversation(const struct provider *p, const struct provider_call *call, struct bytes *out)
{
	switch (id_of(call->format)) {
	case FORMAT_OPENAI_CHAT:
	case FORMAT_AZURE:
	case FORMAT_OPENROUTER:
		(void)bytes_puts(out, "/chat/completions");
		break;
	case FORMAT_OPENAI_RESPONSES:
		(void)bytes_puts(out, "/responses");
		break;
	case FORMAT_ANTHROPIC:
		(void)bytes_puts(out, "/messages");
		break;
	case FORMAT_GEMINI:
		put_gemini(p, call, out);
		break;
	default:
		put_bedrock(p, call->format, call->model, call->stream, out);
		break;
	}
}

/* Models have a folder of their publisher on Google's platform. */
static void
put_path(const struct provider *p, struct span path, struct bytes *out)
{
	if (strcmp(p->name, "vertex") == 0 && span_starts(path, "/models/"))
		(void)bytes_puts(out, "/publishers/google");
	(void)bytes_add(out, path.at, path.len);
}

static void
put_query(struct span query, bool *any, struct bytes *out)
{
	if (query.len == 0)
		return;
	(void)bytes_puts(out, *any ? "&" : "?");
	(void)bytes_add(out, query.at, query.len);
	*any = true;
}

/* Gemini takes uploads beside its API, not below it. */
static bool
leave_api(const struct provider *p, const struct provider_call *call, struct base *b)
{
	static const char *const versions[] = { "/v1beta", "/v1" };

	if (p->dialect != DIALECT_GEMINI || call->format != NULL ||
		!span_starts(call->path, "/upload/"))
		return false;
	for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++)
		if (span_ends(b->url, versions[i])) {
			b->url.len -= strlen(versions[i]);
			break;
		}
	return true;
}

int
provider_url(const struct provider *p, const char *base_url, const struct provider_call *call,
	struct bytes *out)
{
	struct base b = read_base(base_url);
	bool azure = strcmp(p->name, "azure") == 0 && !span_ends(b.url, "/openai/v1");
	bool beside = leave_api(p, call, &b), any;

	(void)bytes_add(out, b.url.at, b.url.len);
	if (b.bare && !beside)
		(void)bytes_puts(out, p->root);
	if (azure)
		(void)bytes_puts(out, "/openai");
	if (azure && call->model.len > 0) {
		(void)bytes_puts(out, "/deployments/");
		put_segment(out, call->model);
	}
	if (call->format != NULL)
		put_conversation(p, call, out);
	else
		put_path(p, call->path, out);
	any = !out->failed && memchr(out->at, '?', out->len) != NULL;
	put_query(b.query, &any, out);
	if (azure && b.query.len == 0 &&
		(call->query.len == 0 ||
			memmem(call->query.at, call->query.len, "api-version=", 12) == NULL))
		put_query(SPAN_LIT(AZURE_VERSION), &any, out);
	put_query(call->query, &any, out);
	return out->failed ? -1 : 0;
}

bool
provider_is_azure(const struct provider *p)
{
	return p->into == FORMAT_AZURE;
}

bool
provider_model_in_body(const struct provider *p, const struct format *f)
{
	(void)p;
	switch (id_of(f)) {
	case FORMAT_OPENAI_CHAT:
	case FORMAT_OPENAI_RESPONSES:
	case FORMAT_OPENROUTER:
	case FORMAT_ANTHROPIC:
		return true;
	default:
		return false;
	}
}
