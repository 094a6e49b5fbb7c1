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
	{ 26, "weight", FIELD_INT, 0, AT(project, weight), 1, 1000, NULL, "1",
		"its share when requests wait" },
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
	{ 58, "group", FIELD_TEXT, 0, AT(upstream, group), 0, 0, NULL, NULL,
		"account it belongs to, with others of that name" },
	{ 59, "keys_of", FIELD_ID, 0, AT(upstream, keys_of), 0, 0, "up_", NULL,
		"uses the keys of that upstream too" },
	{ 60, "priority", FIELD_INT, 0, AT(upstream, priority), 0, 1000, NULL, "0",
		"0 is asked first; others when nobody before can be" },
	{ 61, "tenant", FIELD_TEXT, 0, AT(upstream, tenant), 0, 0, NULL, NULL,
		"whom it is for, as routes and policies name it" },
	{ 62, "tier", FIELD_TEXT, 0, AT(upstream, tier), 0, 0, NULL, NULL,
		"the plan it is on, as routes and policies name it" },
	{ 63, "tags", FIELD_LIST, 0, AT(upstream, tags), 0, 0, NULL, NULL,
		"name=value, as policies name it" },
	{ 64, "max_parallel", FIELD_INT, 0, AT(upstream, max_parallel), 0, 1000000, NULL, "0",
		"most calls at once; 0: no limit" },
	{ 65, "blocked_models", FIELD_LIST, 0, AT(upstream, blocked_models), 0, 0, NULL, NULL,
		"patterns of models it is not asked for" },
	{ 66, "aliases", FIELD_LIST, 0, AT(upstream, aliases), 0, 0, NULL, NULL,
		"\"alias=name\": what it calls a model that clients call alias" },
	{ 67, "free_only", FIELD_BOOL, 0, AT(upstream, free_only), 0, 0, NULL, "false",
		"ask it for free models alone" },
	{ 68, "discover", FIELD_BOOL, 0, AT(upstream, discover), 0, 0, NULL, "false",
		"ask it which models it has, and add them to models" },
	{ 69, "proxy", FIELD_TEXT, FIELD_SECRET, AT(upstream, proxy), 0, 0, NULL, NULL,
		"http:// or socks5:// address that calls go through" },
	{ 70, "breaker_failures", FIELD_INT, 0, AT(upstream, breaker_failures), 0, 1000, NULL, "5",
		"failures that open its circuit breaker; 0: none" },
	{ 71, "breaker_window_s", FIELD_INT, 0, AT(upstream, breaker_window_s), 0, 86400, NULL, "0",
		"within that many seconds; 0: in a row" },
	{ 72, "breaker_open_s", FIELD_INT, 0, AT(upstream, breaker_open_s), 1, 86400, NULL, "30",
		"how long it stays open before one call is tried" },
	{ 73, "breaker_successes", FIELD_INT, 0, AT(upstream, breaker_successes), 1, 100, NULL, "1",
		"tried calls in a row that close it" },
	{ 74, "ramp_percent", FIELD_INT, 0, AT(upstream, ramp_percent), 1, 100, NULL, "10",
		"share of its usual one that a key gets first when it is back" },
	{ 75, "breaker", FIELD_ENUM, 0, AT(upstream, breaker_forced), 0, 0, "auto|open|closed",
		"auto", "open or closed whatever happens" },
	{ 76, "health_path", FIELD_TEXT, 0, AT(upstream, health_path), 0, 0, NULL, NULL,
		"asked regularly, such as /models; empty: not" },
	{ 77, "health_interval_s", FIELD_INT, 0, AT(upstream, health_interval_s), 1, 86400, NULL,
		"30", "how often it is asked" },
	{ 78, "health_method", FIELD_ENUM, 0, AT(upstream, health_method), 0, 0, "HEAD|GET", "HEAD",
		"how it is asked" },
	{ 79, "failure_rules", FIELD_LIST, 0, AT(upstream, failure_rules), 0, 0, NULL, NULL,
		"what certain failures mean here" },
	{ 80, "breaker_probe_s", FIELD_INT, 0, AT(upstream, breaker_probe_s), 0, 86400, NULL, "0",
		"seconds from one tried call that went well to the next" },
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
	{ 23, "priority", FIELD_INT, 0, AT(key, priority), 0, 1000, NULL, "0",
		"0 is used first; others when none before can be" },
	{ 24, "max_parallel", FIELD_INT, 0, AT(key, max_parallel), 0, 1000000, NULL, "0",
		"most calls at once; 0: no limit" },
	{ 25, "tags", FIELD_LIST, 0, AT(key, tags), 0, 0, NULL, NULL,
		"name=value, such as region=eu or tier=free" },
	{ 26, "quotas", FIELD_LIST, 0, AT(key, quotas), 0, 0, NULL, NULL,
		"what it may use, where known: requests/minute=60, tokens/day=1000000" },
	{ 27, "allowed_models", FIELD_LIST, 0, AT(key, allowed_models), 0, 0, NULL, NULL,
		"patterns of models it is used for; empty: all of its upstream" },
	{ 28, "blocked_models", FIELD_LIST, 0, AT(key, blocked_models), 0, 0, NULL, NULL,
		"patterns of models it is not used for" },
	{ 29, "disabled_reason", FIELD_TEXT, FIELD_READ, AT(key, disabled_reason), 0, 0, NULL, NULL,
		"why it is not enabled" },
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

