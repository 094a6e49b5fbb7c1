/*
 * conf.c - the table of settings and everything that is read from it.
 *
 * A value is always set from text, defaults included, so there is one way in: put() reads it by its
 * type and checks its range; finish() then does what needs more than one setting.
 */
#include "conf/conf.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/process.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES      (256 * 1024) /* of a sluice.conf; also of a line in it */
#define NAME_BYTES      64
#define LIST_ITEM_BYTES 256
#define STATE_DIR       "{state_dir}/"
#define SOCKET_PATH_MAX 107 /* the kernel's struct has 108 bytes */

#define SECOND 1000LL
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)
#define MB     (1024LL * 1024)
#define GB     (1024 * MB)

/* ---- the table ---- */

enum type {
	SET_INT,
	SET_MS,
	SET_BYTES,
	SET_BOOL,
	SET_CHOICE,
	SET_PATH,
	SET_PREFIX,
	SET_ORIGINS,
	SET_ADDRESSES,
	SET_HEADER,
	SET_DISCONNECT,
	SET_SECRET
};

struct setting {
	const char *name;
	enum type type;
	size_t at, size; /* of the field */
	const char *fallback;
	int64_t min, max;    /* of numbers; max of paths: their length, 0 for any that fits */
	const char *choices; /* SET_CHOICE: in the order of the enum */
	const char *alias;   /* a variable without our prefix */
	const char *group;   /* heading in the manual, where a new one begins */
	const char *help;    /* mdoc text */
};

/* clang-format off: a table is read down its columns. */
#define SETTING(name_, type_, field, fallback_)                                                    \
	.name = (name_), .type = SET_##type_, .at = offsetof(struct conf, field),                  \
	.size = sizeof(((struct conf *)0)->field), .fallback = (fallback_)
#define RANGE(min_, max_) .min = (min_), .max = (max_)

