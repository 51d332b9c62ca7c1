/*
 * socket.h - TCP sockets with deadlines. Every descriptor is close-on-exec and non-blocking, and waits for nothing
 *            longer than asked.
 */
#ifndef DT_SOCKET_H
#define DT_SOCKET_H

#include "detent/status.h"

#include <stddef.h>

enum { DT_ADDRESS_BYTES = 64 }; /* of a numeric address as a text */

/* Returns seconds of a clock that never goes back. */
double dt_socket_clock(void);

/* Listens at an address (NULL: 127.0.0.1) and a port (0: any that is free). */
DT_MUST_CHECK dt_status dt_socket_listen(const char *address, int port, int *fd);
/* Returns the port of a socket, or 0. */
int dt_socket_port(int fd);
/* Writes the address of this end of a connection as a number. */
DT_MUST_CHECK dt_status dt_socket_address(int fd, char address[DT_ADDRESS_BYTES]);

/* Writes the address of this host from which packets go to that address. It sends none. */
DT_MUST_CHECK dt_status dt_socket_route(const char *address, int port, char from[DT_ADDRESS_BYTES]);

/* Returns 1 if both ends of a connection have one address: they are on one host. */
int dt_socket_is_local(int fd);

/* Takes over a socket that somebody else opened: makes it non-blocking and close-on-exec. */
void dt_socket_adopt(int fd);
/* Takes a connection that waits at a listener; *fd is -1 if there is none. */
DT_MUST_CHECK dt_status dt_socket_accept(int listener, int *fd);
/* Connects once, waiting at most `seconds`. DT_ERR_COMM: nobody listens there, or does not answer. */
DT_MUST_CHECK dt_status dt_socket_connect(const char *address, int port, double seconds, int *fd);

/* What a single transfer of at most `bytes` bytes did: the number of bytes, 0 if it would have to wait, or -1 if the
 * link has ended, with a word for it in *why. */
long dt_socket_send(int fd, const void *data, size_t bytes, const char **why);
long dt_socket_receive(int fd, void *data, size_t bytes, const char **why);

/* Transfers all bytes, waiting until the clock is at `deadline`. */
DT_MUST_CHECK dt_status dt_socket_send_all(int fd, const void *data, size_t bytes, double deadline);
DT_MUST_CHECK dt_status dt_socket_receive_all(int fd, void *data, size_t bytes, double deadline);

/* Closes *fd, unless it is -1, and sets it to -1. */
void dt_socket_close(int *fd);

#endif /* DT_SOCKET_H */
