/*
 * records.h - the kinds of records and their fields (the tables are in records.c).
 *
 * Every struct begins with `struct record head`, so that code for all kinds can work on any.
 * Fixed size, no pointers: they are copied freely and hold no secret in clear.
 */
#ifndef STORE_RECORDS_H
#define STORE_RECORDS_H

#include "store/fields.h"
#include "base/hash.h"
#include <stdbool.h>

enum record_kind {
	RECORD_PROJECT, RECORD_TOKEN, RECORD_UPSTREAM, RECORD_KEY, RECORD_PRICE, RECORD_LIMIT, RECORD_GRANT,
	RECORD__COUNT
};

#define NAME_BYTES  64
#define MODEL_BYTES 128
#define USER_BYTES  64  /* of an end user's name, as clients send it */
#define LABEL_BYTES 64  /* of a request's tag: "feature=search" */
#define LIST_BYTES 2048
#define SHORT_LIST_BYTES 512
#define URL_BYTES  512

struct record {
	struct id id;
	int64_t created_ms, updated_ms;
	int64_t version; /* counts changes; the ETag */
	struct record_rest rest;
};

enum fail_mode { FAIL_CLOSED, FAIL_OPEN };

struct project {
	struct record head;
	char name[NAME_BYTES]; /* unique */
	bool is_active;
	int64_t deactivated_ms;
	char allowed_models[LIST_BYTES];  /* globs; empty: all */
	char allowed_origins[LIST_BYTES]; /* web origins for CORS; empty: those of the settings */
	char allowed_endpoints[SHORT_LIST_BYTES]; /* globs of paths; empty: all */
	char allowed_networks[SHORT_LIST_BYTES];  /* CIDR; empty: all */
	char disconnect[24]; /* "cancel", "drain" or "drain:<seconds>"; empty: the settings' */
	int32_t fail_mode;   /* enum fail_mode: when the store is not to be had */
	bool refuse_unpriced; /* requests whose price is not known */
};

struct token {
	struct record head;
	struct id project;
	uint8_t sha256[SHA256_BYTES]; /* of the secret; unique */
	char masked[TOKEN_MASKED_BYTES];
	char label[NAME_BYTES];
	bool is_active;
	int64_t revoked_ms;
	char revoked_reason[128];
	int64_t expires_ms;    /* 0: never */
	int64_t not_before_ms;
	int64_t max_requests;  /* 0: no limit */
	char allowed_models[LIST_BYTES]; /* narrows the project's, as all that follow */
	char allowed_endpoints[SHORT_LIST_BYTES], allowed_methods[64];
	char allowed_origins[SHORT_LIST_BYTES], allowed_networks[SHORT_LIST_BYTES];
	char allowed_params[SHORT_LIST_BYTES];   /* "name=glob": a top-level member of the body must match */
	char required_headers[SHORT_LIST_BYTES]; /* "Name: value": what the client must repeat */
	char metadata[SHORT_LIST_BYTES];         /* "name=value", for people */
	uint8_t old_sha256[SHA256_BYTES];  /* the secret before the last rotation; zeros: none */
	int64_t old_until_ms;              /* which is good until then */
};

/* In the order of wire/provider.c.  Rows keep the number: new ones come last. */
enum upstream_protocol {
	PROTOCOL_OPENAI, PROTOCOL_OPENAI_CHAT, PROTOCOL_AZURE, PROTOCOL_OPENROUTER, PROTOCOL_ANTHROPIC,
	PROTOCOL_GEMINI, PROTOCOL_VERTEX, PROTOCOL_BEDROCK, PROTOCOL_BEDROCK_INVOKE, PROTOCOL_SAP_OPENAI,
	PROTOCOL_SAP_CONVERSE, PROTOCOL_SAP_INVOKE, PROTOCOL_SAP_GEMINI, PROTOCOL_HTTP, PROTOCOL__COUNT
};
/* Rows keep the number: new ones come last. */
enum upstream_auth {
	AUTH_BEARER, AUTH_X_API_KEY, AUTH_API_KEY, AUTH_NONE,
	AUTH_X_GOOG_API_KEY,
	AUTH_QUERY,    /* in the query, as auth_parameter */
	AUTH_SIGV4,    /* the key is ID:SECRET[:SESSION_TOKEN]; it signs and is not sent */
	/* what is sent is an access token, which the key buys (wire/oauth.h) */
	AUTH_SAP, AUTH_GOOGLE, AUTH_ENTRA,
	AUTH_TEMPLATE  /* where auth_template says */
};