/* In the order of enum route_strategy. */
#define STRATEGY_VALUES                                                                            \
	"weighted|round-robin|first|random|same|least-inflight|latency|sequential|balanced|"       \
	"priority|split|objective|weighted-latency"

static const struct field route_fields[] = {
	HEAD_FIELDS(struct route, "rt_"),
	{ 16, "name", FIELD_TEXT, FIELD_REQUIRED, AT(route, name), 0, 0, NULL, NULL,
		"unique name" },
	{ 17, "model", FIELD_TEXT, FIELD_REQUIRED, AT(route, model), 0, 0, NULL, NULL,
		"the model that clients ask for: a name, a pattern or /regex/" },
	{ 18, "is_active", FIELD_BOOL, 0, AT(route, is_active), 0, 0, NULL, "true",
		"false: not looked at" },
	{ 19, "project_id", FIELD_ID, 0, AT(route, project), 0, 0, "prj_", NULL,
		"for this project alone; null: for all" },
	{ 20, "targets", FIELD_LIST, 0, AT(route, targets), 0, 0, NULL, NULL,
		"who is asked: upstream, model, weight, priority" },
	{ 21, "strategy", FIELD_ENUM, 0, AT(route, strategy), 0, 0, STRATEGY_VALUES, "weighted",
		"how one is chosen" },
	{ 22, "objectives", FIELD_LIST, 0, AT(route, objectives), 0, 0, NULL, NULL,
		"what objective looks for: cost=2, reliability=1, fairness, quality, latency" },
	{ 23, "allowed_upstreams", FIELD_LIST, 0, AT(route, allowed_upstreams), 0, 0, NULL, NULL,
		"patterns of upstreams that may be asked; empty: all" },
	{ 24, "blocked_upstreams", FIELD_LIST, 0, AT(route, blocked_upstreams), 0, 0, NULL, NULL,
		"patterns of upstreams that are not asked" },
	{ 25, "regions", FIELD_LIST, 0, AT(route, regions), 0, 0, NULL, NULL,
		"patterns of regions that may be asked; empty: any" },
	{ 26, "tenants", FIELD_LIST, 0, AT(route, tenants), 0, 0, NULL, NULL,
		"patterns of tenants that may be asked; empty: any" },
	{ 27, "max_cost", FIELD_MONEY, 0, AT(route, max_cost_nusd), 0, INT64_MAX, NULL, "0",
		"most that one request may cost at worst; 0: no limit" },
	{ 28, "min_reliability", FIELD_INT, 0, AT(route, min_reliability), 0, 100, NULL, "0",
		"percent of late calls that must have succeeded" },
	{ 29, "affinity", FIELD_ENUM, 0, AT(route, affinity), 0, 0, "none|session|prompt", "none",
		"what keeps to one key: a session, or a prompt's beginning" },
	{ 30, "affinity_s", FIELD_INT, 0, AT(route, affinity_s), 1, 86400, NULL, "300",
		"seconds since the last call that it is kept" },
	{ 31, "affinity_most_s", FIELD_INT, 0, AT(route, affinity_most_s), 1, 604800, NULL, "1800",
		"seconds since the first call that it is kept" },
	{ 32, "migrate_below_tokens", FIELD_INT, 0, AT(route, migrate_below_tokens), 0, INT64_MAX,
		NULL, "0", "shorter conversations move to a better tier that is free again" },
	{ 33, "tries", FIELD_INT, 0, AT(route, tries), 0, 16, NULL, "0",
		"most attempts; 0: as in the settings" },
	{ 34, "deadline_ms", FIELD_MS, 0, AT(route, deadline_ms), 0, DAY_MS, NULL, "0",
		"no attempt begins later; 0: as in the settings" },
	{ 35, "queue_most", FIELD_INT, 0, AT(route, queue_most), -1, 100000, NULL, "-1",
		"requests that may wait when all are busy; -1: as in the settings" },
	{ 36, "queue_wait_ms", FIELD_MS, 0, AT(route, queue_wait_ms), -1, 3600000, NULL, "-1",
		"how long each waits at most; -1: as in the settings" },
	{ 37, "fallbacks", FIELD_LIST, 0, AT(route, fallbacks), 0, 0, NULL, NULL,
		"other models: \"error NAME\", \"context NAME\", \"filter NAME\", \"price NAME\"" },
	{ 38, "failure_rules", FIELD_LIST, 0, AT(route, failure_rules), 0, 0, NULL, NULL,
		"what certain failures mean here" },
	{ 39, "request_rules", FIELD_LIST, 0, AT(route, request_rules), 0, 0, NULL, NULL,
		"changes to requests: \"set NAME=JSON\", \"default NAME=JSON\", \"remove NAME\", "
		"\"system TEXT\", \"header NAME: VALUE\", \"cap max_tokens=N\"" },
	{ 40, "strict", FIELD_ENUM, 0, AT(route, strict), 0, 0, "inherit|yes|no", "inherit",
		"refuse what would lose its meaning in conversion" },
	{ 41, "fetch_media", FIELD_ENUM, 0, AT(route, fetch_media), 0, 0, "inherit|yes|no",
		"inherit", "fetch images and documents given by address" },
	{ 42, "disconnect", FIELD_TEXT, 0, AT(route, disconnect), 0, 0, NULL, NULL,
		"when a client leaves: cancel, drain or drain:<seconds>" },
	{ 43, "slow_chars_s", FIELD_INT, 0, AT(route, slow_chars_s), 0, 1000000, NULL, "0",
		"a stream that begins slower than that fails over; 0: off" },
	{ 44, "slow_after_ms", FIELD_MS, 0, AT(route, slow_after_ms), 0, 600000, NULL, "3000",
		"how long a stream's beginning is watched for that" },
};

