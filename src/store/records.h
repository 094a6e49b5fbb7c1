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
	RECORD_ROUTE, RECORD_POLICY,
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
	int64_t weight;      /* its share when requests wait, 1..1000 */
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
	/* where it belongs and what it is; routes and policies choose by these (region too) */
	char group[NAME_BYTES];  /* sub-account: upstreams of one name share what is said of the account */
	struct id keys_of;       /* uses that upstream's keys besides its own; none: its own alone */
	char tenant[NAME_BYTES], tier[NAME_BYTES];
	char tags[SHORT_LIST_BYTES]; /* "name=value" */
	int64_t priority;        /* 0 is asked first; those of a greater one when nobody before can be */
	int64_t max_parallel;    /* calls at once, over all processes; 0: no limit */
	char blocked_models[SHORT_LIST_BYTES]; /* patterns, as in models: a glob, or "/regex/" */
	char aliases[LIST_BYTES]; /* "alias=its own name of the model"; chains are followed */
	bool free_only;          /* models without a price alone (OpenRouter's ":free") */
	bool discover;           /* ask it for its models; they are added to `models` */
	char proxy[URL_BYTES];   /* http:// or socks5:// address that calls go through */
	/* its circuit breaker, of each of its keys and of itself (systems.md F3) */
	int64_t breaker_failures;  /* opens it; 0: no breaker */
	int64_t breaker_window_s;  /* within which they fall; 0: in a row */
	int64_t breaker_open_s;    /* then one probe; twice as long each time it fails */
	int64_t breaker_successes; /* probes in a row that close it */
	int64_t breaker_probe_s;   /* least time between those; 0: none */
	int64_t ramp_percent;      /* of its share that a key gets when it is back; then it climbs */
	int32_t breaker_forced;    /* enum breaker_forced */
	char health_path[256];     /* asked regularly, relative to base_url; "": not */
	int64_t health_interval_s;
	int32_t health_method;     /* enum health_method */
	char failure_rules[LIST_BYTES]; /* route/failure_rule.h; before those of policies */
};

enum breaker_forced { BREAKER_AUTO, BREAKER_FORCED_OPEN, BREAKER_FORCED_CLOSED };
enum health_method { HEALTH_HEAD, HEALTH_GET };

struct key {
	struct record head;
	struct id upstream;
	struct id project; /* for this project alone; none: for all */
	char label[NAME_BYTES];
	struct sealed secret;
	char masked[TOKEN_MASKED_BYTES];
	bool is_enabled;
	int64_t weight; /* 1..1000 */
	int64_t priority;     /* as an upstream's, within it */
	int64_t max_parallel; /* calls at once; 0: no limit */
	char tags[SHORT_LIST_BYTES];           /* "name=value"; "region=…" and "tenant=…" go before the upstream's */
	char quotas[SHORT_LIST_BYTES];         /* "requests/minute=60", "tokens/day=1000000": what it is known to have */
	char allowed_models[SHORT_LIST_BYTES]; /* patterns; empty: those of its upstream */
	char blocked_models[SHORT_LIST_BYTES];
	char disabled_reason[128];             /* why is_enabled is false */
};

enum route_strategy {
	STRATEGY_WEIGHTED,      /* smooth weighted round robin over all keys, by weight of target and key */
	STRATEGY_ROUND_ROBIN,   /* in turn over groups, in them over upstreams, in those over keys */
	STRATEGY_FIRST,         /* the first in order that may be asked */
	STRATEGY_RANDOM,
	STRATEGY_SAME,          /* the last one again while it may be asked */
	STRATEGY_LEAST_INFLIGHT,
	STRATEGY_LATENCY,       /* the lowest decayed time to the first content */
	STRATEGY_SEQUENTIAL,    /* one key until its quota is spent, then the next */
	STRATEGY_BALANCED,      /* random, by how much less than the busiest each was used */
	STRATEGY_PRIORITY,      /* tiers by priority, weighted within each */
	STRATEGY_SPLIT,         /* weights are percentages of targets: exact, whatever their keys */
	STRATEGY_OBJECTIVE,     /* the best score by `objectives` */
	STRATEGY_WEIGHTED_LATENCY, /* weighted, less for who is slower to the first content: down to a tenth */
	STRATEGY__COUNT
};
enum route_affinity { AFFINITY_NONE, AFFINITY_SESSION, AFFINITY_PROMPT };
enum route_switch { SWITCH_INHERIT, SWITCH_YES, SWITCH_NO };

/* Model pattern to targets.  Of the active routes that fit, a project's own goes before the common
 * ones, then a name before patterns, the longer pattern first, then the older route. */