/* How its models take instructions for reasoning (conversion.md, table 3). */
enum upstream_thinking { UPSTREAM_THINKING_AUTO, UPSTREAM_THINKING_BUDGET, UPSTREAM_THINKING_ADAPTIVE };

struct upstream {
	struct record head;
	char name[NAME_BYTES]; /* unique */
	int32_t protocol;      /* enum upstream_protocol */
	char base_url[URL_BYTES]; /* up to and without "/v1" or with it: "https://api.openai.com/v1" */
	int32_t auth;          /* enum upstream_auth */
	bool is_active;
	bool is_default;       /* for paths that name no model */
	bool allow_private;    /* may resolve to private or loopback addresses */
	bool http2;
	char models[LIST_BYTES]; /* globs of models served; empty: all */
	int64_t weight;        /* share among the upstreams of a model, 1..1000 */
	int64_t connect_ms, first_byte_ms, idle_ms, total_ms; /* timeouts; 0: the settings' */
	int64_t max_output_tokens; /* assumed for a request that states no ceiling */
	char extra_headers[LIST_BYTES];   /* "Name: value" lines sent along */
	char forward_headers[LIST_BYTES]; /* more names of client headers that pass */
	char ca_file[URL_BYTES];
	char client_cert[URL_BYTES]; /* PEM with certificate and key */
	int64_t price_factor;        /* multiplies every price, in billionths: 1,000,000,000 is one */
	char auth_parameter[NAME_BYTES]; /* AUTH_QUERY */
	char auth_template[256];         /* AUTH_TEMPLATE: wire/auth.h */
	char region[NAME_BYTES];         /* AUTH_SIGV4; "": as base_url says */
	char signing_service[NAME_BYTES]; /* the same */
	char resource_group[NAME_BYTES]; /* AUTH_SAP: AI-Resource-Group */
	char token_url[URL_BYTES];       /* where access tokens are to be had; "": as the key says */
	char token_scope[256];           /* what they are asked for; "": what is usual */
	bool strict;                     /* a request that would lose its meaning in conversion is refused */
	bool fetch_media;                /* images and documents given by address are fetched for it */
	int32_t thinking;                /* enum upstream_thinking */
};

struct key {
	struct record head;
	struct id upstream;
	struct id project; /* for this project alone; none: for all */
	char label[NAME_BYTES];
	struct sealed secret;
	char masked[TOKEN_MASKED_BYTES];
	bool is_enabled;
	int64_t weight; /* 1..1000 */
};

/*
 * Nano-dollars a million tokens, unless said otherwise.  Of the rows that fit a request the dearest
 * to it counts, in this order: named upstream before any; the model's own name before patterns, of
 * those the longest; the service tier it ran in before ""; the greatest above_tokens that the
 * request's input (cached or not) exceeds; the latest from_ms that has come; one made by hand before
 * one of a list, and the latest made.
 */
struct price {
	struct record head;
	char model[MODEL_BYTES]; /* glob of the provider's model name */
	struct id upstream;      /* none: any */
	char tier[24];           /* of service: "", "flex", "priority", "batch" */
	int64_t above_tokens;    /* a step for long contexts; 0: from the first token on */
	int64_t from_ms;
	int64_t input_nusd, output_nusd;
	/* -1: not stated, see settle/price.h for what goes instead */
	int64_t cache_read_nusd, cache_write_5m_nusd, cache_write_1h_nusd;
	int64_t reasoning_nusd, audio_input_nusd, audio_output_nusd;
	int64_t request_nusd; /* each request */
	int64_t image_nusd;   /* each image made */
	bool is_builtin;      /* from conf/prices.json; a new one replaces it */
	bool is_imported;     /* from a list somebody imported; the next one may change it */
};

