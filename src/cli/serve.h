/*
 * serve.h - `sluice serve`: both sockets and a pool of workers that is kept alive.
 */
#ifndef CLI_SERVE_H
#define CLI_SERVE_H

/* Opens the UNIX sockets (0660) and keeps as many workers of sluice.fcgi and sluice-manage.fcgi on
 * them as the settings say.  HUP: new workers with new settings, then the old ones drain; TERM or
 * INT: all drain, and it ends when the last has gone.  Returns the exit code. */
int serve_main(int argc, char **argv);

#endif
