/* main_gateway.c - sluice.fcgi, the gateway; see gateway/gateway.h. */
#include "gateway/gateway.h"

int
main(int argc, char **argv)
{
	return gateway_main(argc, argv);
}