static const struct setting settings[] = {
	{ SETTING("state_dir", PATH, state_dir, "/var/lib/sluice"), .group = "Where things are",
		.help = "Folder of the store, the board and what else must be kept.\n"
			"Never inside the folder that the web server hands out." },
	{ SETTING("master_key_file", PATH, master_key_file, STATE_DIR "master.key"),
		.help = "32 random bytes that seal the providers' keys, as they are or as text: 64 "
			"hexadecimal\ndigits or base64; mode 0600." },
	{ SETTING("gateway_socket", PATH, gateway_socket, STATE_DIR "run/gateway.sock"),
		.max = SOCKET_PATH_MAX, .help = "FastCGI socket of the gateway." },
	{ SETTING("manage_socket", PATH, manage_socket, STATE_DIR "run/manage.sock"),
		.max = SOCKET_PATH_MAX, .help = "FastCGI socket of the management API." },
	{ SETTING("log_file", PATH, log_file, ""),
		.help = "The log, a JSON object a line.\nEmpty: standard error." },
	{ SETTING("log_level", CHOICE, log_level, "info"), .choices = "debug|info|warn|error",
		.help = "The least that is logged." },
	{ SETTING("ca_file", PATH, ca_file, ""), .help = "Certificates that providers are checked "
							 "against, in PEM.\nEmpty: the system's." },

	{ SETTING("workers", INT, workers, "0"), RANGE(0, 256), .group = "Processes and threads",
		.help = "Gateway processes that\n.Ic sluice serve\nkeeps alive.\n0: one for each "
			"core." },
	{ SETTING("pin_workers", BOOL, pin_workers, "yes"),
		.help = "Keep all threads of a gateway process on one core, where there are as "
			"many "
			"processes\nas cores, or twice, or three times as many.\nA thread is woken "
			"much faster on the core that wakes it." },
	{ SETTING("manage_workers", INT, manage_workers, "1"), RANGE(1, 64),
		.help = "Processes of the management API." },
	{ SETTING("intake_threads_max", INT, intake_threads_max, "256"), RANGE(4, 4096),
		.help = "Threads of a worker that read requests.\n"
			"A web server that passes bodies on as slowly as they come keeps one busy "
			"for each\n"
			"slow client." },
	{ SETTING("exchanges_max", INT, exchanges_max, "0"), RANGE(0, 1000000),
		.help = "Requests a worker has open at once; more are answered with 503.\n"
			"0: what the limit of open files allows." },
	{ SETTING("brief", CHOICE, brief, "auto"), .choices = "auto|yes|no",
		.help = "Leave the store while a request is being forwarded, so that being killed "
			"then\n"
			"makes nobody recover.\nauto: when started as CGI." },

	{ SETTING("body_limit", BYTES, body_limit_bytes, "32m"), RANGE(1024, 4 * GB),
		.group = "Bodies of requests", .help = "Largest body." },
	{ SETTING("upload_limit", BYTES, upload_limit_bytes, "512m"), RANGE(1024, 1024 * GB),
		.help = "Largest body of an upload: files, audio, images." },
	{ SETTING("body_memory", BYTES, body_memory_bytes, "256m"), RANGE(MB, 1024 * GB),
		.help = "Memory for all bodies of a worker; what is beyond it waits in a temporary "
			"file." },
	{ SETTING("body_deadline", MS, body_deadline_ms, "5m"), RANGE(SECOND, DAY),
		.help = "Time for a body to arrive; then 408." },
	{ SETTING("body_min_rate", BYTES, body_min_rate_bytes, "0"), RANGE(0, GB),
		.help = "Bytes a second that a body has to keep up on average; then 408.\n"
			"0: only the deadline counts." },

	{ SETTING("connect_timeout", MS, connect_timeout_ms, "10s"), RANGE(100, HOUR),
		.group = "Waiting for providers", .help = "For the connection, TLS included." },
	{ SETTING("first_byte_timeout", MS, first_byte_timeout_ms, "5m"), RANGE(100, DAY),
		.help = "For the first byte of the answer." },
	{ SETTING("idle_timeout", MS, idle_timeout_ms, "5m"), RANGE(100, DAY),
		.help = "For the next byte of an answer that has begun." },
	{ SETTING("total_timeout", MS, total_timeout_ms, "1h"), RANGE(SECOND, 7 * DAY),
		.help = "For all of a request, its attempts together." },
	{ SETTING("first_heartbeat", MS, first_heartbeat_ms, "0"), RANGE(0, HOUR),
		.help = "Silence before a stream's first content after which the client gets a "
			"heartbeat.\n"
			"That settles the status of the answer as 200.\n0: none before the first "
			"content." },
	{ SETTING("heartbeat", MS, heartbeat_ms, "10s"), RANGE(0, HOUR),
		.help = "Silence within a stream after which the client gets a heartbeat.\n0: "
			"none." },
	{ SETTING("rest_default", MS, rest_default_ms, "10s"), RANGE(0, DAY),
		.help = "Rest of a key that met a rate limit when the provider does not say how "
			"long.\n"
			"Each probe in vain makes it longer: 3, 6, and 12 times as long." },
	{ SETTING("rest_max", MS, rest_max_ms, "1h"), RANGE(SECOND, 31 * DAY),
		.help = "Longest rest of a key, whatever the provider says: then one request "
			"finds out." },
	{ SETTING("tries", INT, tries, "10"), RANGE(1, 16),
		.help = "Attempts of one request at most: how many keys or providers it is tried "
			"with.\nA route may say otherwise." },
	{ SETTING("retry_deadline", MS, retry_deadline_ms, "60s"), RANGE(100, DAY),
		.help = "Time since a request's beginning in which another attempt may begin.\nA "
			"route may say otherwise." },
	{ SETTING("retry_waits", INT, retry_waits, "2"), RANGE(0, 15),
		.help = "When all that could be asked have failed in a way that may pass (a rate "
			"limit,\nan overload, an error of the server, no answer), and nothing was "
			"sent to the client:\nhow often the request waits a moment and tries them "
			"again.  0: never.\nAll its waits together last no longer than\n.Ic "
			"queue_wait ." },
	{ SETTING("retry_wait", MS, retry_wait_ms, "500ms"), RANGE(1, HOUR),
		.help = "The first of these waits; each next one is twice as long.\nAll are cut by "
			"a random part, half of them at most.\nWhere all rest it is the time until "
			"the first may be asked, if that is longer." },
	{ SETTING("queue_most", INT, queue_most, "1000"), RANGE(0, 4096),
		.help = "Requests that wait when all that could serve them are busy, for each "
			"model "
			"or route;\n"
			"more are answered with 503.  0: none waits." },
	{ SETTING("queue_wait", MS, queue_wait_ms, "10s"), RANGE(0, HOUR),
		.help = "How long each of them waits for its turn; then 503." },
	{ SETTING("rest_hint_cap", MS, rest_hint_cap_ms, "15m"), RANGE(SECOND, 31 * DAY),
		.help = "Longest rest that a provider's word is taken for at once.\n"
			"Then one request finds out, and the cap doubles up to rest_max.\n"
			"Also the first rest of a key without credit." },
	{ SETTING("rest_invalid", MS, rest_invalid_ms, "5m"), RANGE(SECOND, 31 * DAY),
		.help = "First rest of a key that its provider refuses; doubles up to rest_max." },
	{ SETTING("forecast", BOOL, forecast, "yes"),
		.help = "Keys are not asked while their quota is used up by all that is known of "
			"it.\nOtherwise they are asked until they refuse; what is foreseen is "
			"shown all the same." },
	{ SETTING("http2", BOOL, http2, "no"),
		.help = "HTTP/2 to providers: fewer connections, more memory for paused streams." },
	{ SETTING("default_max_output_tokens", INT, default_max_output_tokens, "4096"),
		RANGE(1, 100000000),
		.help = "Output reserved for, and asked for where a protocol demands a figure, "
			"when neither\n"
			"request nor model names one." },

	{ SETTING("media_fetch_bytes", BYTES, media_fetch_bytes, "10m"), RANGE(1024, 16 * MB),
		.group = "Images and documents by address",
		.help = "Most that is fetched of one image or document which a request names by "
			"its address,\nfor upstreams with\n.Ic fetch_media ;\nall of a request: "
			"twice as much." },
	{ SETTING("media_fetch_seconds", INT, media_fetch_seconds, "10"), RANGE(1, 300),
		.help = "Time in which all that a request names so must have come." },
	{ SETTING("media_allow_private", BOOL, media_allow_private, "no"),
		.help = "Fetch from loopback and private addresses too.\nWith it every client can "
			"make the gateway ask any web server of your network." },

	{ SETTING("proxy_prefix", PREFIX, proxy_prefix, "/proxy"), .alias = "PROXY_PREFIX",
		.group = "Clients",
		.help = "Path in front of those addresses that choose the upstream by name." },
	{ SETTING("cors_origins", ORIGINS, cors_origins, ""),
		.help = "Web origins whose pages may call the gateway, or *." },
	{ SETTING("cors_max_age", MS, cors_max_age_ms, "24h"), RANGE(0, DAY),
		.help = "How long a browser may keep our answer about that." },
	{ SETTING("trust_forwarded", BOOL, trust_forwarded, "no"),
		.help = "Take the client's address from the last entry of X-Forwarded-For.\n"
			"Only behind a proxy that sets it." },
	{ SETTING("end_user_header", HEADER, end_user_header, ""),
		.help = "Header of a request that names its end user, before what the body says.\n"
			"Only where a program of yours sets it." },
	{ SETTING("disconnect", DISCONNECT, disconnect, "cancel"),
		.help = "When a client leaves before its answer is complete:\n.Cm cancel\nthe "
			"provider's work,\n.Cm drain\nits answer to the end so that its cost is "
			"known, or\n.Cm drain:<seconds>\nat most.\nA project may say "
			"otherwise." },
	{ SETTING("metrics_open", BOOL, metrics_open, "no"),
		.help = "Show\n.Pa /metrics\nto everybody." },
	{ SETTING("metrics_addresses", ADDRESSES, metrics_addresses, ""),
		.help = "Addresses and networks that see\n.Pa /metrics\nwithout a token." },
	{ SETTING("session_hours", INT, session_hours, "12"), RANGE(1, 8760),
		.help = "Life of a sign-in to the admin page." },

	{ SETTING("public_models", BOOL, public_models, "no"),
		.help = "Show the list of models at\n.Pa /api/v1/models\nto everybody, as "
			"OpenRouter "
			"does." },
	{ SETTING("key_service_reveal", BOOL, key_service_reveal, "no"),
		.help = "Let\n.Pa /get_next_key?reveal=1\nshow a provider's key in clear to who "
			"has "
			"the management credential.\nEach time is kept in the audit." },

	{ SETTING("store_cap", BYTES, store_cap_bytes, "500m"), RANGE(16 * MB, 1024 * GB),
		.group = "Storage",
		.help = "Disk space for usage rows, what finds them, and their sums.\nThe "
			"oldest rows go first, their sums stay." },
	{ SETTING("row_days", INT, row_days, "0"), RANGE(0, 36500),
		.help = "Usage rows older than so many days go, their sums stay.\n"
			"0: only\n.Ic store_cap\nlets them go." },
	{ SETTING("cache_bytes", BYTES, cache_bytes, "8m"), RANGE(256 * 1024, 64 * GB),
		.help = "Cache of Berkeley DB, shared by all processes.\n64m above 100,000 "
			"tokens." },
	{ SETTING("vault_hours", INT, vault_hours, "24"), RANGE(0, 8760),
		.help = "How long signed reasoning is kept for clients whose protocol cannot carry "
			"it,\nand put back when they return without it.\n0: it is not kept." },
	{ SETTING("vault_cap", BYTES, vault_cap_bytes, "32m"), RANGE(MB, 64 * GB),
		.help = "The most that takes, beside\n.Ic store_cap .\nThe oldest goes first." },
	{ SETTING("upstreams", SECRET, upstreams, ""), .alias = "UPSTREAMS",
		.help = "Upstreams to begin with: a JSON array of objects with name, provider, "
			"base_url,\n"
			"api_key, is_default, timeout.\nAll in one line." },
};
/* clang-format on */

