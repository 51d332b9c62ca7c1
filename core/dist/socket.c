/*
 * socket.c - see socket.h. Tests: tests/core/test_dist_meet.c.
 */
#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 128 };

double dt_socket_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static dt_status resolve(const char *address, int port, int passive, struct addrinfo **out)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0) };
    const char *name = address ? address : "127.0.0.1";
    char service[16];

    snprintf(service, sizeof service, "%d", port);
    const int failed = getaddrinfo(name, service, &hints, out);
    DT_CHECK(failed == 0, DT_ERR_COMM, "address '%s': %s", name, gai_strerror(failed));
    return DT_OK;
}

/* Small frames leave at once; they are what a step waits for. */
static void set_up(int fd)
{
    const int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void dt_socket_adopt(int fd)
{
    const int flags = fcntl(fd, F_GETFL);

    if (flags >= 0) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static int open_socket(const struct addrinfo *a)
{
    return socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
}

dt_status dt_socket_listen(const char *address, int port, int *fd)
{
    struct addrinfo *list;
    const int on = 1;
    int opened = -1, failed = 0;

    DT_TRY(resolve(address, port, 1, &list));
    for (const struct addrinfo *a = list; a && opened < 0; a = a->ai_next) {
        opened = open_socket(a);
        if (opened >= 0) setsockopt(opened, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (opened >= 0 && bind(opened, a->ai_addr, a->ai_addrlen) == 0 && listen(opened, BACKLOG) == 0) break;
        failed = errno;
        dt_socket_close(&opened);
    }
    freeaddrinfo(list);
    DT_CHECK(opened >= 0, DT_ERR_COMM, "%s port %d: %s; choose another with --master-port",
             address ? address : "127.0.0.1", port, strerror(failed));
    *fd = opened;
    return DT_OK;
}

int dt_socket_port(int fd)
{
    struct sockaddr_storage at;
    socklen_t bytes = sizeof at;

    if (getsockname(fd, (struct sockaddr *)&at, &bytes) != 0) return 0;
    if (at.ss_family == AF_INET) return ntohs(((const struct sockaddr_in *)(const void *)&at)->sin_port);
    if (at.ss_family == AF_INET6) return ntohs(((const struct sockaddr_in6 *)(const void *)&at)->sin6_port);
    return 0;
}

dt_status dt_socket_address(int fd, char address[DT_ADDRESS_BYTES])
{
    struct sockaddr_storage at;
    socklen_t bytes = sizeof at;

    DT_CHECK(getsockname(fd, (struct sockaddr *)&at, &bytes) == 0, DT_ERR_COMM, "a socket's address: %s",
             strerror(errno));
    const int failed = getnameinfo((struct sockaddr *)&at, bytes, address, DT_ADDRESS_BYTES, NULL, 0, NI_NUMERICHOST);
    DT_CHECK(failed == 0, DT_ERR_COMM, "a socket's address: %s", gai_strerror(failed));
    return DT_OK;
}

/* A datagram socket that is connected has an address and no connection. */
dt_status dt_socket_route(const char *address, int port, char from[DT_ADDRESS_BYTES])
{
    struct addrinfo *list;
    int fd = -1, failed = 0;

    DT_TRY(resolve(address, port, 0, &list));
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0) break;
        failed = errno;
        dt_socket_close(&fd);
    }
    freeaddrinfo(list);
    DT_CHECK(fd >= 0, DT_ERR_COMM, "no way to %s: %s", address ? address : "127.0.0.1", strerror(failed));
    const dt_status status = dt_socket_address(fd, from);
    dt_socket_close(&fd);
    return status;
}

static int same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family) return 0;
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *x = (const void *)a, *y = (const void *)b;
        return x->sin_addr.s_addr == y->sin_addr.s_addr;
    }
    const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)b;
    return a->ss_family == AF_INET6 && memcmp(&x->sin6_addr, &y->sin6_addr, sizeof x->sin6_addr) == 0;
}

