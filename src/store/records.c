/* records.c - the fields of each kind, and what goes for all kinds. */
#include "store/records.h"

#include "base/clock.h"
#include "base/money.h"
#include <stdlib.h>
#include <string.h>

/* Every kind begins with these; tags below 16 are theirs. */
#define HEAD_FIELDS(type, prefix)                                                                  \
	{ 1, "id", FIELD_ID, FIELD_READ, offsetof(type, head.id), sizeof(struct id), 0, 0, prefix, \
		NULL, "identifier" },                                                              \
		{ 2, "created_at", FIELD_TIME, FIELD_READ, offsetof(type, head.created_ms), 8, 0,  \
			0, NULL, NULL, "when it was made" },                                       \
		{ 3, "updated_at", FIELD_TIME, FIELD_READ, offsetof(type, head.updated_ms), 8, 0,  \
			0, NULL, NULL, "when it was last changed" },                               \
	{                                                                                          \
		4, "version", FIELD_INT, FIELD_READ | FIELD_HIDDEN, offsetof(type, head.version),  \
			8, 0, 0, NULL, NULL, "counts its changes"                                  \
	}

#define AT(type, member) offsetof(struct type, member), sizeof(((struct type *)0)->member)

#define DAY_MS   86400000LL
#define TIME_MAX 253402300799999LL /* the year 9999 */

static const struct field project_fields[] = {
	HEAD_FIELDS(struct project, "prj_"),
	{ 16, "name", FIELD_TEXT, FIELD_REQUIRED, AT(project, name), 0, 0, NULL, NULL,
		"unique name" },
	{ 17, "is_active", FIELD_BOOL, 0, AT(project, is_active), 0, 0, NULL, "true",
		"false: every token of the project is refused" },
	{ 18, "deactivated_at", FIELD_TIME, FIELD_READ, AT(project, deactivated_ms), 0, 0, NULL,
		NULL, "since when it is not active" },
	{ 19, "allowed_models", FIELD_LIST, 0, AT(project, allowed_models), 0, 0, NULL, NULL,
		"patterns of models it may use; empty: all" },
	{ 20, "allowed_origins", FIELD_LIST, 0, AT(project, allowed_origins), 0, 0, NULL, NULL,
		"web origins that may call from a browser; empty: those of the settings" },
	{ 21, "allowed_endpoints", FIELD_LIST, 0, AT(project, allowed_endpoints), 0, 0, NULL, NULL,
		"patterns of paths it may call; empty: all" },
	{ 22, "allowed_networks", FIELD_LIST, 0, AT(project, allowed_networks), 0, 0, NULL, NULL,
		"networks its clients may call from, as 10.0.0.0/8; empty: all" },
	{ 23, "disconnect", FIELD_TEXT, 0, AT(project, disconnect), 0, 0, NULL, NULL,
		"when a client leaves: cancel, drain or drain:<seconds>; empty: as in the "
		"settings" },
	{ 24, "fail_mode", FIELD_ENUM, 0, AT(project, fail_mode), 0, 0, "closed|open", "closed",
		"without the store: closed refuses, open lets known tokens pass and books later" },
	{ 25, "refuse_unpriced", FIELD_BOOL, 0, AT(project, refuse_unpriced), 0, 0, NULL, "false",
		"refuse requests whose price is not known" },
};

