/*
 * test_link.c - a link between two processes of one host: what it carries, and offers of shared memory that are none.
 */
#include "../support/ranks_here.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/stat.h>

#include "../../core/dist/link.h"
#include "../../core/dist/socket.h"

enum { MOST = 1 << 20 };
static const double SOON = 10.0;

/* The two ends of a connection on 127.0.0.1. */
typedef struct {
    dt_link out, in;
} ends;

static ends connected(void)
{
    ends e = { { .fd = -1 }, { .fd = -1 } };
    int listener;

    cr_assert(dt_socket_listen(NULL, 0, &listener) == DT_OK, "%s", dt_last_error());
    cr_assert(dt_socket_connect(NULL, dt_socket_port(listener), SOON, &e.out.fd) == DT_OK, "%s", dt_last_error());
    while (e.in.fd < 0) cr_assert(dt_socket_accept(listener, &e.in.fd) == DT_OK, "%s", dt_last_error());
    dt_socket_close(&listener);
    return e;
}

static void *offers(void *user)
{
    dt_link *l = user;

    return (void *)(intptr_t)dt_link_offer(l, dt_socket_clock() + SOON);
}

static void offer_and_take(ends *e, int may_share)
{
    pthread_t other;
    void *status;

    if (may_share)
        unsetenv("DETENT_LINKS");
    else
        setenv("DETENT_LINKS", "tcp", 1);
    cr_assert(pthread_create(&other, NULL, offers, &e->out) == 0);
    cr_assert(dt_link_take(&e->in, dt_socket_clock() + SOON) == DT_OK, "%s", dt_last_error());
    cr_assert(pthread_join(other, &status) == 0 && (dt_status)(intptr_t)status == DT_OK);
    cr_assert((e->out.queue != NULL) == may_share && (e->in.queue != NULL) == may_share);
}

/* ---- what it carries ---- */

static unsigned char byte_at(size_t i)
{
    return (unsigned char)(i * 31 + (i >> 8) + (i >> 16) * 7);
}

static void *sends_all(void *user)
{
    static unsigned char data[MOST];
    dt_link *l = user;
    const char *why = NULL;
    unsigned step = 1;

    for (size_t i = 0; i < MOST; i++) data[i] = byte_at(i);
    for (size_t at = 0; at < MOST;) {
        step = (step * 2654435761u + 1) % 200001;
        const long n = dt_link_send(l, data + at, step < MOST - at ? step : MOST - at, &why);
        if (n < 0) return (void *)why;
        if (n == 0) dt_link_wait(l, NULL);
        at += (size_t)n;
    }
    return NULL;
}

static void carry(int may_share)
{
    ends e = connected();
    static unsigned char got[MOST];
    const char *why = NULL;
    unsigned step = 7;
    pthread_t other;
    void *failure;

    offer_and_take(&e, may_share);
    cr_assert(pthread_create(&other, NULL, sends_all, &e.out) == 0);
    for (size_t at = 0; at < MOST;) {
        step = (step * 2654435761u + 1) % 90001;
        const long n = dt_link_receive(&e.in, got + at, step < MOST - at ? step : MOST - at, &why);
        cr_assert(n >= 0, "%s", why);
        if (n == 0) dt_link_wait(NULL, &e.in);
        at += (size_t)n;
    }
    cr_assert(pthread_join(other, &failure) == 0 && !failure, "%s", (const char *)failure);
    for (size_t i = 0; i < MOST; i++) cr_assert(got[i] == byte_at(i), "byte %zu is %d", i, got[i]);
    dt_link_close(&e.out);
    dt_link_close(&e.in);
}

Test(link, bytes_arrive_in_their_order, .timeout = 60)
{
    for (int may_share = 0; may_share < 2; may_share++) carry(may_share);
}