static const struct field policy_fields[] = {
	HEAD_FIELDS(struct policy, "pol_"),
	{ 16, "name", FIELD_TEXT, FIELD_REQUIRED, AT(policy, name), 0, 0, NULL, NULL,
		"unique name" },
	{ 17, "type", FIELD_ENUM, FIELD_REQUIRED, AT(policy, type), 0, 0,
		"routing|cost_control|key_selection|failure_handling", NULL, "what it decides" },
	{ 18, "scope", FIELD_ENUM, 0, AT(policy, scope), 0, 0, "global|project|upstream|key|route",
		"global", "whom it binds" },
	{ 19, "project_id", FIELD_ID, 0, AT(policy, project), 0, 0, "prj_", NULL,
		"of scope project" },
	{ 20, "upstream", FIELD_ID, 0, AT(policy, upstream), 0, 0, "up_", NULL,
		"of scope upstream" },
	{ 21, "key", FIELD_ID, 0, AT(policy, key), 0, 0, "key_", NULL, "of scope key" },
	{ 22, "route", FIELD_ID, 0, AT(policy, route), 0, 0, "rt_", NULL, "of scope route" },
	{ 23, "is_active", FIELD_BOOL, 0, AT(policy, is_active), 0, 0, NULL, "true",
		"false: not looked at" },
	{ 24, "priority", FIELD_INT, 0, AT(policy, priority), 0, 1000, NULL, "0",
		"of several of one scope the greatest counts" },
	{ 25, "allowed_upstreams", FIELD_LIST, 0, AT(policy, allowed_upstreams), 0, 0, NULL, NULL,
		"patterns of upstreams that may be asked; empty: all" },
	{ 26, "blocked_upstreams", FIELD_LIST, 0, AT(policy, blocked_upstreams), 0, 0, NULL, NULL,
		"patterns of upstreams that are not asked" },
	{ 27, "allowed_models", FIELD_LIST, 0, AT(policy, allowed_models), 0, 0, NULL, NULL,
		"patterns of models that may be asked for; empty: all" },
	{ 28, "blocked_models", FIELD_LIST, 0, AT(policy, blocked_models), 0, 0, NULL, NULL,
		"patterns of models that are not asked for" },
	{ 29, "blocked_keys", FIELD_LIST, 0, AT(policy, blocked_keys), 0, 0, NULL, NULL,
		"keys that are not used, by id or pattern of label" },
	{ 30, "allowed_states", FIELD_LIST, 0, AT(policy, allowed_states), 0, 0, NULL, NULL,
		"states a key may be in: available, recovering; empty: both" },
	{ 31, "regions", FIELD_LIST, 0, AT(policy, regions), 0, 0, NULL, NULL,
		"patterns of regions that may be asked; empty: any" },
	{ 32, "tenants", FIELD_LIST, 0, AT(policy, tenants), 0, 0, NULL, NULL,
		"patterns of tenants that may be asked; empty: any" },
	{ 33, "required_tags", FIELD_LIST, 0, AT(policy, required_tags), 0, 0, NULL, NULL,
		"patterns of name=value, each of which an upstream or key must carry" },
	{ 34, "free_only", FIELD_BOOL, 0, AT(policy, free_only), 0, 0, NULL, "false",
		"free models alone" },
	{ 35, "strategy", FIELD_ENUM, 0, AT(policy, strategy), 0, 0, "none|" STRATEGY_VALUES,
		"none", "how one is chosen, instead of the route's" },
	{ 36, "objectives", FIELD_LIST, 0, AT(policy, objectives), 0, 0, NULL, NULL,
		"what objective looks for, instead of the route's" },
	{ 37, "min_reliability", FIELD_INT, 0, AT(policy, min_reliability), 0, 100, NULL, "0",
		"percent of late calls that must have succeeded" },
	{ 38, "max_cost", FIELD_MONEY, 0, AT(policy, max_cost_nusd), 0, INT64_MAX, NULL, "0",
		"most that one request may cost at worst; 0: no limit" },
	{ 39, "refuse_unpriced", FIELD_BOOL, 0, AT(policy, refuse_unpriced), 0, 0, NULL, "false",
		"ask nobody whose price is not known" },
	{ 40, "failure_rules", FIELD_LIST, 0, AT(policy, failure_rules), 0, 0, NULL, NULL,
		"what certain failures mean" },
	{ 41, "tries", FIELD_INT, 0, AT(policy, tries), 0, 16, NULL, "0",
		"most attempts; 0: not set" },
	{ 42, "deadline_ms", FIELD_MS, 0, AT(policy, deadline_ms), 0, DAY_MS, NULL, "0",
		"no attempt begins later; 0: not set" },
};