static const struct field token_fields[] = {
	HEAD_FIELDS(struct token, "tok_"),
	{ 16, "project_id", FIELD_ID, FIELD_REQUIRED | FIELD_FIXED, AT(token, project), 0, 0,
		"prj_", NULL, "the project it belongs to" },
	{ 17, "secret_sha256", FIELD_HASH, FIELD_HIDDEN, AT(token, sha256), 0, 0, NULL, NULL,
		"SHA-256 of the secret" },
	{ 18, "token", FIELD_TEXT, FIELD_READ, AT(token, masked), 0, 0, NULL, NULL,
		"the secret, masked" },
	{ 19, "label", FIELD_TEXT, 0, AT(token, label), 0, 0, NULL, NULL, "what it is for" },
	{ 20, "is_active", FIELD_BOOL, 0, AT(token, is_active), 0, 0, NULL, "true",
		"false: refused" },
	{ 21, "revoked_at", FIELD_TIME, FIELD_READ, AT(token, revoked_ms), 0, 0, NULL, NULL,
		"since when it is revoked" },
	{ 22, "revoked_reason", FIELD_TEXT, FIELD_READ, AT(token, revoked_reason), 0, 0, NULL, NULL,
		"why it was revoked" },
	{ 23, "expires_at", FIELD_TIME, 0, AT(token, expires_ms), 0, TIME_MAX, NULL, NULL,
		"refused from then on; null: never" },
	{ 24, "not_before", FIELD_TIME, 0, AT(token, not_before_ms), 0, TIME_MAX, NULL, NULL,
		"refused before" },
	{ 25, "max_requests", FIELD_INT, 0, AT(token, max_requests), 0, INT64_MAX, NULL, "0",
		"most requests in its life; 0: no limit" },
	{ 26, "allowed_models", FIELD_LIST, 0, AT(token, allowed_models), 0, 0, NULL, NULL,
		"patterns of models it may use, within the project's; empty: all of those" },
	{ 27, "allowed_endpoints", FIELD_LIST, 0, AT(token, allowed_endpoints), 0, 0, NULL, NULL,
		"patterns of paths it may call" },
	{ 28, "allowed_methods", FIELD_LIST, 0, AT(token, allowed_methods), 0, 0, NULL, NULL,
		"methods it may use" },
	{ 29, "allowed_origins", FIELD_LIST, 0, AT(token, allowed_origins), 0, 0, NULL, NULL,
		"web origins that may call with it" },
	{ 30, "allowed_networks", FIELD_LIST, 0, AT(token, allowed_networks), 0, 0, NULL, NULL,
		"networks it may be used from, as 10.0.0.0/8" },
	{ 31, "allowed_params", FIELD_LIST, 0, AT(token, allowed_params), 0, 0, NULL, NULL,
		"name=pattern: what top-level members of a request may say" },
	{ 32, "required_headers", FIELD_LIST, 0, AT(token, required_headers), 0, 0, NULL, NULL,
		"\"Name: value\" that every request must carry" },
	{ 33, "metadata", FIELD_LIST, 0, AT(token, metadata), 0, 0, NULL, NULL,
		"name=value, for people" },
	{ 34, "old_secret_sha256", FIELD_HASH, FIELD_HIDDEN, AT(token, old_sha256), 0, 0, NULL,
		NULL, "SHA-256 of the secret before the last rotation" },
	{ 35, "old_secret_until", FIELD_TIME, FIELD_READ, AT(token, old_until_ms), 0, 0, NULL, NULL,
		"until when the secret before the last rotation is good" },
};

/* In the order of enum upstream_auth. */
#define AUTH_VALUES                                                                                \
	"bearer|x-api-key|api-key|none|x-goog-api-key|query-key|aws-sigv4|sap-oauth|"              \
	"google-account|entra-id|template"

/* In the order of enum upstream_protocol. */
#define PROTOCOL_VALUES                                                                            \
	"openai|openai_chat|azure|openrouter|anthropic|gemini|vertex|bedrock|bedrock_invoke|"      \
	"sap_openai|sap_converse|sap_invoke|sap_gemini|http"

