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
put_gemini(const struct provider *p, struct span model, bool stream, struct bytes *out)
{
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
	(void)bytes_puts(out, stream ? ":streamGenerateContent?alt=sse" : ":generateContent");
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

int
provider_path(const struct provider *p, const struct format *f, struct span model, bool stream,
	struct bytes *out)
{
	switch (id_of(f)) {
	case FORMAT_AZURE:
		if (!is_sap(p)) {
			(void)bytes_puts(out, "/openai/deployments/");
			put_segment(out, model);
		}
		(void)bytes_puts(out, "/chat/completions");
		break;
	case FORMAT_OPENAI_CHAT:
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
		put_gemini(p, model, stream, out);
		break;
	default:
		put_bedrock(p, f, model, stream, out);
		break;
	}
	return out->failed ? -1 : 0;
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
