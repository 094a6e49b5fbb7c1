/*
 * peer.h - a provider for the tests of forward: a thread for each connection, scripted by the path.
 * It speaks through plain sockets, so that it can also do what no server would.
 */
#ifndef TESTS_FORWARD_PEER_H
#define TESTS_FORWARD_PEER_H

#include "base/clock.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEER_BIG_BYTES (60 * 1024 * 1024)

struct peer {
	int fd, port;
	pthread_t thread;
	_Atomic int connections, requests;
	_Atomic int64_t gone_us;      /* when a waiting connection was seen closed */
	_Atomic int64_t unread_bytes; /* of /big: written so far */
};

struct peer_connection {
	struct peer *peer;
	int fd;
	int served;
	char head[128 * 1024];
	size_t have; /* bytes of head[] that are filled */
};

static void
peer_say(int fd, const char *text)
{
	(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void
peer_sleep_ms(int ms)
{
	(void)usleep((useconds_t)ms * 1000);
}

/* Until the other side closes. */
static void
peer_wait_gone(struct peer_connection *c)
{
	char byte;

	while (recv(c->fd, &byte, 1, 0) > 0)
		;
	atomic_store(&c->peer->gone_us, clock_mono_us());
}

static const char *
peer_field(const char *head, const char *name)
{
	const char *at = strcasestr(head, name);

	return at == NULL ? NULL : at + strlen(name);
}

static void
peer_big(struct peer_connection *c)
{
	static const char block[64 * 1024] = { 'x' };
	char head[100];
	int64_t left = PEER_BIG_BYTES;

	(void)snprintf(
		head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", PEER_BIG_BYTES);
	peer_say(c->fd, head);
	while (left > 0) {
		ssize_t n = send(c->fd, block,
			sizeof block < (size_t)left ? sizeof block : (size_t)left, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		left -= n;
		atomic_fetch_add(&c->peer->unread_bytes, n);
	}
}

/* The head as it came, then one line about the body. */
static void
peer_echo(struct peer_connection *c, const char *head, size_t head_len, int64_t body_bytes,
	unsigned sum)
{
	char start[200], end[100];

	(void)snprintf(end, sizeof end, "body %lld sum %u\n", (long long)body_bytes, sum);
	(void)snprintf(start, sizeof start,
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
		head_len + strlen(end));
	peer_say(c->fd, start);
	(void)!send(c->fd, head, head_len, MSG_NOSIGNAL);
	peer_say(c->fd, end);
}

/* false: the connection is to be closed. */
static bool
peer_answer(struct peer_connection *c, const char *path, const char *head, size_t head_len,
	int64_t body_bytes, unsigned sum)
{
	int fd = c->fd;

	if (strcmp(path, "/json") == 0) {
		peer_say(fd,
			"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nX-Twice: one\r\n"
			"X-Request-ID: abc\r\nX-TWICE:   two  \r\nEmpty:\r\nContent-Length: "
			"11\r\n\r\n{\"ok\":true}");
	} else if (strcmp(path, "/echo") == 0) {
		peer_echo(c, head, head_len, body_bytes, sum);
	} else if (strcmp(path, "/chunked") == 0) {
		static const char answer[] =
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			"5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nX-Late: 1\r\n\r\n";

		/* Byte by byte: every split there is. */
		for (const char *p = answer; *p != '\0'; p++) {
			(void)!send(fd, p, 1, MSG_NOSIGNAL);
			peer_sleep_ms(1);
		}
	} else if (strcmp(path, "/early") == 0) {
		peer_say(fd, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
		peer_sleep_ms(20);
		peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	} else if (strcmp(path, "/tick") == 0) {
		/* Always something within the idle time, but longer than it in all. */
		peer_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
		for (int i = 0; i < 10; i++) {
			peer_say(fd, "1\r\n.\r\n");
			peer_sleep_ms(80);
		}
		peer_say(fd, "0\r\n\r\n");
	} else if (strcmp(path, "/hang") == 0) {
		peer_wait_gone(c);
		return false;
	} else if (strcmp(path, "/stall") == 0) {
		peer_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
		peer_wait_gone(c);
		return false;
	} else if (strcmp(path, "/cut-length") == 0) {
		peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this");
		return false;
	} else if (strcmp(path, "/cut-chunk") == 0) {
		peer_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
		return false;
	} else if (strcmp(path, "/cut-head") == 0) {
		peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Len");
		return false;
	} else if (strcmp(path, "/close") == 0) {
		return false;
	} else if (strcmp(path, "/until-close") == 0) {
		peer_say(fd, "HTTP/1.1 200 OK\r\n\r\nall there is");
		return false;
	} else if (strcmp(path, "/garbage") == 0) {
		peer_say(fd, "I am no web server\r\n\r\n");
		return false;
	} else if (strcmp(path, "/bad-chunk") == 0) {
		peer_say(
			fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n");
		peer_sleep_ms(50);
		return false;
	} else if (strcmp(path, "/huge-head") == 0) {
		peer_say(fd, "HTTP/1.1 200 OK\r\n");
		for (int i = 0; i < 100; i++) {
			char line[1100];

			(void)snprintf(line, sizeof line, "X-%d: %01000d\r\n", i, 0);
			peer_say(fd, line);
		}
		peer_say(fd, "\r\n");
		return false;
	} else if (strcmp(path, "/big") == 0) {
		peer_big(c);
	} else if (strcmp(path, "/second-closes") == 0) {
		/* The first request of a connection is answered, the next finds it closed. */
		if (c->served > 1)
			return false;
		peer_echo(c, head, head_len, body_bytes, sum);
	} else if (strcmp(path, "/second-thinks-then-closes") == 0) {
		if (c->served > 1) {
			peer_sleep_ms(1300);
			return false;
		}
		peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	} else if (strcmp(path, "/redirect") == 0) {
		peer_say(fd, "HTTP/1.1 302 Found\r\nLocation: /json\r\nContent-Length: 0\r\n\r\n");
	} else if (strcmp(path, "/png") == 0) {
		peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Type: Image/PNG; x=y\r\nContent-Length: "
			     "10\r\n\r\n0123456789");
	} else if (strcmp(path, "/coded") == 0) {
		peer_say(fd,
			"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Encoding: gzip\r\n"
			"Content-Length: 10\r\n\r\n0123456789");
	} else if (strcmp(path, "/endless") == 0) {
		peer_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
		while (send(fd, "10\r\n0123456789abcdef\r\n", 22, MSG_NOSIGNAL) > 0)
			;
		return false;
	} else if (strcmp(path, "/to-png") == 0) {
		/* Of a redirect's body nothing is read. */
		peer_say(fd,
			"HTTP/1.1 302 Found\r\nLocation: /png\r\nContent-Length: 9999\r\n\r\nx");
	} else if (strcmp(path, "/to-private") == 0) {
		char answer[160];

		(void)snprintf(answer, sizeof answer,
			"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/png\r\n"
			"Content-Length: 0\r\n\r\n",
			c->peer->port);
		peer_say(fd, answer);
	} else if (strcmp(path, "/to-file") == 0) {
		peer_say(fd, "HTTP/1.1 301 Moved\r\nLocation: file:///etc/passwd\r\n"
			     "Content-Length: 0\r\n\r\n");
	} else if (strcmp(path, "/round") == 0) {
		peer_say(fd, "HTTP/1.1 307 Away\r\nLocation: /round\r\nContent-Length: 0\r\n\r\n");
	} else {
		peer_say(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
	}
	return true;
}

static bool
peer_serve(struct peer_connection *c)
{
	char path[200] = "", *end, *query;
	const char *length;
	int64_t body = 0, left;
	unsigned sum = 0;
	size_t head_len;

	while ((end = memmem(c->head, c->have, "\r\n\r\n", 4)) == NULL) {
		ssize_t n = recv(c->fd, c->head + c->have, sizeof c->head - c->have - 1, 0);

		if (n <= 0)
			return false;
		c->have += (size_t)n;
		c->head[c->have] = '\0';
	}
	head_len = (size_t)(end - c->head) + 4;
	end[2] = '\0';
	length = peer_field(c->head, "\r\ncontent-length:");
	if (length != NULL)
		body = atoll(length);
	(void)sscanf(c->head, "%*s %199s", path);
	if ((query = strchr(path, '?')) != NULL)
		*query = '\0';
	left = body;
	for (size_t i = head_len; i < c->have && left > 0; i++, left--)
		sum = sum * 31 + (unsigned char)c->head[i];
	while (left > 0) {
		char block[16384];
		ssize_t n = recv(c->fd, block, sizeof block, 0);

		if (n <= 0)
			return false;
		for (ssize_t i = 0; i < n; i++)
			sum = sum * 31 + (unsigned char)block[i];
		left -= n;
	}
	c->have = 0;
	c->served++;
	atomic_fetch_add(&c->peer->requests, 1);
	return peer_answer(c, path, c->head, head_len - 2, body, sum);
}

static void *
peer_connection_run(void *ctx)
{
	struct peer_connection *c = ctx;

	while (peer_serve(c))
		;
	(void)close(c->fd);
	free(c);
	return NULL;
}

static void *
peer_run(void *ctx)
{
	struct peer *p = ctx;
	pthread_attr_t attr;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, 128 * 1024);
	for (;;) {
		int one = 1, fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC);
		struct peer_connection *c;
		pthread_t t;

		if (fd == -1)
			break;
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		atomic_fetch_add(&p->connections, 1);
		c = calloc(1, sizeof *c);
		c->peer = p;
		c->fd = fd;
		(void)pthread_create(&t, &attr, peer_connection_run, c);
	}
	(void)pthread_attr_destroy(&attr);
	return NULL;
}

static void
peer_start(struct peer *p)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;

	memset(p, 0, sizeof *p);
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(p->fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(p->fd, 1024) != 0 ||
		getsockname(p->fd, (struct sockaddr *)&a, &len) != 0)
		abort();
	p->port = ntohs(a.sin_port);
	if (pthread_create(&p->thread, NULL, peer_run, p) != 0)
		abort();
}

static void
peer_stop(struct peer *p)
{
	(void)shutdown(p->fd, SHUT_RDWR);
	(void)pthread_join(p->thread, NULL);
	(void)close(p->fd);
}

#endif