static const struct field upstream_fields[] = {
	HEAD_FIELDS(struct upstream, "up_"),
	{ 16, "name", FIELD_TEXT, FIELD_REQUIRED, AT(upstream, name), 0, 0, NULL, NULL,
		"unique name" },
	{ 17, "protocol", FIELD_ENUM, 0, AT(upstream, protocol), 0, 0, PROTOCOL_VALUES, "openai",
		"what it speaks; other dialects are converted for it" },
	{ 18, "base_url", FIELD_TEXT, FIELD_REQUIRED, AT(upstream, base_url), 0, 0, NULL, NULL,
		"its address, such as https://api.openai.com/v1" },
	{ 19, "auth", FIELD_ENUM, 0, AT(upstream, auth), 0, 0, AUTH_VALUES, "bearer",
		"how the key is sent" },
	{ 20, "is_active", FIELD_BOOL, 0, AT(upstream, is_active), 0, 0, NULL, "true",
		"false: not used" },
	{ 21, "default", FIELD_BOOL, 0, AT(upstream, is_default), 0, 0, NULL, "false",
		"takes requests that name no model" },
	{ 22, "allow_private", FIELD_BOOL, 0, AT(upstream, allow_private), 0, 0, NULL, "false",
		"its name may resolve to a private or loopback address" },
	{ 23, "http2", FIELD_BOOL, 0, AT(upstream, http2), 0, 0, NULL, "false",
		"use HTTP/2 where it is offered" },
	{ 24, "models", FIELD_LIST, 0, AT(upstream, models), 0, 0, NULL, NULL,
		"patterns of models it serves; empty: all" },
	{ 25, "weight", FIELD_INT, 0, AT(upstream, weight), 1, 1000, NULL, "1",
		"its share among the upstreams of a model" },
	{ 26, "connect_timeout_ms", FIELD_MS, 0, AT(upstream, connect_ms), 0, DAY_MS, NULL, "0",
		"most to wait for a connection; 0: as in the settings" },
	{ 27, "first_byte_timeout_ms", FIELD_MS, 0, AT(upstream, first_byte_ms), 0, DAY_MS, NULL,
		"0", "most to wait for the first byte; 0: as in the settings" },
	{ 28, "idle_timeout_ms", FIELD_MS, 0, AT(upstream, idle_ms), 0, DAY_MS, NULL, "0",
		"most between two bytes; 0: as in the settings" },
	{ 29, "total_timeout_ms", FIELD_MS, 0, AT(upstream, total_ms), 0, DAY_MS, NULL, "0",
		"most for all of it; 0: as in the settings" },
	{ 31, "max_output_tokens", FIELD_INT, 0, AT(upstream, max_output_tokens), 0, 1000000000,
		NULL, "4096", "assumed where a request states no ceiling" },
	{ 32, "extra_headers", FIELD_LIST, FIELD_SECRET, AT(upstream, extra_headers), 0, 0, NULL,
		NULL, "headers to send along, as \"Name: value\"" },
	{ 33, "forward_headers", FIELD_LIST, 0, AT(upstream, forward_headers), 0, 0, NULL, NULL,
		"more names of client headers that pass" },
	{ 34, "ca_file", FIELD_TEXT, 0, AT(upstream, ca_file), 0, 0, NULL, NULL,
		"certificates to trust instead of the system's" },
	{ 35, "client_cert", FIELD_TEXT, 0, AT(upstream, client_cert), 0, 0, NULL, NULL,
		"PEM file with our certificate and its key" },
	{ 36, "price_factor", FIELD_MONEY, 0, AT(upstream, price_factor), 0, INT64_MAX, NULL, "1",
		"multiplies the prices of what goes there" },
	{ 48, "auth_parameter", FIELD_TEXT, 0, AT(upstream, auth_parameter), 0, 0, NULL, "key",
		"query-key: the parameter that carries the key" },
	{ 49, "auth_template", FIELD_TEXT, 0, AT(upstream, auth_template), 0, 0, NULL, NULL,
		"template: \"header Name: text ${key}\" or \"query name=${key}\"" },
	{ 50, "region", FIELD_TEXT, 0, AT(upstream, region), 0, 0, NULL, NULL,
		"aws-sigv4: such as eu-central-1; empty: the one in base_url" },
	{ 51, "signing_service", FIELD_TEXT, 0, AT(upstream, signing_service), 0, 0, NULL, NULL,
		"aws-sigv4: the service's name in signatures; empty: bedrock" },
	{ 52, "resource_group", FIELD_TEXT, 0, AT(upstream, resource_group), 0, 0, NULL, NULL,
		"sap-oauth: sent as AI-Resource-Group; empty: default" },
	{ 53, "token_url", FIELD_TEXT, 0, AT(upstream, token_url), 0, 0, NULL, NULL,
		"where access tokens are fetched; empty: as the key says" },
	{ 54, "token_scope", FIELD_TEXT, 0, AT(upstream, token_scope), 0, 0, NULL, NULL,
		"scope of access tokens; empty: the usual one" },
	{ 55, "strict", FIELD_BOOL, 0, AT(upstream, strict), 0, 0, NULL, "false",
		"refuse what would lose its meaning in conversion, instead of leaving it out" },
	{ 56, "fetch_media", FIELD_BOOL, 0, AT(upstream, fetch_media), 0, 0, NULL, "false",
		"fetch images and documents given by address where it needs their bytes" },
	{ 57, "thinking", FIELD_ENUM, 0, AT(upstream, thinking), 0, 0, "auto|budget|adaptive",
		"auto", "how its models are told to reason" },
};

