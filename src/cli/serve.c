/*
 * serve.c - the parent never touches the store and never forks with threads: it only opens,
 * starts, waits and starts again.  The sockets stay open over every reload, so that connections
 * wait in their backlog and none is refused.
 */
#include "cli/serve.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "conf/conf.h"
#include "web/web.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS_MAX     512  /* old generations included */
#define RESPAWN_FAST_MS 1000 /* a worker that lived shorter is started again after a rest */
#define RESPAWN_REST_MS 500

enum program { PROGRAM_GATEWAY, PROGRAM_MANAGE, PROGRAM__COUNT };

struct worker {
	pid_t pid; /* 0: the slot is free */
	enum program program;
	bool old; /* draining: not to be replaced */
	int core; /* it is kept on, from 0; -1: on none */
	int64_t started_ms;
};

struct serve {
	char config[PATH_MAX];
	char folder[PATH_MAX];
	struct conf conf;
	int listen_fd[PROGRAM__COUNT];
	struct worker worker[WORKERS_MAX];
	bool stopping;
};

static const char *const program_names[] = { "sluice.fcgi", "sluice-manage.fcgi" };

static int
wanted(const struct serve *s, enum program p)
{
	return p == PROGRAM_MANAGE ? (int)s->conf.manage_workers : conf_workers(&s->conf);
}

/* The core with the fewest gateway processes, or -1: each could not have the same share of one. */
static int
choose_core(const struct serve *s, enum program p)
{
	int cores = process_cores(), best = -1, least = WORKERS_MAX;

	if (p != PROGRAM_GATEWAY || !s->conf.pin_workers || conf_workers(&s->conf) % cores != 0)
		return -1;
	for (int core = 0; core < cores; core++) {
		int there = 0;

		for (int i = 0; i < WORKERS_MAX; i++)
			there += s->worker[i].pid != 0 && !s->worker[i].old &&
				 s->worker[i].core == core;
		if (there < least) {
			least = there;
			best = core;
		}
	}
	return best;
}

/* In the child: the socket becomes fd 0, as every web server hands it over. */
static void
become_worker(const struct serve *s, enum program p, pid_t parent, int core)
{
	char path[PATH_MAX + 32];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* a killed parent leaves no pool behind */
	if (getppid() != parent)
		_exit(1);
	if (dup2(s->listen_fd[p], 0) < 0)
		_exit(1);
	if (core >= 0)
		(void)process_pin(core); /* a help, not a need */
	if (s->config[0] != '\0')
		setenv("SLUICE_CONFIG", s->config, 1);
	snprintf(path, sizeof path, "%s/%s", s->folder, program_names[p]);
	execl(path, path, (char *)NULL);
	fprintf(stderr, "sluice: serve: %s cannot be started: %s\n", path, strerror(errno));
	_exit(1);
}

static void
start_worker(struct serve *s, enum program p)
{
	pid_t parent = getpid(), pid;
	int i = 0, core = choose_core(s, p);

	while (i < WORKERS_MAX && s->worker[i].pid != 0)
		i++;
	if (i == WORKERS_MAX) {
		log_write(LOG_ERROR, "serve", "%d workers run or drain; no more are started",
			WORKERS_MAX);
		return;
	}
	pid = fork();
	if (pid == 0)
		become_worker(s, p, parent, core);
	if (pid < 0) {
		log_write(LOG_ERROR, "serve", "a worker cannot be started: %s", strerror(errno));
		return;
	}
	s->worker[i] = (struct worker){ pid, p, false, core, clock_boot_ms() };
}

static int
running(const struct serve *s, enum program p)
{
	int count = 0;

	for (int i = 0; i < WORKERS_MAX; i++)
		if (s->worker[i].pid != 0 && !s->worker[i].old && s->worker[i].program == p)
			count++;
	return count;
}

static void
fill_pool(struct serve *s)
{
	for (int p = 0; p < PROGRAM__COUNT; p++)
		for (int n = running(s, (enum program)p); n < wanted(s, (enum program)p); n++)
			start_worker(s, (enum program)p);
}

static void
signal_workers(struct serve *s, int number)
{
	for (int i = 0; i < WORKERS_MAX; i++)
		if (s->worker[i].pid != 0) {
			s->worker[i].old = true;
			kill(s->worker[i].pid, number);
		}
}

