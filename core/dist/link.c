/*
 * link.c - see link.h. The queue: a ring buffer with one writer and one reader, in memory without a name.
 *
 * The sender makes it (memfd_create) and says its own process, the descriptor and a token; the receiver opens that
 * descriptor through /proc, and knows by the token that it is the queue which was meant. Where this fails, because the
 * ranks have other users or other process namespaces, bytes pass the connection. The memory cannot shrink, so that
 * neither end can make the other fault.
 *
 * Who waits looks at the counters for a moment, and then sleeps on one of them (futex).
 * Tests: tests/core/test_link.c, tests/core/test_dist.c, tests/core/test_dist_failures.c.
 */
#include "link.h"

#include "secret.h"
#include "socket.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    QUEUE_BYTES = 1 << 18, /* a power of two; with both directions it stays in a core's second cache */
    MOST_AT_ONCE = 1 << 16,
    LOOKS = 2000,           /* before it sleeps: some 50 us */
    SOON_NS = 100000,       /* how long it sleeps where only one of two directions can wake it */
    LATER_NS = 20 * 1000000 /* and where that one is all it waits for */
};

/* Counters are of bytes that have passed, modulo 2^32. Each end writes its own, and has a copy that it trusts. */
struct dt_queue {
    unsigned char token[DT_NONCE_BYTES];
    _Alignas(64) atomic_uint sent;
    atomic_int receiver_sleeps;
    _Alignas(64) atomic_uint received;
    atomic_int sender_sleeps;
    _Alignas(64) unsigned char data[QUEUE_BYTES];
};

/* What the sender says of its queue; pid 0: there is none. */
typedef struct {
    uint32_t pid, fd;
    unsigned char token[DT_NONCE_BYTES];
} offer;

/* ---- opening ---- */

/* 1: both ends may be processes of one host, and nobody has said that they are to use TCP. */
static int may_share(const dt_link *l)
{
    const char *links = getenv("DETENT_LINKS");

    return !(links && strcmp(links, "tcp") == 0) && dt_socket_is_local(l->fd);
}