static const struct field key_fields[] = {
	HEAD_FIELDS(struct key, "key_"),
	{ 16, "upstream", FIELD_ID, FIELD_REQUIRED | FIELD_FIXED, AT(key, upstream), 0, 0, "up_",
		NULL, "the upstream it is for" },
	{ 17, "project_id", FIELD_ID, 0, AT(key, project), 0, 0, "prj_", NULL,
		"for this project alone; null: for all" },
	{ 18, "label", FIELD_TEXT, 0, AT(key, label), 0, 0, NULL, NULL, "what it is for" },
	{ 19, "secret", FIELD_SEALED, FIELD_HIDDEN, AT(key, secret), 0, 0, NULL, NULL,
		"the provider's secret" },
	{ 20, "masked", FIELD_TEXT, FIELD_READ, AT(key, masked), 0, 0, NULL, NULL,
		"the secret, masked" },
	{ 21, "is_enabled", FIELD_BOOL, 0, AT(key, is_enabled), 0, 0, NULL, "true",
		"false: not used" },
	{ 22, "weight", FIELD_INT, 0, AT(key, weight), 1, 1000, NULL, "1",
		"its share among the keys of its upstream" },
};

static const struct field price_fields[] = {
	HEAD_FIELDS(struct price, "prc_"),
	{ 16, "model", FIELD_TEXT, FIELD_REQUIRED, AT(price, model), 0, 0, NULL, NULL,
		"pattern of the provider's model name" },
	{ 17, "upstream", FIELD_ID, 0, AT(price, upstream), 0, 0, "up_", NULL,
		"at this upstream; null: at any" },
	{ 18, "from", FIELD_TIME, 0, AT(price, from_ms), 0, TIME_MAX, NULL, NULL,
		"holds from then on; null: always" },
	{ 19, "input", FIELD_MONEY, FIELD_REQUIRED, AT(price, input_nusd), 0, INT64_MAX, NULL, NULL,
		"dollars a million input tokens" },
	{ 20, "output", FIELD_MONEY, FIELD_REQUIRED, AT(price, output_nusd), 0, INT64_MAX, NULL,
		NULL, "dollars a million output tokens" },
	{ 21, "cache_read", FIELD_MONEY, 0, AT(price, cache_read_nusd), -1, INT64_MAX, NULL,
		"-0.000000001", "dollars a million tokens read from the provider's cache" },
	{ 22, "cache_write_5m", FIELD_MONEY, 0, AT(price, cache_write_5m_nusd), -1, INT64_MAX, NULL,
		"-0.000000001", "dollars a million tokens written to it for five minutes" },
	{ 23, "cache_write_1h", FIELD_MONEY, 0, AT(price, cache_write_1h_nusd), -1, INT64_MAX, NULL,
		"-0.000000001", "dollars a million tokens written to it for an hour" },
	{ 24, "request", FIELD_MONEY, 0, AT(price, request_nusd), 0, INT64_MAX, NULL, "0",
		"dollars a request" },
	{ 25, "is_builtin", FIELD_BOOL, FIELD_READ, AT(price, is_builtin), 0, 0, NULL, "false",
		"came with sluice; replaced by the next import" },
	{ 26, "tier", FIELD_TEXT, 0, AT(price, tier), 0, 0, NULL, NULL,
		"the service tier it holds for, such as flex, priority or batch; empty: any "
		"other" },
	{ 27, "above_tokens", FIELD_INT, 0, AT(price, above_tokens), 0, INT64_MAX, NULL, "0",
		"holds for requests with more input tokens than this" },
	{ 28, "reasoning", FIELD_MONEY, 0, AT(price, reasoning_nusd), -1, INT64_MAX, NULL,
		"-0.000000001", "dollars a million reasoning tokens" },
	{ 29, "audio_input", FIELD_MONEY, 0, AT(price, audio_input_nusd), -1, INT64_MAX, NULL,
		"-0.000000001", "dollars a million audio tokens heard" },
	{ 30, "audio_output", FIELD_MONEY, 0, AT(price, audio_output_nusd), -1, INT64_MAX, NULL,
		"-0.000000001", "dollars a million audio tokens spoken" },
	{ 31, "image", FIELD_MONEY, 0, AT(price, image_nusd), 0, INT64_MAX, NULL, "0",
		"dollars an image made" },
	{ 32, "is_imported", FIELD_BOOL, FIELD_READ, AT(price, is_imported), 0, 0, NULL, "false",
		"came by an import; the next one may change it" },
};

#define SCOPE(tag, name, dimension, what)                                                          \
	{                                                                                          \
		tag, name, FIELD_TEXT, FIELD_FIXED, AT(limit, scope[dimension]), 0, 0, NULL, NULL, \
			what                                                                       \
	}