#define SETTINGS (sizeof settings / sizeof settings[0])
_Static_assert(SETTINGS <= CONF_SETTINGS_MAX, "raise CONF_SETTINGS_MAX");

/* Where a value came from: a line of the file, or one of these. */
enum {
	FROM_DEFAULT = 0,
	FROM_ENV = -1,
	FROM_ENV_FILE = -2,
	FROM_ALIAS = -3,
	FROM_ALIAS_FILE = -4,
	FROM_CALLER = -5
};

static const struct setting *
find(const char *name)
{
	for (size_t i = 0; i < SETTINGS; i++)
		if (strcmp(settings[i].name, name) == 0)
			return &settings[i];
	return NULL;
}

static int32_t *
origin_of(struct conf *c, const struct setting *s)
{
	return &c->origin[s - settings];
}

static char *
text_of(struct conf *c, const struct setting *s)
{
	return (char *)c + s->at;
}

static const char *
const_text_of(const struct conf *c, const struct setting *s)
{
	return (const char *)c + s->at;
}

static int64_t
number_of(const struct conf *c, const struct setting *s)
{
	const char *from = (const char *)c + s->at;
	int64_t wide = 0;
	int narrow;
	bool flag;

	switch (s->type) {
	case SET_BOOL:
		memcpy(&flag, from, sizeof flag);
		return flag;
	case SET_CHOICE:
		memcpy(&narrow, from, sizeof narrow);
		return narrow;
	default:
		memcpy(&wide, from, sizeof wide);
		return wide;
	}
}

static bool
is_text(enum type type)
{
	return type >= SET_PATH;
}

/* ---- values as text ---- */

struct unit {
	int64_t size;
	const char *name;
};

/* In the largest unit that leaves no remainder; the last one of units has size 1. */
static void
write_unit(char *out, size_t room, int64_t n, const struct unit *u)
{
	while (n % u->size != 0)
		u++;
	(void)snprintf(out, room, "%" PRId64 "%s", n / u->size, n == 0 ? "" : u->name);
}

static void
write_ms(char *out, size_t room, int64_t ms)
{
	static const struct unit units[] = { { DAY, "d" }, { HOUR, "h" }, { 60 * SECOND, "m" },
		{ SECOND, "s" }, { 1, "ms" } };

	write_unit(out, room, ms, units);
}

static void
write_bytes(char *out, size_t room, int64_t bytes)
{
	static const struct unit units[] = { { GB, "g" }, { MB, "m" }, { 1024, "k" }, { 1, "" } };

	write_unit(out, room, bytes, units);
}

/* The n-th of "a|b|c". */
static struct span
choice(const char *choices, int64_t n)
{
	for (; n > 0 && *choices != '\0'; n--) {
		choices += strcspn(choices, "|");
		choices += *choices == '|';
	}
	return (struct span){ choices, strcspn(choices, "|") };
}

/* Numbers only. */
static void
write_number(char *out, size_t room, const struct setting *s, int64_t n)
{
	switch (s->type) {
	case SET_MS:
		write_ms(out, room, n);
		break;
	case SET_BYTES:
		write_bytes(out, room, n);
		break;
	case SET_BOOL:
		(void)snprintf(out, room, "%s", n != 0 ? "yes" : "no");
		break;
	case SET_CHOICE:
		(void)span_copy(choice(s->choices, n), out, room);
		break;
	default:
		(void)snprintf(out, room, "%" PRId64, n);
		break;
	}
}

/* ---- reading values ---- */