static dt_queue *map_queue(int fd)
{
    void *p = mmap(NULL, sizeof(dt_queue), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* Returns its descriptor, or -1: then there is no queue. */
static int make_queue(dt_link *l, offer *o)
{
    const int fd = memfd_create("detent", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0) return -1;
    if (posix_fallocate(fd, 0, sizeof(dt_queue)) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0)
        l->queue = map_queue(fd);
    if (l->queue && dt_secret_random(o->token, sizeof o->token) == DT_OK) {
        memcpy(l->queue->token, o->token, sizeof o->token);
        o->pid = (uint32_t)getpid();
        o->fd = (uint32_t)fd;
    }
    return fd;
}

static void free_queue(dt_link *l)
{
    if (l->queue) munmap(l->queue, sizeof *l->queue);
    l->queue = NULL;
}

dt_status dt_link_offer(dt_link *l, double deadline)
{
    offer o = { 0 };
    uint32_t taken = 0;
    const int fd = may_share(l) ? make_queue(l, &o) : -1;

    dt_status status = dt_socket_send_all(l->fd, &o, sizeof o, deadline);
    if (status == DT_OK) status = dt_socket_receive_all(l->fd, &taken, sizeof taken, deadline);
    if (status != DT_OK || taken != 1 || o.pid == 0) free_queue(l);
    if (fd >= 0) close(fd);
    return status;
}

/* It may be anything that the other process has open, and is looked at before it is used. */
static void open_queue(dt_link *l, const offer *o)
{
    const int needed = F_SEAL_SHRINK | F_SEAL_GROW;
    char path[64];
    struct stat is;

    snprintf(path, sizeof path, "/proc/%u/fd/%u", o->pid, o->fd);
    const int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return;
    if (fstat(fd, &is) == 0 && S_ISREG(is.st_mode) && is.st_size == (off_t)sizeof(dt_queue) &&
        (fcntl(fd, F_GET_SEALS) & needed) == needed)
        l->queue = map_queue(fd);
    close(fd);
    if (l->queue && memcmp(l->queue->token, o->token, sizeof o->token) != 0) free_queue(l);
}

dt_status dt_link_take(dt_link *l, double deadline)
{
    offer o;

    DT_TRY(dt_socket_receive_all(l->fd, &o, sizeof o, deadline));
    if (o.pid != 0 && may_share(l)) open_queue(l, &o);
    const uint32_t taken = l->queue != NULL;
    return dt_socket_send_all(l->fd, &taken, sizeof taken, deadline);
}

void dt_link_close(dt_link *l)
{
    free_queue(l);
    dt_socket_close(&l->fd);
}

/* ---- passing bytes ---- */

static long futex(atomic_uint *at, int what, uint32_t value, const struct timespec *timeout)
{
    return syscall(SYS_futex, at, what, value, timeout, NULL, 0);
}

/* Wakes the other end if it sleeps on that counter. */
static void wake(atomic_uint *counter, atomic_int *sleeps)
{
    if (atomic_exchange(sleeps, 0)) futex(counter, FUTEX_WAKE, 1, NULL);
}

/* Of n bytes that are to pass and `room` that can, from position `passed` on: they end where the buffer does. */
static size_t at_once(uint32_t passed, size_t n, size_t room)
{
    const size_t to_end = QUEUE_BYTES - passed % QUEUE_BYTES;
    size_t least = n < room ? n : room;

    if (least > to_end) least = to_end;
    return least < MOST_AT_ONCE ? least : MOST_AT_ONCE;
}

/* -1 with the reason if the link has ended, else 0. */
static long is_lost(const dt_link *l, const char **why)
{
    if (!l->lost) return 0;
    *why = l->lost;
    return -1;
}

long dt_link_send(dt_link *l, const void *data, size_t bytes, const char **why)
{
    dt_queue *q = l->queue;

    if (!q) return dt_socket_send(l->fd, data, bytes, why);
    const uint32_t held = l->passed - atomic_load(&q->received);
    if (held > QUEUE_BYTES) l->lost = "its counter of the shared queue is impossible";
    if (l->lost) return is_lost(l, why);
    const size_t n = at_once(l->passed, bytes, QUEUE_BYTES - held);
    if (n == 0) return 0;
    memcpy(q->data + l->passed % QUEUE_BYTES, data, n);
    l->passed += (uint32_t)n;
    atomic_store(&q->sent, l->passed);
    wake(&q->sent, &q->receiver_sleeps);
    return (long)n;
}

/* What was sent before the link ended still arrives. */
long dt_link_receive(dt_link *l, void *data, size_t bytes, const char **why)
{
    dt_queue *q = l->queue;

    if (!q) return dt_socket_receive(l->fd, data, bytes, why);
    const uint32_t held = atomic_load(&q->sent) - l->passed;
    if (held > QUEUE_BYTES) {
        *why = "its counter of the shared queue is impossible";
        return -1;
    }
    const size_t n = at_once(l->passed, bytes, held);
    if (n == 0) return bytes > 0 ? is_lost(l, why) : 0;
    memcpy(data, q->data + l->passed % QUEUE_BYTES, n);
    l->passed += (uint32_t)n;
    atomic_store(&q->received, l->passed);
    wake(&q->received, &q->sender_sleeps);
    return (long)n;
}

/* ---- waiting ---- */

static int can_send(dt_link *l)
{
    return l->passed - atomic_load(&l->queue->received) != QUEUE_BYTES;
}

static int can_receive(dt_link *l)
{
    return atomic_load(&l->queue->sent) != l->passed;
}

/* Nothing is sent on the connection of a queue. So what can be read there is its end, or what must not be. */
static void look_at_connection(dt_link *l)
{
    char byte;
    const ssize_t n = l ? recv(l->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) : -1;

    if (n == 0) l->lost = "closed by the other end";
    if (n > 0) l->lost = "it sends beside the shared queue";
}

static void relax(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#endif
}

/* Sleeps while the counter has that value. */
static void sleep_on(atomic_uint *counter, uint32_t value, atomic_int *sleeps, long ns)
{
    const struct timespec timeout = { 0, ns };

    atomic_store(sleeps, 1);
    futex(counter, FUTEX_WAIT, value, &timeout);
}

static void wait_for_queues(dt_link *out, dt_link *in)
{
    for (int i = 0; i < LOOKS; i++) {
        if ((out && can_send(out)) || (in && can_receive(in))) return;
        relax();
    }
    if (in)
        sleep_on(&in->queue->sent, in->passed, &in->queue->receiver_sleeps, out ? SOON_NS : LATER_NS);
    else
        sleep_on(&out->queue->received, out->passed - QUEUE_BYTES, &out->queue->sender_sleeps, LATER_NS);
    look_at_connection(out);
    look_at_connection(in);
}

/* At a border between hosts one direction passes a connection: a byte there wakes it, and in the queue soon. */
void dt_link_wait(dt_link *out, dt_link *in)
{
    dt_link *out_queue = out && out->queue ? out : NULL, *in_queue = in && in->queue ? in : NULL;
    struct pollfd at[2] = { { .fd = out && !out_queue ? out->fd : -1, .events = POLLOUT },
                            { .fd = in && !in_queue ? in->fd : -1, .events = POLLIN } };
    const struct timespec timeout = { 0, out_queue || in_queue ? SOON_NS : LATER_NS };

    if (at[0].fd < 0 && at[1].fd < 0) {
        wait_for_queues(out_queue, in_queue);
        return;
    }
    (void)ppoll(at, 2, &timeout, NULL);
    look_at_connection(out_queue);
    look_at_connection(in_queue);
}