int dt_socket_is_local(int fd)
{
    struct sockaddr_storage here, there;
    socklen_t bytes = sizeof here;

    if (getsockname(fd, (struct sockaddr *)&here, &bytes) != 0) return 0;
    bytes = sizeof there;
    if (getpeername(fd, (struct sockaddr *)&there, &bytes) != 0) return 0;
    return same_address(&here, &there);
}

dt_status dt_socket_accept(int listener, int *fd)
{
    const int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    /* a connection that has ended already, or too many: the next call may do better */
    DT_CHECK(accepted >= 0 || errno == EAGAIN || errno == EINTR || errno == ECONNABORTED || errno == EMFILE ||
                 errno == ENFILE || errno == EPROTO,
             DT_ERR_COMM, "taking a connection: %s", strerror(errno));
    if (accepted >= 0) set_up(accepted);
    *fd = accepted;
    return DT_OK;
}

/* 0, or an errno. */
static int finish_connect(int fd, double seconds)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    int failed = 0;
    socklen_t bytes = sizeof failed;

    const int n = poll(&p, 1, (int)(seconds * 1e3));
    if (n == 0) return ETIMEDOUT;
    if (n < 0) return errno;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &bytes) == 0 ? failed : errno;
}

dt_status dt_socket_connect(const char *address, int port, double seconds, int *fd)
{
    struct addrinfo *list;
    int opened = -1, failed = 0;

    DT_TRY(resolve(address, port, 0, &list));
    for (const struct addrinfo *a = list; a && opened < 0; a = a->ai_next) {
        opened = open_socket(a);
        failed = opened < 0 || connect(opened, a->ai_addr, a->ai_addrlen) != 0 ? errno : 0;
        if (failed == EINPROGRESS) failed = finish_connect(opened, seconds);
        if (failed) dt_socket_close(&opened);
    }
    freeaddrinfo(list);
    DT_CHECK(opened >= 0, DT_ERR_COMM, "%s port %d: %s", address ? address : "127.0.0.1", port, strerror(failed));
    set_up(opened);
    *fd = opened;
    return DT_OK;
}

static int would_wait(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

long dt_socket_send(int fd, const void *data, size_t bytes, const char **why)
{
    const ssize_t n = send(fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n >= 0) return (long)n;
    if (would_wait()) return 0;
    *why = strerror(errno);
    return -1;
}

long dt_socket_receive(int fd, void *data, size_t bytes, const char **why)
{
    const ssize_t n = recv(fd, data, bytes, MSG_DONTWAIT);

    if (n > 0 || bytes == 0) return (long)n;
    if (n < 0 && would_wait()) return 0;
    *why = n == 0 ? "closed by the other end" : strerror(errno);
    return -1;
}

/* Until the socket is ready, or 100 ms are over. */
static void wait_for(int fd, short events)
{
    struct pollfd p = { .fd = fd, .events = events };

    (void)poll(&p, 1, 100);
}

dt_status dt_socket_send_all(int fd, const void *data, size_t bytes, double deadline)
{
    const char *at = data, *why = NULL;

    while (bytes > 0) {
        const long n = dt_socket_send(fd, at, bytes, &why);
        DT_CHECK(n >= 0, DT_ERR_COMM, "a link: %s", why);
        DT_CHECK(n > 0 || dt_socket_clock() < deadline, DT_ERR_COMM, "a link: the other end takes nothing");
        if (n == 0) wait_for(fd, POLLOUT);
        at += n;
        bytes -= (size_t)n;
    }
    return DT_OK;
}

dt_status dt_socket_receive_all(int fd, void *data, size_t bytes, double deadline)
{
    const char *why = NULL;
    char *at = data;

    while (bytes > 0) {
        const long n = dt_socket_receive(fd, at, bytes, &why);
        DT_CHECK(n >= 0, DT_ERR_COMM, "a link: %s", why);
        DT_CHECK(n > 0 || dt_socket_clock() < deadline, DT_ERR_COMM, "a link: the other end sends nothing");
        if (n == 0) wait_for(fd, POLLIN);
        at += n;
        bytes -= (size_t)n;
    }
    return DT_OK;
}

void dt_socket_close(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}
