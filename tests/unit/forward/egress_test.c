/*
 * egress_test.c - which addresses may be called: the guard's table, entry by entry.
 */
#include "forward/forward.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

static bool
judge(const char *text)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
		return forward_address_is_public((struct sockaddr *)&in);
	assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
	return forward_address_is_public((struct sockaddr *)&in6);
}

static void
every_special_range_is_refused_from_its_first_to_its_last_address(void **state)
{
	static const char *const refused[] = {
		"0.0.0.0", "0.255.255.255",                          /* this network */
		"10.0.0.0", "10.255.255.255",                        /* private */
		"100.64.0.0", "100.127.255.255",                     /* carrier-grade NAT */
		"127.0.0.1", "127.255.255.255",                      /* loopback */
		"168.63.129.16",                                     /* Azure's host */
		"169.254.0.0", "169.254.169.254", "169.254.255.255", /* link-local, metadata */
		"172.16.0.0", "172.31.255.255",                      /* private */
		"192.0.0.0", "192.0.0.255",                          /* protocol assignments */
		"192.0.2.0", "192.0.2.255",                          /* documentation */
		"192.88.99.0", "192.88.99.255",                      /* 6to4 relay */
		"192.168.0.0", "192.168.255.255",                    /* private */
		"198.18.0.0", "198.19.255.255",                      /* benchmarking */
		"198.51.100.0", "198.51.100.255",                    /* documentation */
		"203.0.113.0", "203.0.113.255",                      /* documentation */
		"224.0.0.0", "239.255.255.255",                      /* multicast */
		"240.0.0.0", "255.255.255.255",                      /* reserved, broadcast */
		"::", "::1",                                         /* nobody, loopback */
		"::8.8.8.8", /* the former compatible form */
		"::ffff:127.0.0.1", "::ffff:10.1.2.3", "::ffff:169.254.169.254", /* mapped */
		"::ffff:0:8.8.8.8",                                              /* translated */
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",       /* NAT64 of special ones */
		"64:ff9b:1::808:808",                          /* local NAT64 */
		"100::1",                                      /* discard */
		"2001::1", "2001:0:808:808::1",                /* Teredo */
		"2001:2::1", "2001:10::1", "2001:1ff:ffff::1", /* benchmarking, ORCHID, the rest */
		"2001:db8::1", "3fff::1", "3fff:fff::1",       /* documentation */
		"2002:808:808::1", "2002:7f00:1::1",           /* 6to4 */
		"3ffe::1",                                     /* 6bone */
		"fc00::1", "fd00:ec2::254", "fdff::1",         /* ULA, metadata */
		"fe80::1", "febf::1", "fec0::1",               /* link-local, site-local */
		"ff02::1", "ff0e::1",                          /* multicast */
		"4000::1", "1fff::1",                          /* outside global unicast */
	};

	(void)state;
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
		if (judge(refused[i]))
			fail_msg("%s was let through", refused[i]);
}

static void
neighbours_of_special_ranges_and_providers_are_let_through(void **state)
{
	static const char *const allowed[] = {
		"1.0.0.0",
		"8.8.8.8",
		"9.255.255.255",
		"11.0.0.0",
		"100.63.255.255",
		"100.128.0.0",
		"126.255.255.255",
		"128.0.0.0",
		"168.63.129.15",
		"168.63.129.17",
		"169.253.255.255",
		"169.255.0.0",
		"172.15.255.255",
		"172.32.0.0",
		"191.255.255.255",
		"192.0.1.0",
		"192.0.3.0",
		"192.88.98.255",
		"192.167.255.255",
		"192.169.0.0",
		"198.17.255.255",
		"198.20.0.0",
		"198.51.99.255",
		"203.0.112.255",
		"203.0.114.0",
		"223.255.255.255",
		"104.18.6.192", /* an address of a provider */
		"::ffff:8.8.8.8",
		"64:ff9b::808:808", /* the IPv4 inside decides */
		"2001:200::1",
		"2001:4860:4860::8888",
		"2001:db7::1",
		"2001:db9::1",
		"2003::1",
		"2606:4700::1",
		"2a00:1450::1",
		"3ffd::1",
		"3fff:1000::1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
		if (!judge(allowed[i]))
			fail_msg("%s was refused", allowed[i]);
}

static void
other_kinds_of_addresses_are_refused(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	(void)state;
	assert_false(forward_address_is_public((struct sockaddr *)&un));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_special_range_is_refused_from_its_first_to_its_last_address),
		cmocka_unit_test(neighbours_of_special_ranges_and_providers_are_let_through),
		cmocka_unit_test(other_kinds_of_addresses_are_refused),
	};

	return cmocka_run_group_tests_name("forward/egress", tests, NULL, NULL);
}
