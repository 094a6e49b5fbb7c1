/*
 * main_manage.c - sluice-manage.fcgi: the management API behind a web server, FastCGI on fd 0 or
 * one request as plain CGI.  Mounted apart from the gateway, so that it can be guarded apart.
 *
 * Every call is answered on the intake thread that read it.  Should that thread be abandoned inside
 * the store (store.h), another one answers the same call again (manage.h, Abandonment).
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "board/board.h"
#include "conf/conf.h"
#include "manage/manage.h"
#include "web/outage.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLUSH_MS      1000
#define SWEEP_MS      (5 * 60 * 1000)
#define SWEEP_CGI_ONE 64 /* of so many CGI calls one sweeps */
#define REQUESTS_MOST 1000
#define OUTAGE_MS     3000

struct service {
	struct conf conf;
	uv_loop_t loop;
	uv_signal_t term;
	uv_timer_t timer;
	uv_work_t work;
	bool working, cgi;
	_Atomic bool lost_threads;
	_Atomic int64_t sweep_at_ms; /* when a call next looks for sessions that ran out */
	struct web_server *web;
	struct roster *roster;
	struct store *store;
	struct board *board;
	struct manage *manage;
};

/* One call, kept over an abandonment. */
struct job {
	struct service *service;
	struct web_request *request;
	struct manage_once once;
	int attempt;
};

static struct span
get_header(void *ctx, const char *name)
{
	return web_header(ctx, name);
}

/* On a call's own thread, after its answer is out: a thread that is abandoned here is missed by
 * nobody. */
static void
sweep_if_due(struct service *s, const struct manage_once *once)
{
	int64_t now_ms = clock_boot_ms(), due_ms = atomic_load(&s->sweep_at_ms);
	struct err err = { 0 };

	if (s->cgi ? once->session[0] % SWEEP_CGI_ONE != 0
		   : now_ms < due_ms || !atomic_compare_exchange_strong(
						&s->sweep_at_ms, &due_ms, now_ms + SWEEP_MS))
		return;
	if (manage_sweep(s->manage, &err) != 0)
		log_write(LOG_WARN, "sweep", "%s", err.text);
}

static void
answer(struct job *j)
{
	struct service *s = j->service;
	struct manage_once once = j->once;
	struct web_request *r = j->request;
	struct manage_request q = { .method = web_method(r),
		.path = web_path(r),
		.query = web_query(r),
		.body = web_body(r),
		.header = get_header,
		.header_ctx = r,
		.address = web_address(r),
		.remote_user = web_remote_user(r),
		.is_https = web_is_https(r),
		.once = &j->once,
		.attempt = j->attempt,
		.web_root = web_document_root(r),
		.web_server = web_server_software(r) };
	struct manage_reply reply = { 0 };
	struct web_head_line lines[MANAGE_LINES_MAX];

	store_working(s->store, j);
	manage_handle(s->manage, &q, &reply);
	store_working(s->store, NULL);
	for (size_t i = 0; i < reply.line_count; i++)
		lines[i] = (struct web_head_line){ reply.lines[i].name, reply.lines[i].value };
	web_answer(r, reply.status, reply.body.len > 0 ? "application/json" : NULL, lines,
		reply.line_count, bytes_span(&reply.body));
	bytes_free(&reply.body);
	free(j);
	sweep_if_due(s, &once);
	explicit_bzero(&once, sizeof once);
}

static const char *
make_error(void *ctx, const struct web_request *r, const struct err *why, struct bytes *out)
{
	(void)ctx;
	(void)r;
	manage_error_body(why, "", out);
	return "application/json";
}

static void
on_request(void *ctx, struct web_request *r)
{
	struct job *j = calloc(1, sizeof *j);

	if (j == NULL) {
		struct err err = { 0 };
		struct bytes body = BYTES_LIMIT(4096);

		err_set(&err, ERR_MEMORY, "no memory for a call");
		manage_error_body(&err, "", &body);
		web_answer(r, 503, "application/json", NULL, 0, bytes_span(&body));
		bytes_free(&body);
		return;
	}
	j->service = ctx;
	j->request = r;
	manage_once(&j->once);
	answer(j);
}

static void *
answer_again(void *arg)
{
	answer(arg);
	return NULL;
}

static void
on_abandoned(void *ctx, void *work)
{
	struct service *s = ctx;
	struct job *j = work;

	s->lost_threads = true;
	if (j == NULL)
		return; /* it swept: another one will */
	j->attempt++;
	if (process_start_thread(answer_again, j) != 0)
		log_write(LOG_ERROR, "manage", "no thread to take an abandoned call over");
}

static void
on_refused(void *ctx, struct web_request *r, const struct err *why)
{
	(void)ctx;
	(void)r;
	log_write(LOG_INFO, "refused", "%s", why->text);
}

static int64_t
body_limit(void *ctx, const char *method, struct span path)
{
	(void)ctx;
	return manage_body_limit(method, path);
}