/* Says what is allowed, for messages and the manual. */
static void
write_allowed(char *out, size_t room, const struct setting *s)
{
	char min[32], max[32];

	write_number(min, sizeof min, s, s->min);
	write_number(max, sizeof max, s, s->max);
	switch (s->type) {
	case SET_INT:
		(void)snprintf(out, room, "a whole number from %s to %s", min, max);
		break;
	case SET_MS:
		(void)snprintf(
			out, room, "a time with its unit (ms, s, m, h, d) from %s to %s", min, max);
		break;
	case SET_BYTES:
		(void)snprintf(
			out, room, "a size in bytes, or with k, m or g, from %s to %s", min, max);
		break;
	case SET_BOOL:
		(void)snprintf(out, room, "yes or no");
		break;
	case SET_CHOICE:
		(void)snprintf(out, room, "one of %s", s->choices);
		break;
	case SET_PREFIX:
		(void)snprintf(out, room, "a path such as /proxy, of letters, digits and -._~/");
		break;
	case SET_ORIGINS:
		(void)snprintf(
			out, room, "origins such as https://example.org parted by commas, or *");
		break;
	case SET_ADDRESSES:
		(void)snprintf(out, room,
			"addresses or networks such as 10.0.0.0/8, ::1 parted by commas");
		break;
	case SET_HEADER:
		(void)snprintf(out, room, "the name of a header, of letters, digits and -");
		break;
	case SET_DISCONNECT:
		(void)snprintf(out, room, "cancel, drain or drain:<seconds>");
		break;
	case SET_PATH:
		(void)snprintf(out, room, "a path of at most %zu bytes",
			s->max > 0 ? (size_t)s->max : s->size - 1);
		break;
	case SET_SECRET:
		(void)snprintf(out, room, "text of at most %zu bytes", s->size - 1);
		break;
	}
}

/* Digits alone, and *rest behind them. */
static bool
read_digits(const char *text, int64_t *n, const char **rest)
{
	const char *p = text;

	for (*n = 0; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(*n, (int64_t)10, n) ||
			__builtin_add_overflow(*n, (int64_t)(*p - '0'), n))
			return false;
	*rest = p;
	return p > text;
}

static bool
read_int(const char *text, int64_t *n)
{
	const char *rest;
	bool negative = *text == '-';

	if (!read_digits(text + negative, n, &rest) || *rest != '\0')
		return false;
	*n = negative ? -*n : *n;
	return true;
}

static bool
read_bytes(const char *text, int64_t *n)
{
	static const struct {
		const char *name;
		int64_t size;
	} units[] = {
		{ "", 1 },
		{ "b", 1 },
		{ "k", 1024 },
		{ "kb", 1024 },
		{ "kib", 1024 },
		{ "m", MB },
		{ "mb", MB },
		{ "mib", MB },
		{ "g", GB },
		{ "gb", GB },
		{ "gib", GB },
	};
	const char *rest;

	if (!read_digits(text, n, &rest))
		return false;
	while (*rest == ' ')
		rest++;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (span_is_nocase(span_of(rest), units[i].name))
			return !__builtin_mul_overflow(*n, units[i].size, n);
	return false;
}

/* A bare number is refused, because half of the readers would mean seconds and half ms. */
static bool
read_ms(const char *text, int64_t *n)
{
	if (strcmp(text, "0") == 0) {
		*n = 0;
		return true;
	}
	return clock_parse_duration(text, n) == 0;
}

static bool
read_bool(const char *text, int64_t *n)
{
	static const char *const words[] = { "no", "yes", "off", "on", "false", "true", "0", "1" };

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (span_is_nocase(span_of(text), words[i])) {
			*n = (int64_t)(i & 1);
			return true;
		}
	return false;
}

static bool
read_choice(const char *text, const char *choices, int64_t *n)
{
	for (*n = 0; choice(choices, *n).len > 0; ++*n)
		if (span_is_nocase(choice(choices, *n), text))
			return true;
	return false;
}

static bool
origin_ok(const char *item)
{
	const char *host = strstr(item, "://");

	if (strcmp(item, "*") == 0)
		return true;
	return host != NULL && host > item && host[3] != '\0' && strpbrk(host + 3, "/?# ") == NULL;
}

static bool
address_ok(const char *item)
{
	char host[LIST_ITEM_BYTES];
	unsigned char binary[16];
	const char *slash = strchr(item, '/'), *rest;
	int64_t bits, most;

	(void)span_copy((struct span){ item, strcspn(item, "/") }, host, sizeof host);
	most = inet_pton(AF_INET, host, binary) == 1    ? 32
	       : inet_pton(AF_INET6, host, binary) == 1 ? 128
							: 0;
	if (most == 0)
		return false;
	return slash == NULL ||
	       (read_digits(slash + 1, &bits, &rest) && *rest == '\0' && bits <= most);
}

/* Commas or blanks part the items; out gets them with one comma between. */
static bool
read_list(const char *text, bool (*item_ok)(const char *), char *out, size_t room)
{
	char item[LIST_ITEM_BYTES];
	size_t used = 0;

	out[0] = '\0';
	for (const char *p = text + strspn(text, ", \t"); *p != '\0'; p += strspn(p, ", \t")) {
		size_t len = strcspn(p, ", \t");

		if (!span_copy((struct span){ p, len }, item, sizeof item) || !item_ok(item))
			return false;
		if (used + 1 + len >= room)
			return false;
		if (used > 0)
			out[used++] = ',';
		memcpy(out + used, item, len + 1);
		used += len;
		p += len;
	}
	return true;
}

/* A slash is put in front and taken from the end, so that no reader has to think of either. */
static bool
read_prefix(const char *text, char *out, size_t room)
{
	size_t len;
	int n = snprintf(out, room, "%s%s", text[0] == '/' ? "" : "/", text);

	if (n < 0 || (size_t)n >= room)
		return false;
	len = (size_t)n;
	while (len > 0 && out[len - 1] == '/')
		out[--len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)out[i]) && strchr("-._~/", out[i]) == NULL)
			return false;
	return len > 0 && strstr(out, "//") == NULL && strstr(out, "/.") == NULL;
}

