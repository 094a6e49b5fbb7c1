/*
 * mock.h - `sluice mock`: a provider that is none, scripted by what is asked of it.
 *
 * What it can be told, and how, stands in its --help.
 */
#ifndef CLI_MOCK_H
#define CLI_MOCK_H

/* Runs until --seconds have passed, or SIGTERM or SIGINT.  argv[0] is "mock".  Returns the exit code. */
int mock_main(int argc, char **argv);

#endif