/* What was sent before the end still arrives, and then the end does. */
Test(link, the_end_comes_behind_the_bytes, .timeout = 60)
{
    for (int may_share = 0; may_share < 2; may_share++) {
        ends e = connected();
        const char *why = NULL;
        char got[8] = "";
        long n;

        offer_and_take(&e, may_share);
        cr_assert(dt_link_send(&e.out, "last", 4, &why) == 4);
        dt_link_close(&e.out);
        for (int i = 0; i < 3; i++) dt_link_wait(NULL, &e.in);
        cr_assert(dt_link_receive(&e.in, got, 8, &why) == 4 && memcmp(got, "last", 4) == 0);
        while ((n = dt_link_receive(&e.in, got, 8, &why)) == 0) dt_link_wait(NULL, &e.in);
        cr_assert(n == -1 && strcmp(why, "closed by the other end") == 0, "%s", why);
        dt_link_close(&e.in);
    }
}

/* ---- offers ---- */

typedef struct {
    uint32_t pid, fd;
    unsigned char token[16];
} offer; /* as link.c sends it */

/* The size of a queue: that of what is offered. */
static off_t queue_bytes(void)
{
    ends e = connected();
    const uint32_t no = 0;
    pthread_t other;
    struct stat is;
    offer o;

    cr_assert(pthread_create(&other, NULL, offers, &e.out) == 0);
    cr_assert(dt_socket_receive_all(e.in.fd, &o, sizeof o, dt_socket_clock() + SOON) == DT_OK);
    cr_assert(o.pid == (uint32_t)getpid() && fstat((int)o.fd, &is) == 0);
    cr_assert(dt_socket_send_all(e.in.fd, &no, sizeof no, dt_socket_clock() + SOON) == DT_OK);
    cr_assert(pthread_join(other, NULL) == 0 && !e.out.queue, "a queue that nobody took is kept");
    dt_link_close(&e.out);
    dt_link_close(&e.in);
    return is.st_size;
}

static int memory(off_t bytes, int seals)
{
    const int fd = memfd_create("test", MFD_ALLOW_SEALING);

    cr_assert(fd >= 0 && ftruncate(fd, bytes) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

static int is_taken(offer o)
{
    ends e = connected();
    uint32_t taken = 9;

    cr_assert(dt_socket_send_all(e.out.fd, &o, sizeof o, dt_socket_clock() + SOON) == DT_OK);
    cr_assert(dt_link_take(&e.in, dt_socket_clock() + SOON) == DT_OK, "%s", dt_last_error());
    cr_assert(dt_socket_receive_all(e.out.fd, &taken, sizeof taken, dt_socket_clock() + SOON) == DT_OK);
    cr_assert(taken == (e.in.queue != NULL));
    dt_link_close(&e.out);
    dt_link_close(&e.in);
    return (int)taken;
}

Test(link, only_a_queue_is_taken, .timeout = 60)
{
    unsetenv("DETENT_LINKS");
    const off_t bytes = queue_bytes();
    const uint32_t here = (uint32_t)getpid();
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW;
    const struct {
        const char *what;
        offer o;
        int taken;
    } cases[] = {
        { "a queue", { .pid = here, .fd = (uint32_t)memory(bytes, seals) }, 1 },
        { "none", { .pid = 0 }, 0 },
        { "another token", { .pid = here, .fd = (uint32_t)memory(bytes, seals), .token = { 1 } }, 0 },
        { "memory that can shrink", { .pid = here, .fd = (uint32_t)memory(bytes, F_SEAL_GROW) }, 0 },
        { "less memory", { .pid = here, .fd = (uint32_t)memory(bytes - 1, seals) }, 0 },
        { "a device", { .pid = here, .fd = (uint32_t)open("/dev/zero", O_RDWR) }, 0 },
        { "no descriptor", { .pid = here, .fd = 1 << 20 }, 0 },
        { "no process", { .pid = 1u << 30, .fd = 1 }, 0 },
    };

    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        cr_assert(is_taken(cases[k].o) == cases[k].taken, "%s", cases[k].what);
    }
}
