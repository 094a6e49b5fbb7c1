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
	RECORD_PROJECT, RECORD_TOKEN, RECORD_UPSTREAM, RECORD_KEY, RECORD_PRICE, RECORD_LIMIT,
	RECORD__COUNT
};

#define NAME_BYTES 64
#define LIST_BYTES 2048
#define URL_BYTES  512

struct record {
	struct id id;
	int64_t created_ms, updated_ms;
	int64_t version; /* counts changes; the ETag */
	struct record_rest rest;
};

struct project {
	struct record head;
	char name[NAME_BYTES]; /* unique */
	bool is_active;
	int64_t deactivated_ms;
	char allowed_models[LIST_BYTES];  /* globs; empty: all */
	char allowed_origins[LIST_BYTES]; /* web origins for CORS; empty: those of the settings */
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
	char allowed_models[LIST_BYTES]; /* narrows the project's */
};

enum upstream_protocol { PROTOCOL_OPENAI };
enum upstream_auth { AUTH_BEARER, AUTH_X_API_KEY, AUTH_API_KEY, AUTH_NONE };

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

/* Nano-dollars a million tokens.  The last row of a model whose from_ms is not later counts. */
struct price {
	struct record head;
	char model[NAME_BYTES * 2]; /* glob of the provider's model name */
	struct id upstream;         /* none: any */
	int64_t from_ms;
	int64_t input_nusd, output_nusd;
	int64_t cache_read_nusd, cache_write_5m_nusd, cache_write_1h_nusd; /* -1: not stated */
	int64_t request_nusd; /* each request */
	bool is_builtin;      /* from conf/prices.json; a new import replaces it */
};

enum limit_metric {
	METRIC_REQUESTS, METRIC_INPUT_TOKENS, METRIC_OUTPUT_TOKENS, METRIC_TOKENS, METRIC_COST, METRIC_PARALLEL
};
enum limit_window { WINDOW_MINUTE, WINDOW_HOUR, WINDOW_DAY, WINDOW_WEEK, WINDOW_MONTH, WINDOW_TOTAL };
enum limit_mode { LIMIT_HARD, LIMIT_SOFT, LIMIT_SHADOW };

struct limit {
	struct record head;
	/* "" (not part of the scope), "each" (a counter for every value) or one id or name */
	char scope_project[ID_TEXT_BYTES], scope_token[ID_TEXT_BYTES], scope_model[NAME_BYTES * 2];
	int32_t metric, window, mode;
	int64_t cap; /* requests, tokens, calls; nano-dollars for cost */
	bool is_active;
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

#endif