/* In lower case. */
static bool
read_header(const char *text, char *out, size_t room)
{
	size_t len = strlen(text);

	if (len >= room)
		return false;
	for (size_t i = 0; i <= len; i++) {
		if (i < len && !isalnum((unsigned char)text[i]) && text[i] != '-')
			return false;
		out[i] = (char)tolower((unsigned char)text[i]);
	}
	return true;
}

int
conf_disconnect(const char *text, int64_t *drain_ms)
{
	static const char drain[] = "drain:";
	const char *rest;
	int64_t seconds;

	*drain_ms = 0;
	if (strcmp(text, "cancel") == 0)
		return 0;
	*drain_ms = INT64_MAX;
	if (strcmp(text, "drain") == 0)
		return 0;
	if (strncmp(text, drain, sizeof drain - 1) != 0 ||
		!read_digits(text + sizeof drain - 1, &seconds, &rest) || *rest != '\0' ||
		seconds < 1 || seconds > DAY / SECOND)
		return -1;
	*drain_ms = seconds * SECOND;
	return 0;
}

static void
cut_slashes(char *path)
{
	for (size_t len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
		path[len - 1] = '\0';
}

/* base: folder that relative paths are meant from, or "" for the working directory. */
static bool
read_path(const struct setting *s, const char *text, const char *base, char *out)
{
	char here[CONF_PATH_BYTES];
	int n;

	if (text[0] == '\0') {
		out[0] = '\0';
		return s->fallback[0] == '\0'; /* may be empty where the default is */
	}
	if (text[0] == '/' || strncmp(text, STATE_DIR, sizeof STATE_DIR - 1) == 0) {
		bool fits = span_copy(span_of(text), out, s->size);

		cut_slashes(out);
		return fits;
	}
	if (strncmp(text, "./", 2) == 0)
		text += 2;
	if (base[0] == '\0') {
		if (getcwd(here, sizeof here) == NULL)
			return false;
		base = here;
	}
	n = snprintf(out, s->size, "%s/%s", strcmp(base, "/") == 0 ? "" : base, text);
	cut_slashes(out);
	return n > 0 && (size_t)n < s->size;
}

static bool
read_number(const struct setting *s, const char *text, int64_t *n)
{
	switch (s->type) {
	case SET_INT:
		return read_int(text, n) && *n >= s->min && *n <= s->max;
	case SET_MS:
		return read_ms(text, n) && *n >= s->min && *n <= s->max;
	case SET_BYTES:
		return read_bytes(text, n) && *n >= s->min && *n <= s->max;
	case SET_BOOL:
		return read_bool(text, n);
	default:
		return read_choice(text, s->choices, n);
	}
}

static bool
read_text(const struct setting *s, const char *text, const char *base, char *out)
{
	int64_t ignored;

	switch (s->type) {
	case SET_PATH:
		return read_path(s, text, base, out);
	case SET_PREFIX:
		return read_prefix(text, out, s->size);
	case SET_ORIGINS:
		return read_list(text, origin_ok, out, s->size);
	case SET_ADDRESSES:
		return read_list(text, address_ok, out, s->size);
	case SET_HEADER:
		return read_header(text, out, s->size);
	case SET_DISCONNECT:
		return conf_disconnect(text, &ignored) == 0 &&
		       span_copy(span_of(text), out, s->size);
	default:
		return span_copy(span_of(text), out, s->size);
	}
}

/* Clean to its end, so that equal settings are equal bytes. */
static bool
set_text(struct conf *c, const struct setting *s, const char *text)
{
	memset(text_of(c, s), 0, s->size);
	return span_copy(span_of(text), text_of(c, s), s->size);
}

/* Sets one value; *c is as before when it fails.  where: "FILE:LINE" or a variable's name. */
static int
put(struct conf *c, const struct setting *s, const char *text, const char *base, int32_t origin,
	const char *where, struct err *err)
{
	char allowed[160], fresh[CONF_UPSTREAMS_BYTES];
	int64_t n = 0;
	bool ok = is_text(s->type) ? read_text(s, text, base, fresh) : read_number(s, text, &n);

	if (!ok) {
		write_allowed(allowed, sizeof allowed, s);
		if (s->type == SET_SECRET)
			return err_set(
				err, ERR_INTERNAL, "%s: %s: must be %s", where, s->name, allowed);
		return err_set(err, ERR_INTERNAL, "%s: %s: '%.60s' is not %s", where, s->name, text,
			allowed);
	}
	if (is_text(s->type)) {
		(void)set_text(c, s, fresh);
		explicit_bzero(fresh, strlen(fresh));
	} else if (s->type == SET_BOOL) {
		bool flag = n != 0;

		memcpy(text_of(c, s), &flag, sizeof flag);
	} else if (s->type == SET_CHOICE) {
		int narrow = (int)n;

		memcpy(text_of(c, s), &narrow, sizeof narrow);
	} else {
		memcpy(text_of(c, s), &n, sizeof n);
	}
	*origin_of(c, s) = origin;
	return 0;
}

/* ---- what needs more than one setting ---- */

static void
write_where(char *out, size_t room, const struct conf *c, const struct setting *s)
{
	char upper[NAME_BYTES];
	int32_t origin = c->origin[s - settings];
	size_t i;

	for (i = 0; i < sizeof upper - 1 && s->name[i] != '\0'; i++)
		upper[i] = (char)toupper((unsigned char)s->name[i]);
	upper[i] = '\0';
	if (origin > 0)
		(void)snprintf(out, room, "%s:%" PRId32, c->file, origin);
	else if (origin == FROM_ENV || origin == FROM_ENV_FILE)
		(void)snprintf(out, room, "environment: SLUICE_%s%s", upper,
			origin == FROM_ENV_FILE ? "_FILE" : "");
	else if (origin == FROM_ALIAS || origin == FROM_ALIAS_FILE)
		(void)snprintf(out, room, "environment: %s%s", s->alias,
			origin == FROM_ALIAS_FILE ? "_FILE" : "");
	else
		(void)snprintf(out, room, "%s", origin == FROM_CALLER ? "command line" : "default");
}

static int
complain(const struct conf *c, const char *name, struct err *err, const char *what)
{
	char where[CONF_PATH_BYTES + 32];

	write_where(where, sizeof where, c, find(name));
	return err_set(err, ERR_INTERNAL, "%s: %s: %s", where, name, what);
}

static int
finish(struct conf *c, struct err *err)
{
	char full[CONF_PATH_BYTES + CONF_PATH_BYTES];

	if (c->state_dir[0] != '/')
		return complain(c, "state_dir", err, "may not stand on itself");
	for (size_t i = 0; i < SETTINGS; i++) {
		const struct setting *s = &settings[i];
		char *path = text_of(c, s);

		if (s->type != SET_PATH)
			continue;
		/* Defaults anew each time, so that they follow a state_dir that is set later. */
		if (*origin_of(c, s) == FROM_DEFAULT)
			(void)set_text(c, s, s->fallback);
		if (strncmp(path, STATE_DIR, sizeof STATE_DIR - 1) == 0) {
			(void)snprintf(full, sizeof full, "%s/%s", c->state_dir,
				path + sizeof STATE_DIR - 1);
			if (!set_text(c, s, full))
				return complain(c, s->name, err, "the path is too long");
		}
		if (s->max > 0 && strlen(path) > (size_t)s->max)
			return complain(c, s->name, err,
				"the path of a socket may have 107 bytes; choose a shorter one");
	}
	if (c->rest_default_ms > c->rest_max_ms)
		return complain(c, "rest_default", err, "must not be longer than rest_max");
	if (c->connect_timeout_ms > c->total_timeout_ms)
		return complain(c, "connect_timeout", err, "must not be longer than total_timeout");
	return 0;
}

/* Everything but finish(). */
static void
defaults(struct conf *out)
{
	memset(out, 0, sizeof *out);
	for (size_t i = 0; i < SETTINGS; i++)
		if (put(out, &settings[i], settings[i].fallback, "/", FROM_DEFAULT, "", NULL) != 0)
			abort(); /* the table contradicts itself */
}

void
conf_defaults(struct conf *out)
{
	defaults(out);
	if (finish(out, NULL) != 0)
		abort();
}

int
conf_set(struct conf *c, const char *name, const char *value, struct err *err)
{
	const struct setting *s = find(name);
	struct conf trial = *c;

	if (s == NULL)
		return err_set(err, ERR_INTERNAL, "%s is no setting", name);
	if (put(&trial, s, value, "", FROM_CALLER, "command line", err) != 0 ||
		finish(&trial, err) != 0)
		return -1;
	*c = trial;
	return 0;
}

/* ---- the file ---- */

/* Reads all of a small file, NUL-terminated; *len without the NUL.  0 or an errno. */
static int
read_file(const char *path, char *out, size_t room, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	ssize_t n = 0;

	*len = 0;
	if (fd < 0)
		return errno;
	while (*len < room && (n = read(fd, out + *len, room - *len)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			rc = errno;
			break;
		}
		*len += (size_t)n;
	}
	(void)close(fd);
	if (rc == 0 && *len == room)
		rc = EFBIG;
	if (rc == 0)
		out[*len] = '\0';
	return rc;
}

static char *
trim(char *s)
{
	size_t len;

	s += strspn(s, " \t");
	len = strlen(s);
	while (len > 0 && strchr(" \t\r", s[len - 1]) != NULL)
		s[--len] = '\0';
	return s;
}

/* Takes quotes and a comment off a value.  False when something stands behind the quotes. */
static bool
unquote(char **value)
{
	char *s = *value, *end;

	if (*s == '"') {
		end = strchr(s + 1, '"');
		if (end == NULL)
			return false;
		*end++ = '\0';
		*value = s + 1;
		end += strspn(end, " \t");
		return *end == '\0' || *end == '#' || *end == ';';
	}
	for (end = s; *end != '\0'; end++)
		if ((*end == '#' || *end == ';') &&
			(end == s || end[-1] == ' ' || end[-1] == '\t')) {
			*end = '\0';
			break;
		}
	*value = trim(s);
	return true;
}

/* Letters to change, add or leave out to come from a to b; a small one is a typing error. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[NAME_BYTES], columns = strlen(b);

	if (columns >= NAME_BYTES)
		return SIZE_MAX;
	for (size_t j = 0; j <= columns; j++)
		row[j] = j;
	for (size_t i = 0; a[i] != '\0'; i++) {
		size_t corner = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < columns; j++) {
			size_t best = corner + (a[i] != b[j]);

			corner = row[j + 1];
			if (row[j + 1] + 1 < best)
				best = row[j + 1] + 1;
			if (row[j] + 1 < best)
				best = row[j] + 1;
			row[j + 1] = best;
		}
	}
	return row[columns];
}

static int
unknown(const char *where, const char *name, struct err *err)
{
	const char *near = NULL;
	size_t least = 4;

	for (size_t i = 0; i < SETTINGS && strlen(name) < NAME_BYTES; i++) {
		size_t d = distance(name, settings[i].name);

		if (d < least) {
			least = d;
			near = settings[i].name;
		}
	}
	if (near == NULL)
		return err_set(err, ERR_INTERNAL,
			"%s: %.60s is no setting (sluice config lists them)", where, name);
	return err_set(
		err, ERR_INTERNAL, "%s: %.60s is no setting; is %s meant?", where, name, near);
}

static int
take_line(struct conf *c, char *line, int32_t number, const char *folder, struct err *err)
{
	char where[CONF_PATH_BYTES + 16], *name = trim(line), *value;
	const struct setting *s;

	(void)snprintf(where, sizeof where, "%s:%" PRId32, c->file, number);
	/* A [heading] orders the file for its reader; names are unique without it. */
	if (*name == '\0' || *name == '#' || *name == ';' ||
		(*name == '[' && strchr(name, ']') != NULL))
		return 0;
	value = strchr(name, '=');
	if (value == NULL)
		return err_set(err, ERR_INTERNAL,
			"%s: a line is 'name = value', '# comment' or '[heading]'", where);
	*value++ = '\0';
	name = trim(name);
	value = trim(value);
	s = find(name);
	if (s == NULL)
		return unknown(where, name, err);
	if (*origin_of(c, s) > 0)
		return err_set(err, ERR_INTERNAL, "%s: %s: given twice, first in line %" PRId32,
			where, name, *origin_of(c, s));
	/* A secret may contain anything. */
	if (s->type != SET_SECRET && !unquote(&value))
		return err_set(err, ERR_INTERNAL, "%s: %s: the quotes do not match", where, name);
	return put(c, s, value, folder, number, where, err);
}