static const struct field limit_fields[] = {
	HEAD_FIELDS(struct limit, "lim_"),
	SCOPE(16, "scope_project", DIMENSION_PROJECT, "a project, \"each\", or empty"),
	SCOPE(17, "scope_token", DIMENSION_TOKEN, "a token, \"each\", or empty"),
	SCOPE(18, "scope_model", DIMENSION_MODEL, "a pattern of models, \"each\", or empty"),
	{ 19, "metric", FIELD_ENUM, FIELD_REQUIRED | FIELD_FIXED, AT(limit, metric), 0, 0,
		"requests|input_tokens|output_tokens|tokens|cost|parallel", NULL,
		"what is counted" },
	{ 20, "window", FIELD_ENUM, FIELD_FIXED, AT(limit, window), 0, 0,
		"minute|hour|day|week|month|total|rolling", "total", "over which time" },
	{ 21, "mode", FIELD_ENUM, 0, AT(limit, mode), 0, 0, "hard|soft|shadow", "hard",
		"hard refuses, soft warns, shadow only counts" },
	{ 22, "cap", FIELD_INT, FIELD_REQUIRED | FIELD_AMOUNT, AT(limit, cap), 0, INT64_MAX, NULL,
		NULL, "the most: requests, tokens, calls at once; dollars of cost" },
	{ 23, "is_active", FIELD_BOOL, 0, AT(limit, is_active), 0, 0, NULL, "true",
		"false: not looked at" },
	SCOPE(24, "scope_end_user", DIMENSION_END_USER, "an end user, \"each\", or empty"),
	SCOPE(25, "scope_address", DIMENSION_ADDRESS,
		"a network of clients, \"each\" address, or empty"),
	SCOPE(26, "scope_tag", DIMENSION_TAG, "a pattern of tags, \"each\", or empty"),
	SCOPE(27, "scope_upstream", DIMENSION_UPSTREAM, "an upstream, \"each\", or empty"),
	SCOPE(28, "scope_key", DIMENSION_KEY, "a provider key, \"each\", or empty"),
	{ 29, "reserve", FIELD_ENUM, 0, AT(limit, reserve), 0, 0, "worst|expected", "worst",
		"worst never goes above the cap; expected reserves what is usual and may" },
	{ 30, "window_s", FIELD_INT, FIELD_FIXED, AT(limit, window_s), 0, 366 * 86400LL, NULL, "0",
		"length of a rolling window in seconds" },
	{ 31, "timezone", FIELD_TEXT, FIELD_FIXED, AT(limit, timezone), 0, 0, NULL, NULL,
		"where days, weeks and months begin, such as Europe/Berlin; empty: UTC" },
	{ 32, "warn_at", FIELD_LIST_INT, 0, AT(limit, warn_at), 0, 0, NULL, NULL,
		"shares of the cap, in percent, that are told of" },
	{ 33, "stops_streams", FIELD_BOOL, 0, AT(limit, stops_streams), 0, 0, NULL, "false",
		"end a stream that uses it up" },
	{ 34, "since", FIELD_TIME, FIELD_READ | FIELD_HIDDEN, AT(limit, since_ms), 0, TIME_MAX,
		NULL, NULL, "made then, by the board's clock" },
};

#define VALUE(tag, name, dimension)                                                                \
	{                                                                                          \
		tag, name, FIELD_TEXT, FIELD_FIXED, AT(grant, value[dimension]), 0, 0, NULL, NULL, \
			"whose counter, where the limit has one for each"                          \
	}

static const struct field grant_fields[] = {
	HEAD_FIELDS(struct grant, "grt_"),
	{ 16, "limit", FIELD_ID, FIELD_REQUIRED | FIELD_FIXED, AT(grant, limit), 0, 0, "lim_", NULL,
		"the limit it is for" },
	VALUE(17, "project", DIMENSION_PROJECT),
	VALUE(18, "token", DIMENSION_TOKEN),
	VALUE(19, "model", DIMENSION_MODEL),
	VALUE(20, "end_user", DIMENSION_END_USER),
	VALUE(21, "address", DIMENSION_ADDRESS),
	VALUE(22, "tag", DIMENSION_TAG),
	VALUE(23, "upstream", DIMENSION_UPSTREAM),
	VALUE(24, "key", DIMENSION_KEY),
	{ 25, "amount", FIELD_INT, FIELD_REQUIRED | FIELD_FIXED | FIELD_AMOUNT, AT(grant, amount),
		0, INT64_MAX, NULL, NULL, "on top of the cap, in the limit's unit" },
	{ 26, "is_reset", FIELD_BOOL, FIELD_READ, AT(grant, is_reset), 0, 0, NULL, "false",
		"takes back what had been used" },
	{ 27, "from", FIELD_TIME, FIELD_FIXED, AT(grant, from_ms), 0, TIME_MAX, NULL, NULL,
		"holds from then on" },
	{ 28, "until", FIELD_TIME, FIELD_FIXED, AT(grant, until_ms), 0, TIME_MAX, NULL, NULL,
		"and until then; null: for ever" },
	{ 29, "reason", FIELD_TEXT, FIELD_FIXED, AT(grant, reason), 0, 0, NULL, NULL, "why" },
};

