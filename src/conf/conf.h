/*
 * conf.h - the settings: one table, from which come the reader of sluice.conf, the environment
 * variables, the checks, the dump of `sluice config` and the options in sluice.conf(5).
 *
 * Where a value comes from, the later wins: default, sluice.conf, environment.
 *
 *   sluice.conf    looked for as told (--config), as $SLUICE_CONFIG, beside the program, in ./conf,
 *                  in /etc/sluice; the first that exists is the one.  None is fine.
 *   environment    SLUICE_<NAME>; for secrets SLUICE_<NAME>_FILE, a file to read it from.  Empty
 *                  counts as not set.  UPSTREAMS and PROXY_PREFIX are known without our prefix too.
 *
 * Relative paths in the file are meant from its folder, in the environment from the working
 * directory; what struct conf holds is absolute.  {state_dir} at a path's start is put in.
 *
 * struct conf is plain data: copy it, compare it, throw it away.  Loaded by one thread; afterwards
 * it is read by all.  It may hold secrets (upstreams): conf_dump() leaves them out.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include "base/err.h"
#include "base/log.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONF_PATH_BYTES      512
#define CONF_LIST_BYTES      2048
#define CONF_PREFIX_BYTES    128
#define CONF_NAME_BYTES      64
#define CONF_UPSTREAMS_BYTES 32768
#define CONF_SETTINGS_MAX    64

enum conf_brief { BRIEF_AUTO, BRIEF_YES, BRIEF_NO };

struct conf {
	/* where things are */
	char state_dir[CONF_PATH_BYTES];
	char master_key_file[CONF_PATH_BYTES];
	char gateway_socket[CONF_PATH_BYTES];
	char manage_socket[CONF_PATH_BYTES];
	char log_file[CONF_PATH_BYTES]; /* "": stderr */
	char ca_file[CONF_PATH_BYTES];  /* "": the system's */
	enum log_level log_level;

	/* processes and threads */
	int64_t workers; /* 0: as many as cores; conf_workers() */
	bool pin_workers;
	int64_t manage_workers;
	int64_t intake_threads_max;
	int64_t exchanges_max; /* of one worker; 0: what RLIMIT_NOFILE allows */
	enum conf_brief brief; /* leave the store while forwarding; auto: under CGI */

	/* bodies of requests */
	int64_t body_limit_bytes;
	int64_t upload_limit_bytes;
	int64_t body_memory_bytes; /* all bodies of a worker; beyond it they go to files */
	int64_t body_deadline_ms;
	int64_t body_min_rate_bytes; /* a second; 0: only the deadline */

	/* waiting for providers */
	int64_t connect_timeout_ms;
	int64_t first_byte_timeout_ms;
	int64_t idle_timeout_ms;
	int64_t total_timeout_ms;
	int64_t first_heartbeat_ms; /* 0: none before the first content */
	int64_t heartbeat_ms;       /* 0: none */
	int64_t rest_default_ms;    /* of a rate-limited key when the provider names no time */
	int64_t rest_max_ms;
	int64_t queue_most;         /* requests that wait for one pool; 0: none */
	int64_t queue_wait_ms;
	int64_t tries;             /* attempts of one request at most */
	int64_t retry_deadline_ms; /* from the request's beginning to the last attempt's */
	int64_t retry_waits;       /* for one request, when all that could be asked have failed */
	int64_t retry_wait_ms;     /* the first; they double */
	int64_t rest_hint_cap_ms; /* the first cap of a time that a provider states */
	int64_t rest_invalid_ms;  /* of a key that is refused, the first time */
	bool forecast;              /* hold back from keys whose quota is used up */
	bool http2;
	int64_t default_max_output_tokens;

	/* images and documents that a request names by address, for upstreams that fetch them */
	int64_t media_fetch_bytes; /* of one; all of a request: twice as much */
	int64_t media_fetch_seconds;
	bool media_allow_private;

	/* clients */
	char proxy_prefix[CONF_PREFIX_BYTES]; /* "/proxy": a slash first, none last */
	char cors_origins[CONF_LIST_BYTES];   /* lists: items parted by one comma, no blanks */
	int64_t cors_max_age_ms;
	bool trust_forwarded; /* the client's address is the last of X-Forwarded-For */
	char end_user_header[CONF_NAME_BYTES]; /* in lower case; "": none */
	char disconnect[24]; /* see conf_disconnect() */
	bool metrics_open;
	char metrics_addresses[CONF_LIST_BYTES]; /* addresses, or networks as 10.0.0.0/8 */
	int64_t session_hours;
	bool public_models;      /* the model list at OpenRouter's address needs no token */
	bool key_service_reveal; /* the key service may show keys in clear */

	/* storage */
	int64_t store_cap_bytes;
	int64_t row_days; /* 0: usage rows go by the cap alone */
	int64_t cache_bytes;
	int64_t vault_hours; /* of what models signed; 0: nothing is kept */
	int64_t vault_cap_bytes;

	/* Raw text, a JSON array; "" when not given.  Read elsewhere. */
	char upstreams[CONF_UPSTREAMS_BYTES];

	/* Kept for conf_dump(). */
	char file[CONF_PATH_BYTES]; /* the sluice.conf that was read, or "" */
	int32_t origin[CONF_SETTINGS_MAX];
};

/* path: of the file, or NULL to look for it.  0; or -1, and *err says file, line, name, and what
 * is allowed; *out is then not to be used. */
int conf_load(struct conf *out, const char *path, struct err *err);

/* The defaults alone: no file, no environment.  For tests. */
void conf_defaults(struct conf *out);

/* One setting from elsewhere (a command line).  0; or -1 with *err, and *c as before. */
int conf_set(struct conf *c, const char *name, const char *value, struct err *err);

/* What is in force and where it came from; secrets only as set or not.  As text it can be read
 * again as a sluice.conf. */
void conf_dump(FILE *to, const struct conf *c, bool json);

/* The options of sluice.conf(5), in mdoc: what stands between its introduction and its end. */
void conf_manual(FILE *to);

/* "cancel", "drain" or "drain:<seconds>" (up to a day): how long a provider's answer is still read
 * when its client has left; 0 not at all, INT64_MAX to its end.  0, or -1 when it is none of them. */
int conf_disconnect(const char *text, int64_t *drain_ms);

/* Worker processes to run: at least 1. */
int conf_workers(const struct conf *c);

/*
 * A secret that is asked for once and kept in no struct, by `init` for instance: SLUICE_<NAME>, or
 * the content of the file named by SLUICE_<NAME>_FILE without its last line end.  name as in
 * "admin_password".  1 found, 0 not given, -1 with *err.
 */
int conf_secret(const char *name, char *out, size_t room, struct err *err);

/* ---- exposure.c: could the web server hand out our files? ---- */

/* True with what of the path lies below the folder ("/sub/state", or "": it is the folder), links
 * followed. */
bool conf_is_below(const char *root, const char *path, char rest[CONF_PATH_BYTES]);
/* Does a .htaccess from root down to dir refuse everybody?  Not every server heeds it. */
bool conf_is_denied(const char *root, const char *dir);
/* Do the state or the master key lie in that web root, where that server (SERVER_SOFTWARE) is not
 * kept from them by a .htaccess? */
bool conf_is_exposed(const struct conf *c, const char *root, const char *server);
/* Puts a .htaccess that refuses everybody into the state directory, unless there is one. */
void conf_deny(const struct conf *c);

#endif