static int
take_file(struct conf *c, char *text, size_t len, struct err *err)
{
	char folder[CONF_PATH_BYTES];
	int32_t number = 1;
	char *slash;

	(void)snprintf(folder, sizeof folder, "%s", c->file);
	slash = strrchr(folder, '/');
	slash[slash == folder] = '\0'; /* c->file is absolute */

	if (memchr(text, '\0', len) != NULL)
		return err_set(
			err, ERR_INTERNAL, "%s: holds NUL bytes; is it a text file?", c->file);
	if (strncmp(text, "\xEF\xBB\xBF", 3) == 0)
		text += 3; /* editors on Windows */
	for (char *line = text; line != NULL; number++) {
		char *next = strchr(line, '\n');

		if (next != NULL)
			*next++ = '\0';
		if (take_line(c, line, number, folder, err) != 0)
			return -1;
		line = next;
	}
	return 0;
}

static bool
make_absolute(const char *path, char *out, size_t room)
{
	char here[CONF_PATH_BYTES];
	int n;

	if (path[0] == '/')
		return span_copy(span_of(path), out, room);
	if (getcwd(here, sizeof here) == NULL)
		return false;
	if (strncmp(path, "./", 2) == 0)
		path += 2;
	n = snprintf(out, room, "%s/%s", strcmp(here, "/") == 0 ? "" : here, path);
	return n > 0 && (size_t)n < room;
}