struct route {
	struct record head;
	char name[NAME_BYTES];   /* unique */
	char model[MODEL_BYTES]; /* that clients ask for: a name, a glob, or "/regex/" */
	bool is_active;
	struct id project;       /* for this one alone; none: for all */
	/* A line each, in order: "up_ID weight priority model" (model "" is the one asked for, and may
	 * hold blanks).  None: every upstream that serves the model. */
	char targets[LIST_BYTES];
	int32_t strategy;        /* enum route_strategy */
	char objectives[256];    /* "cost=2", "reliability=1", fairness, quality, latency: shares */
	/* constraints: who may be asked at all */
	char allowed_upstreams[SHORT_LIST_BYTES], blocked_upstreams[SHORT_LIST_BYTES]; /* globs of names */
	char regions[256], tenants[256]; /* globs; empty: any */
	int64_t max_cost_nusd;   /* of one request at worst; 0: no limit */
	int64_t min_reliability; /* percent of late calls that succeeded; 0: any */
	int32_t affinity;        /* enum route_affinity */
	int64_t affinity_s, affinity_most_s; /* since the last call, since the first */
	int64_t migrate_below_tokens; /* a shorter conversation moves to a better tier that is free again; 0: none moves */
	int64_t tries;           /* attempts at most; 0: the settings' */
	int64_t deadline_ms;     /* from the request to the last attempt's begin; 0: the settings' */
	int64_t queue_most, queue_wait_ms; /* waiters, and how long each; -1: the settings' */
	char fallbacks[1024];    /* a line each, in order: "error|context|filter|price MODEL" */
	char failure_rules[SHORT_LIST_BYTES]; /* before those of upstreams */
	char request_rules[LIST_BYTES];  /* wire/request_rule.h: "set temperature=0.2", "cap max_tokens=4096" … */
	int32_t strict, fetch_media;     /* enum route_switch: instead of the upstream's */
	char disconnect[24];     /* as a project's, which goes before it */
	int64_t slow_chars_s, slow_after_ms; /* a stream below that rate before its first content is shown fails over; 0: off */
};

enum policy_type { POLICY_ROUTING, POLICY_COST_CONTROL, POLICY_KEY_SELECTION, POLICY_FAILURE_HANDLING };
enum policy_scope { POLICY_GLOBAL, POLICY_OF_PROJECT, POLICY_OF_UPSTREAM, POLICY_OF_KEY, POLICY_OF_ROUTE };
/* Rules for many routes.  What forbids adds up; of what sets one value the narrowest scope counts
 * (key, route, upstream, project, global), then the greatest priority.  Deny beats allow. */
struct policy {
	struct record head;
	char name[NAME_BYTES]; /* unique */
	int32_t type, scope;
	struct id project, upstream, key, route; /* the one that scope speaks of */
	bool is_active;
	int64_t priority;
	/* routing and key selection */
	char allowed_upstreams[SHORT_LIST_BYTES], blocked_upstreams[SHORT_LIST_BYTES];
	char allowed_models[SHORT_LIST_BYTES], blocked_models[SHORT_LIST_BYTES];
	char blocked_keys[SHORT_LIST_BYTES];   /* ids or globs of labels */
	char allowed_states[128];              /* of keys: available, recovering … */
	char regions[256], tenants[256], required_tags[256]; /* required_tags: globs of "name=value" */
	bool free_only;
	int32_t strategy;      /* 0: not set; else 1 + enum route_strategy */
	char objectives[256];
	int64_t min_reliability;
	/* cost control */
	int64_t max_cost_nusd; /* of one request at worst */
	bool refuse_unpriced;
	/* failure handling */
	char failure_rules[LIST_BYTES];
	int64_t tries, deadline_ms;
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
const char *record_name(enum record_kind kind);   /* "token" */
const char *record_plural(enum record_kind kind); /* "tokens", "policies": the API's path */
/* The field that is unique within the kind, or NULL: a name that may stand wherever an id may. */
const struct field *record_name_field(enum record_kind kind);
/* Zeroes and fills in the fallbacks. */
void record_init(enum record_kind kind, void *record);

/* Binary form.  encode: bytes written, or -1 when out is too small or the record's unknown rest
 * did not fit and was cut (it may be read, not written).  decode: 0, or -1 when it is damaged. */
#define RECORD_BINARY_MAX 24576
ptrdiff_t record_encode(enum record_kind kind, const void *record, uint8_t *out, size_t room);
int record_decode(enum record_kind kind, const uint8_t *data, size_t len, void *record);
/* The same of one field's value alone; 0 bytes: nothing. */
ptrdiff_t record_field_encode(const struct field *f, const void *record, uint8_t *out, size_t room);
int record_field_decode(const struct field *f, const uint8_t *data, size_t len, void *record);

#endif