enum limit_metric {
	METRIC_REQUESTS, METRIC_INPUT_TOKENS, METRIC_OUTPUT_TOKENS, METRIC_TOKENS, METRIC_COST, METRIC_PARALLEL
};
enum limit_window { WINDOW_MINUTE, WINDOW_HOUR, WINDOW_DAY, WINDOW_WEEK, WINDOW_MONTH, WINDOW_TOTAL, WINDOW_ROLLING };
enum limit_mode { LIMIT_HARD, LIMIT_SOFT, LIMIT_SHADOW };
enum limit_reserve { RESERVE_WORST, RESERVE_EXPECTED };

/* The dimensions of a limit's scope.  Upstream and key are known when a provider is chosen, the
 * others when the request came. */
enum limit_dimension {
	DIMENSION_PROJECT, DIMENSION_TOKEN, DIMENSION_END_USER, DIMENSION_MODEL, DIMENSION_ADDRESS,
	DIMENSION_TAG, DIMENSION_UPSTREAM, DIMENSION_KEY, DIMENSION__COUNT
};

struct limit {
	struct record head;
	/* "" (not part of the scope), "each" (a counter for every value) or one id or name; of
	 * models and tags a glob, of addresses a network */
	char scope[DIMENSION__COUNT][MODEL_BYTES];
	int32_t metric, window, mode, reserve;
	int64_t window_s;  /* WINDOW_ROLLING: its length */
	char timezone[48]; /* of calendar windows, as in "Europe/Berlin"; "": UTC */
	int64_t cap;       /* requests, tokens, calls; nano-dollars for cost */
	char warn_at[64];  /* shares of the cap in percent that are told of */
	bool stops_streams; /* what streams past it is ended (hard limits of cost and tokens) */
	bool is_active;
	int64_t since_ms; /* when it was made by board time, as windows are; 0: not known */
};

/* Changes what one counter of a limit may still take, for a time; the counter itself stays as it
 * is, so that it always tells what was used. */
struct grant {
	struct record head;
	struct id limit;
	char value[DIMENSION__COUNT][MODEL_BYTES]; /* whose counter, where the scope says "each"; else "" */
	int64_t amount;  /* on top of the cap */
	bool is_reset;   /* amount is what had been used: shown as used no more */
	int64_t from_ms, until_ms; /* 0: for ever */
	char reason[128];
};

const struct field *record_fields(enum record_kind kind, size_t *count);
size_t record_bytes(enum record_kind kind);       /* sizeof its struct */
const char *record_prefix(enum record_kind kind); /* "tok_" */
const char *record_name(enum record_kind kind);   /* "token"; the API's path is its plural */
/* The field that is unique within the kind, or NULL: a name that may stand wherever an id may. */
const struct field *record_name_field(enum record_kind kind);
/* Zeroes and fills in the fallbacks. */
void record_init(enum record_kind kind, void *record);

/* Binary form.  encode: bytes written, or -1 when out is too small or the record's unknown rest
 * did not fit and was cut (it may be read, not written).  decode: 0, or -1 when it is damaged. */
#define RECORD_BINARY_MAX 16384
ptrdiff_t record_encode(enum record_kind kind, const void *record, uint8_t *out, size_t room);
int record_decode(enum record_kind kind, const uint8_t *data, size_t len, void *record);
/* The same of one field's value alone; 0 bytes: nothing. */
ptrdiff_t record_field_encode(const struct field *f, const void *record, uint8_t *out, size_t room);
int record_field_decode(const struct field *f, const uint8_t *data, size_t len, void *record);

#endif