/* 1 read, 0 not there and that is fine, -1. */
static int
try_file(struct conf *c, const char *path, bool must_exist, struct err *err)
{
	char *text;
	size_t len;
	int rc, result = -1;

	if (!make_absolute(path, c->file, sizeof c->file))
		return err_set(err, ERR_INTERNAL, "%.100s: the path is too long", path);
	text = malloc(FILE_BYTES + 1);
	if (text == NULL)
		return err_set(err, ERR_MEMORY, "settings: out of memory");
	rc = read_file(c->file, text, FILE_BYTES, &len);
	if (rc == 0) {
		result = take_file(c, text, len, err) == 0 ? 1 : -1;
	} else if ((rc == ENOENT || rc == ENOTDIR) && !must_exist) {
		c->file[0] = '\0';
		result = 0;
	} else {
		(void)err_set(err, ERR_INTERNAL, "%s: %s", c->file, strerror(rc));
	}
	explicit_bzero(text, FILE_BYTES + 1); /* upstreams */
	free(text);
	return result;
}

static int
load_file(struct conf *c, const char *path, struct err *err)
{
	char beside[CONF_PATH_BYTES];
	const char *named = getenv("SLUICE_CONFIG");
	ssize_t n;
	int rc;

	if (path != NULL)
		return try_file(c, path, true, err);
	if (named != NULL && named[0] != '\0')
		return try_file(c, named, true, err);

	n = readlink("/proc/self/exe", beside, sizeof beside - sizeof "sluice.conf");
	if (n > 0 && (size_t)n < sizeof beside - sizeof "sluice.conf") {
		beside[n] = '\0';
		(void)strcpy(strrchr(beside, '/') + 1, "sluice.conf");
		rc = try_file(c, beside, false, err);
		if (rc != 0)
			return rc;
	}
	/* Where a person stands may be closed to sluice's user: root's home, under runuser or sudo. */
	if (access("conf", X_OK) == 0) {
		rc = try_file(c, "conf/sluice.conf", false, err);
		if (rc != 0)
			return rc;
	}
	return try_file(c, "/etc/sluice/sluice.conf", false, err);
}

/* ---- the environment ---- */

static const char *
variable(const char *prefix, const char *name, const char *suffix, char *full, size_t room)
{
	const char *value;
	int n = snprintf(full, room, "%s%s%s", prefix, name, suffix);

	if (n < 0 || (size_t)n >= room)
		return NULL;
	for (char *p = full; *p != '\0'; p++)
		*p = (char)toupper((unsigned char)*p);
	value = getenv(full);
	return value == NULL || value[0] == '\0' ? NULL : value;
}

/* The content of a secret's file without its last line end. */
static int
read_secret(const char *var, const char *path, char *out, size_t room, struct err *err)
{
	size_t len;
	int rc = read_file(path, out, room, &len);

	if (rc == EFBIG)
		return err_set(err, ERR_INTERNAL, "environment: %s: %.100s has more than %zu bytes",
			var, path, room - 1);
	if (rc != 0)
		return err_set(
			err, ERR_INTERNAL, "environment: %s: %.100s: %s", var, path, strerror(rc));
	if (len > 0 && out[len - 1] == '\n')
		out[--len] = '\0';
	if (len > 0 && out[len - 1] == '\r')
		out[--len] = '\0';
	if (strlen(out) != len)
		return err_set(
			err, ERR_INTERNAL, "environment: %s: %.100s holds NUL bytes", var, path);
	return 0;
}

static int
take_variable(struct conf *c, const struct setting *s, const char *prefix, const char *name,
	int32_t origin, struct err *err)
{
	char var[NAME_BYTES * 2], where[NAME_BYTES * 3], content[CONF_UPSTREAMS_BYTES];
	const char *value = variable(prefix, name, "", var, sizeof var);
	int rc;

	if (value != NULL) {
		(void)snprintf(where, sizeof where, "environment: %s", var);
		return put(c, s, value, "", origin, where, err);
	}
	if (s->type != SET_SECRET)
		return 0;
	value = variable(prefix, name, "_FILE", var, sizeof var);
	if (value == NULL)
		return 0;
	(void)snprintf(where, sizeof where, "environment: %s", var);
	rc = read_secret(var, value, content, sizeof content, err);
	if (rc == 0)
		rc = put(c, s, content, "", origin - 1, where, err);
	explicit_bzero(content, sizeof content);
	return rc;
}