/* Buries the dead.  True when one died so young that starting the next should wait a little. */
static bool
reap_workers(struct serve *s)
{
	bool young = false;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < WORKERS_MAX; i++) {
			struct worker *w = &s->worker[i];

			if (w->pid != pid)
				continue;
			w->pid = 0;
			if (w->old)
				continue;
			if (clock_boot_ms() - w->started_ms < RESPAWN_FAST_MS)
				young = true;
			if (WIFSIGNALED(status))
				log_write(LOG_WARN, "serve", "%s %d died of signal %d",
					program_names[w->program], (int)pid, WTERMSIG(status));
			else
				log_write(LOG_WARN, "serve", "%s %d ended with code %d",
					program_names[w->program], (int)pid, WEXITSTATUS(status));
		}
	return young;
}

static void
reload(struct serve *s)
{
	struct conf fresh;
	struct err err = { 0 };

	if (conf_load(&fresh, s->config[0] == '\0' ? NULL : s->config, &err) != 0) {
		log_write(LOG_ERROR, "reload", "the settings stay as they are: %s", err.text);
		return;
	}
	s->conf = fresh;
	for (int i = 0; i < WORKERS_MAX; i++)
		s->worker[i].old = s->worker[i].pid != 0;
	fill_pool(s);
	for (int i = 0; i < WORKERS_MAX; i++)
		if (s->worker[i].pid != 0 && s->worker[i].old)
			kill(s->worker[i].pid, SIGTERM);
	log_write(LOG_INFO, "reload", "new workers are up, the old ones drain");
}

static bool
any_worker(const struct serve *s)
{
	for (int i = 0; i < WORKERS_MAX; i++)
		if (s->worker[i].pid != 0)
			return true;
	return false;
}

static void
run(struct serve *s, int signals)
{
	struct signalfd_siginfo info;

	while (!s->stopping || any_worker(s)) {
		if (read(signals, &info, sizeof info) != (ssize_t)sizeof info)
			continue;
		switch (info.ssi_signo) {
		case SIGCHLD:
			if (reap_workers(s) && !s->stopping)
				usleep(RESPAWN_REST_MS * 1000);
			if (!s->stopping)
				fill_pool(s);
			break;
		case SIGHUP:
			if (!s->stopping)
				reload(s);
			break;
		default:
			s->stopping = true;
			signal_workers(s, SIGTERM);
			break;
		}
	}
}

static int
open_sockets(struct serve *s, struct err *err)
{
	const char *paths[] = { s->conf.gateway_socket, s->conf.manage_socket };

	for (int p = 0; p < PROGRAM__COUNT; p++) {
		char copy[PATH_MAX];

		snprintf(copy, sizeof copy, "%s", paths[p]);
		if (mkdir(dirname(copy), 0750) != 0 && errno != EEXIST)
			return err_set(err, ERR_INTERNAL,
				"the folder of socket %s cannot be made: %s", paths[p],
				strerror(errno));
		if ((s->listen_fd[p] = web_listen(paths[p], err)) < 0)
			return -1;
		(void)fcntl(s->listen_fd[p], F_SETFD, FD_CLOEXEC);
	}
	return 0;
}

int
serve_main(int argc, char **argv)
{
	static struct serve s;
	struct err err = { 0 };
	sigset_t set;
	int signals;
	ssize_t len;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
			if (realpath(argv[++i], s.config) == NULL) {
				fprintf(stderr, "sluice: %s: %s\n", argv[i], strerror(errno));
				return 1;
			}
		} else {
			fprintf(stderr, "usage: sluice serve [--config FILE]\n");
			return 2;
		}
	}
	len = readlink("/proc/self/exe", s.folder, sizeof s.folder - 1);
	if (len <= 0) {
		fprintf(stderr, "sluice: serve: the folder of the program is not known\n");
		return 1;
	}
	s.folder[len] = '\0';
	*strrchr(s.folder, '/') = '\0';
	if (conf_load(&s.conf, s.config[0] == '\0' ? NULL : s.config, &err) != 0 ||
		log_open(s.conf.log_file[0] == '\0' ? NULL : s.conf.log_file, "sluice serve",
			(enum log_level)s.conf.log_level, &err) != 0 ||
		open_sockets(&s, &err) != 0) {
		fprintf(stderr, "sluice: serve: %s\n", err.text);
		return 1;
	}
	log_unbuffered();
	(void)process_raise_descriptors();
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals < 0) {
		fprintf(stderr, "sluice: serve: no signal descriptor: %s\n", strerror(errno));
		return 1;
	}
	fill_pool(&s);
	log_write(LOG_INFO, "serve", "gateway on %s, management on %s", s.conf.gateway_socket,
		s.conf.manage_socket);
	run(&s, signals);
	unlink(s.conf.gateway_socket);
	unlink(s.conf.manage_socket);
	log_close();
	return 0;
}