static void
on_drained(void *ctx)
{
	struct service *s = ctx;

	uv_close((uv_handle_t *)&s->term, NULL);
	uv_close((uv_handle_t *)&s->timer, NULL);
}

static void
on_term(uv_signal_t *term, int number)
{
	struct service *s = term->data;

	(void)number;
	uv_signal_stop(term);
	web_stop(s->web);
}

/* Off the loop: it may block on the disk. */
static void
flush_log(uv_work_t *work)
{
	(void)work;
	log_flush();
}

static void
log_flushed(uv_work_t *work, int status)
{
	(void)status;
	((struct service *)work->data)->working = false;
}

static void
on_timer(uv_timer_t *timer)
{
	struct service *s = timer->data;

	if (s->working)
		return;
	s->working = true;
	s->work.data = s;
	uv_queue_work(&s->loop, &s->work, flush_log, log_flushed);
}

static void
on_change(void *ctx, enum record_kind kind)
{
	(void)kind;
	board_generation_bump(((struct service *)ctx)->board);
}

/*
 * A person who can only copy files begins here: an empty state folder gets its store and its master
 * key.  Where a store is nothing is made: another key would only hide that the right one is missing.
 */
static bool
is_empty(const struct conf *conf)
{
	char db[CONF_PATH_BYTES + 8];
	struct stat st;

	snprintf(db, sizeof db, "%s/db", conf->state_dir);
	return stat(db, &st) != 0;
}

static int
open_all(struct service *s, const char *program, struct err *err)
{
	struct store_options store = { .dir = s->conf.state_dir,
		.master_key_file = s->conf.master_key_file,
		.create = is_empty(&s->conf),
		.brief = s->conf.brief == BRIEF_YES || (s->cgi && s->conf.brief == BRIEF_AUTO),
		.cache_bytes = s->conf.cache_bytes };
	struct web_options web = { .listen_fd = 0,
		.threads_least = 2,
		.threads_most = (int)s->conf.intake_threads_max,
		.requests_most = REQUESTS_MOST,
		.body_limit_bytes = MANAGE_BODY_MAX,
		.body_limit = body_limit,
		.body_deadline_ms = s->conf.body_deadline_ms,
		.requests_take_long = true,
		.trust_forwarded = s->conf.trust_forwarded,
		.handler = { s, on_request, on_refused, make_error, on_drained } };
	struct err doubt = { 0 };
	size_t prices;

	/* Only by CGI: a pool's missing folder may be a disk that is not there, and init makes it. */
	if (s->cgi && store.create)
		(void)mkdir(s->conf.state_dir, 0700);
	if (log_open(s->conf.log_file[0] == '\0' ? NULL : s->conf.log_file, program,
		    s->conf.log_level, err) != 0 ||
		(s->roster = roster_join(s->conf.state_dir, err)) == NULL ||
		(s->store = store_open(&store, s->roster, err)) == NULL ||
		(s->board = board_open(s->conf.state_dir, s->roster, err)) == NULL ||
		(s->manage = manage_new(s->store, s->board, &s->conf, err)) == NULL ||
		manage_offer_setup(s->manage, err) != 0)
		return -1;
	if (store.create)
		conf_deny(&s->conf);
	if (store.create &&
		manage_import_price_list(s->manage, &s->conf, "setup", &prices, &doubt) < 0)
		log_write(LOG_WARN, "prices", "%s", doubt.text);
	store_on_change(s->store, on_change, s);
	store_watch(s->store, on_abandoned, s);
	uv_loop_init(&s->loop);
	uv_signal_init(&s->loop, &s->term);
	uv_timer_init(&s->loop, &s->timer);
	s->term.data = s->timer.data = s;
	if (!s->cgi) {
		uv_signal_start(&s->term, on_term, SIGTERM);
		uv_timer_start(&s->timer, on_timer, FLUSH_MS, FLUSH_MS);
	}
	s->web = s->cgi ? web_start_cgi(&s->loop, &web, err) : web_start(&s->loop, &web, err);
	return s->web == NULL ? -1 : 0;
}

int
main(int argc, char **argv)
{
	static struct service s;
	struct err err = { 0 };

	(void)argc;
	process_keep_secrets();
	s.cgi = web_is_cgi();
	(void)process_raise_descriptors();
	if (web_init(&err) != 0 || conf_load(&s.conf, NULL, &err) != 0 ||
		open_all(&s, argv[0], &err) != 0) {
		log_write(LOG_ERROR, "start", "%s", err.text);
		log_flush();
		if (err_status(err.code) < 500)
			err.code = ERR_STORE_UNAVAILABLE;
		web_outage(&err, OUTAGE_MS, &s, make_error);
		return 1;
	}
	uv_run(&s.loop, UV_RUN_DEFAULT);
	if (s.lost_threads) /* they never return, and hold parts of the rest: the end frees it */
		return 0;
	web_free(s.web);
	uv_loop_close(&s.loop);
	manage_free(s.manage);
	board_close(s.board);
	store_close(s.store);
	roster_leave(s.roster);
	log_flush();
	log_close();
	return 0;
}