static int
load_environment(struct conf *c, struct err *err)
{
	for (size_t i = 0; i < SETTINGS; i++) {
		const struct setting *s = &settings[i];

		if (s->alias != NULL && take_variable(c, s, "", s->alias, FROM_ALIAS, err) != 0)
			return -1;
		if (take_variable(c, s, "SLUICE_", s->name, FROM_ENV, err) != 0)
			return -1;
	}
	return 0;
}

int
conf_secret(const char *name, char *out, size_t room, struct err *err)
{
	char var[NAME_BYTES * 2];
	const char *value = variable("SLUICE_", name, "", var, sizeof var);

	if (value != NULL) {
		if (!span_copy(span_of(value), out, room))
			return err_set(err, ERR_INTERNAL,
				"environment: %s: has more than %zu bytes", var, room - 1);
		return 1;
	}
	value = variable("SLUICE_", name, "_FILE", var, sizeof var);
	if (value == NULL)
		return 0;
	return read_secret(var, value, out, room, err) == 0 ? 1 : -1;
}

int
conf_load(struct conf *out, const char *path, struct err *err)
{
	defaults(out);
	if (load_file(out, path, err) < 0 || load_environment(out, err) != 0)
		return -1;
	return finish(out, err);
}

int
conf_workers(const struct conf *c)
{
	return c->workers > 0 ? (int)c->workers : process_cores();
}

/* ---- showing ---- */

/* As it may stand in a sluice.conf. */
static void
write_value(char *out, size_t room, const struct conf *c, const struct setting *s)
{
	const char *text = const_text_of(c, s);

	if (!is_text(s->type))
		write_number(out, room, s, number_of(c, s));
	else if (strpbrk(text, "#;") != NULL)
		(void)snprintf(out, room, "\"%s\"", text);
	else
		(void)snprintf(out, room, "%s", text);
}

static void
dump_text(FILE *to, const struct conf *c)
{
	char value[CONF_LIST_BYTES + 8], where[CONF_PATH_BYTES + 32];

	(void)fprintf(to, "# file: %s\n", c->file[0] != '\0' ? c->file : "none");
	for (size_t i = 0; i < SETTINGS; i++) {
		const struct setting *s = &settings[i];

		write_where(where, sizeof where, c, s);
		if (s->group != NULL)
			(void)fprintf(to, "\n[%s]\n", s->group);
		if (s->type == SET_SECRET) {
			(void)fprintf(to, "# %s is %s (%s)\n", s->name,
				const_text_of(c, s)[0] != '\0' ? "set" : "not set", where);
			continue;
		}
		write_value(value, sizeof value, c, s);
		(void)fprintf(to, "%-26s = %-20s # %s\n", s->name, value, where);
	}
}

static void
dump_json(FILE *to, const struct conf *c)
{
	char where[CONF_PATH_BYTES + 32];
	struct bytes b = BYTES_LIMIT(256 * 1024);

	(void)bytes_puts(&b, "{\"file\":");
	(void)bytes_json(&b, span_of(c->file));
	(void)bytes_puts(&b, ",\"settings\":{");
	for (size_t i = 0; i < SETTINGS; i++) {
		const struct setting *s = &settings[i];
		const char *text = const_text_of(c, s);

		(void)bytes_printf(&b, "%s\n\"%s\":{\"value\":", i > 0 ? "," : "", s->name);
		if (s->type == SET_SECRET)
			(void)bytes_puts(&b, text[0] != '\0' ? "\"(set)\"" : "\"\"");
		else if (is_text(s->type))
			(void)bytes_json(&b, span_of(text));
		else if (s->type == SET_CHOICE)
			(void)bytes_json(&b, choice(s->choices, number_of(c, s)));
		else if (s->type == SET_BOOL)
			(void)bytes_puts(&b, number_of(c, s) != 0 ? "true" : "false");
		else
			(void)bytes_printf(&b, "%" PRId64 "%s", number_of(c, s),
				s->type == SET_MS      ? ",\"unit\":\"ms\""
				: s->type == SET_BYTES ? ",\"unit\":\"bytes\""
						       : "");
		write_where(where, sizeof where, c, s);
		(void)bytes_puts(&b, ",\"origin\":");
		(void)bytes_json(&b, span_of(where));
		(void)bytes_puts(&b, "}");
	}
	(void)bytes_puts(&b, "}}\n");
	if (!b.failed)
		(void)fwrite(b.at, 1, b.len, to);
	bytes_free(&b);
}

void
conf_dump(FILE *to, const struct conf *c, bool json)
{
	if (json)
		dump_json(to, c);
	else
		dump_text(to, c);
}

void
conf_manual(FILE *to)
{
	char allowed[160];
	bool open = false;

	for (size_t i = 0; i < SETTINGS; i++) {
		const struct setting *s = &settings[i];

		if (s->group != NULL) {
			(void)fprintf(to, "%s.Ss %s\n.Bl -tag -width Ds\n", open ? ".El\n" : "",
				s->group);
			open = true;
		}
		write_allowed(allowed, sizeof allowed, s);
		(void)fprintf(to, ".It Ic %s\n%s\nMust be %s.\n", s->name, s->help, allowed);
		if (s->fallback[0] != '\0')
			(void)fprintf(to, "Default:\n.Ql %s .\n", s->fallback);
		else
			(void)fprintf(to, "Default: empty.\n");
		if (s->alias != NULL)
			(void)fprintf(to, "Also read from\n.Ev %s .\n", s->alias);
	}
	(void)fprintf(to, "%s", open ? ".El\n" : "");
}
