/*
 * egress.c - which addresses may be called.
 *
 * The judgement is made on the address that is about to be connected to, not on the name: a name
 * that resolves to something else the second time gains nothing.  IPv4 is open but for the ranges
 * of IANA's special-purpose registry that no provider can be in; IPv6 is closed but for global
 * unicast.  Forms that carry an IPv4 address (mapped, NAT64) are judged by the one inside, because
 * on a network with NAT64 every IPv4 provider looks like that; tunnels (6to4, Teredo) are refused.
 */
#include "forward/forward-int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static const struct range4 {
	uint32_t net;
	int bits;
} closed4[] = {
	{ 0x00000000, 8 },  /* 0.0.0.0/8 this network */
	{ 0x0a000000, 8 },  /* 10.0.0.0/8 private */
	{ 0x64400000, 10 }, /* 100.64.0.0/10 carrier-grade NAT */
	{ 0x7f000000, 8 },  /* 127.0.0.0/8 loopback */
	{ 0xa83f8110, 32 }, /* 168.63.129.16 Azure's host, as seen from its guests */
	{ 0xa9fe0000, 16 }, /* 169.254.0.0/16 link-local, the clouds' metadata */
	{ 0xac100000, 12 }, /* 172.16.0.0/12 private */
	{ 0xc0000000, 24 }, /* 192.0.0.0/24 protocol assignments */
	{ 0xc0000200, 24 }, /* 192.0.2.0/24 documentation */
	{ 0xc0586300, 24 }, /* 192.88.99.0/24 6to4 relays */
	{ 0xc0a80000, 16 }, /* 192.168.0.0/16 private */
	{ 0xc6120000, 15 }, /* 198.18.0.0/15 benchmarking */
	{ 0xc6336400, 24 }, /* 198.51.100.0/24 documentation */
	{ 0xcb007100, 24 }, /* 203.0.113.0/24 documentation */
	{ 0xe0000000, 4 },  /* 224.0.0.0/4 multicast */
	{ 0xf0000000, 4 },  /* 240.0.0.0/4 reserved, broadcast */
};

/* Parts of global unicast that are not. */
static const struct range6 {
	uint8_t net[16];
	int bits;
} closed6[] = {
	{ { 0x20, 0x01 }, 23 },             /* 2001::/23 Teredo, benchmarking, ORCHID */
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32 }, /* 2001:db8::/32 documentation */
	{ { 0x20, 0x02 }, 16 },             /* 2002::/16 6to4 */
	{ { 0x3f, 0xfe }, 16 },             /* 3ffe::/16 the former 6bone */
	{ { 0x3f, 0xff }, 20 },             /* 3fff::/20 documentation */
};
static const struct range6 global = { { 0x20 }, 3 };
static const struct range6 mapped = { { [10] = 0xff, [11] = 0xff }, 96 };
static const struct range6 nat64 = { { 0x00, 0x64, 0xff, 0x9b }, 96 };

static bool
is_public4(uint32_t a)
{
	for (size_t i = 0; i < sizeof closed4 / sizeof closed4[0]; i++)
		if ((a ^ closed4[i].net) >> (32 - closed4[i].bits) == 0)
			return false;
	return true;
}

static bool
within6(const uint8_t a[16], const struct range6 *r)
{
	int whole = r->bits / 8, rest = r->bits % 8;

	if (memcmp(a, r->net, (size_t)whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ r->net[whole]) >> (8 - rest)) == 0;
}

static bool
is_public6(const uint8_t a[16])
{
	if (within6(a, &mapped) || within6(a, &nat64)) {
		uint32_t inside;

		memcpy(&inside, a + 12, sizeof inside);
		return is_public4(ntohl(inside));
	}
	if (!within6(a, &global))
		return false;
	for (size_t i = 0; i < sizeof closed6 / sizeof closed6[0]; i++)
		if (within6(a, &closed6[i]))
			return false;
	return true;
}

bool
forward_address_is_public(const struct sockaddr *a)
{
	/* Copied out, because a sockaddr from a caller need not be aligned for the longer kinds. */
	if (a->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, a, sizeof in);
		return is_public4(ntohl(in.sin_addr.s_addr));
	}
	if (a->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, a, sizeof in6);
		return is_public6(in6.sin6_addr.s6_addr);
	}
	return false;
}

bool
egress_text_is_public(const char *address)
{
	struct in_addr in;
	struct in6_addr in6;

	if (inet_pton(AF_INET, address, &in) == 1)
		return is_public4(ntohl(in.s_addr));
	if (inet_pton(AF_INET6, address, &in6) == 1)
		return is_public6(in6.s6_addr);
	return false;
}

curl_socket_t
egress_open(void *call, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct forward_call *c = call;
	const void *from = NULL;
	int fd;

	(void)purpose;
	call_looked_up(c, LOOKUP_FOUND);
	if (address->family == AF_INET)
		from = &((const struct sockaddr_in *)(const void *)&address->addr)->sin_addr;
	else if (address->family == AF_INET6)
		from = &((const struct sockaddr_in6 *)(const void *)&address->addr)->sin6_addr;
	if (from != NULL)
		(void)inet_ntop(address->family, from, c->address, sizeof c->address);
	if (!c->allow_private && !forward_address_is_public(&address->addr)) {
		c->address_refused = true; /* libcurl goes on to the name's next address */
		return CURL_SOCKET_BAD;
	}
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
		address->protocol);
	if (fd == -1) {
		if (errno != EAFNOSUPPORT) { /* an IPv6 address on a machine without IPv6 */
			c->fault = FORWARD_MEMORY;
			c->fault_text = "no socket is left";
		}
		return CURL_SOCKET_BAD;
	}
	forward_socket_opened(c->f, fd);
	return fd;
}