static const struct kind {
	const char *name, *prefix, *name_field;
	size_t bytes;
	const struct field *fields;
	size_t count;
} kinds[RECORD__COUNT] = {
#define KIND(type, prefix, unique)                                                                 \
	{                                                                                          \
#type, prefix, unique, sizeof(struct type), type##_fields,                         \
			sizeof type##_fields / sizeof type##_fields[0]                             \
	}
	[RECORD_PROJECT] = KIND(project, "prj_", "name"),
	[RECORD_TOKEN] = KIND(token, "tok_", NULL),
	[RECORD_UPSTREAM] = KIND(upstream, "up_", "name"),
	[RECORD_KEY] = KIND(key, "key_", NULL),
	[RECORD_PRICE] = KIND(price, "prc_", NULL),
	[RECORD_LIMIT] = KIND(limit, "lim_", NULL),
	[RECORD_GRANT] = KIND(grant, "grt_", NULL),
};

const struct field *
record_fields(enum record_kind kind, size_t *count)
{
	*count = kinds[kind].count;
	return kinds[kind].fields;
}

size_t
record_bytes(enum record_kind kind)
{
	return kinds[kind].bytes;
}

const char *
record_prefix(enum record_kind kind)
{
	return kinds[kind].prefix;
}

const char *
record_name(enum record_kind kind)
{
	return kinds[kind].name;
}

const struct field *
record_name_field(enum record_kind kind)
{
	for (size_t i = 0; kinds[kind].name_field != NULL && i < kinds[kind].count; i++)
		if (strcmp(kinds[kind].fields[i].name, kinds[kind].name_field) == 0)
			return &kinds[kind].fields[i];
	return NULL;
}

static int32_t
enum_value(const char *values, const char *name)
{
	int32_t n = 0;
	size_t len = strlen(name);

	for (const char *p = values;; p++, n++) {
		size_t run = strcspn(p, "|");

		if (run == len && memcmp(p, name, len) == 0)
			return n;
		p += run;
		if (*p == '\0')
			return 0;
	}
}

static void
set_fallback(const struct field *f, uint8_t *at)
{
	int64_t number = 0;

	switch (f->type) {
	case FIELD_BOOL:
		*(bool *)at = strcmp(f->fallback, "true") == 0;
		return;
	case FIELD_ENUM: {
		int32_t value = enum_value(f->values, f->fallback);

		memcpy(at, &value, sizeof value);
		return;
	}
	case FIELD_MONEY:
		(void)money_parse(f->fallback, &number);
		memcpy(at, &number, sizeof number);
		return;
	case FIELD_INT:
	case FIELD_MS:
		number = strtoll(f->fallback, NULL, 10);
		memcpy(at, &number, sizeof number);
		return;
	case FIELD_TIME:
		(void)clock_parse_rfc3339(f->fallback, &number);
		memcpy(at, &number, sizeof number);
		return;
	case FIELD_TEXT:
	case FIELD_LIST:
	case FIELD_LIST_INT: {
		size_t len = strlen(f->fallback);

		if (len < f->size)
			memcpy(at, f->fallback, len + 1);
		return;
	}
	case FIELD_ID:
	case FIELD_HASH:
	case FIELD_SEALED:
		return;
	}
}

void
record_init(enum record_kind kind, void *record)
{
	const struct kind *k = &kinds[kind];

	memset(record, 0, k->bytes);
	for (size_t i = 0; i < k->count; i++)
		if (k->fields[i].fallback != NULL)
			set_fallback(&k->fields[i], (uint8_t *)record + k->fields[i].offset);
}