static const struct kind {
	const char *name, *plural, *prefix, *name_field;
	size_t bytes;
	const struct field *fields;
	size_t count;
} kinds[RECORD__COUNT] = {
#define KIND_OF(type, plural, prefix, unique)                                                      \
	{                                                                                          \
#type, plural, prefix, unique, sizeof(struct type), type##_fields,                 \
			sizeof type##_fields / sizeof type##_fields[0]                             \
	}
#define KIND(type, prefix, unique) KIND_OF(type, #type "s", prefix, unique)
	[RECORD_PROJECT] = KIND(project, "prj_", "name"),
	[RECORD_TOKEN] = KIND(token, "tok_", NULL),
	[RECORD_UPSTREAM] = KIND(upstream, "up_", "name"),
	[RECORD_KEY] = KIND(key, "key_", NULL),
	[RECORD_PRICE] = KIND(price, "prc_", NULL),
	[RECORD_LIMIT] = KIND(limit, "lim_", NULL),
	[RECORD_GRANT] = KIND(grant, "grt_", NULL),
	[RECORD_ROUTE] = KIND(route, "rt_", "name"),
	[RECORD_POLICY] = KIND_OF(policy, "policies", "pol_", "name"),
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

const char *
record_plural(enum record_kind kind)
{
	return kinds[kind].plural;
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
