/*
 * door.c - see door.h. Tests: tests/core/test_dist_meet.c.
 */
#include "door.h"

#include <poll.h>
#include <string.h>

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* ---- the listener's side ---- */

static void send_away(dt_door *door, int i)
{
    door->n_strangers += !door->visitor[i].has_proved;
    dt_socket_close(&door->visitor[i].fd);
    door->n--;
    memmove(door->visitor + i, door->visitor + i + 1, (size_t)(door->n - i) * sizeof *door->visitor);
}

/* A new socket takes 16 bytes at once. */
static dt_status greet(dt_door *door, int fd)
{
    dt_visitor v = { .fd = fd, .deadline = dt_socket_clock() + door->patience };
    const char *why;

    if (door->n == DT_MOST_VISITORS) send_away(door, 0);
    const dt_status status = dt_secret_random(v.nonce, sizeof v.nonce);
    if (status != DT_OK || dt_socket_send(fd, v.nonce, sizeof v.nonce, &why) != (long)sizeof v.nonce) {
        dt_socket_close(&fd);
        return status;
    }
    door->visitor[door->n++] = v;
    return DT_OK;
}

static dt_status greet_all(dt_door *door)
{
    for (;;) {
        int fd;
        DT_TRY(dt_socket_accept(door->listener, &fd));
        if (fd < 0) return DT_OK;
        DT_TRY(greet(door, fd));
    }
}

/* 0: the proof is none. */
static int take_claim(const dt_door *door, dt_visitor *v)
{
    unsigned char expected[DT_PROOF_BYTES], mine[DT_PROOF_BYTES];
    const char *why;

    dt_secret_proof(door->secret, DT_PROOF_VISITOR, v->nonce, v->in.claim.nonce, expected);
    if (!dt_secret_same(expected, v->in.claim.proof)) return 0;
    dt_secret_proof(door->secret, DT_PROOF_LISTENER, v->nonce, v->in.claim.nonce, mine);
    v->has_proved = 1;
    v->got = 0;
    return dt_socket_send(v->fd, mine, sizeof mine, &why) == (long)sizeof mine;
}

typedef enum { VISIT_WAITS, VISIT_IS_OVER, VISIT_IS_DONE } visit_state;

static visit_state listen_to(const dt_door *door, dt_visitor *v)
{
    const char *why;

    for (;;) {
        const size_t wanted = v->has_proved ? sizeof v->in.hello : sizeof v->in.claim;
        const long n = dt_socket_receive(v->fd, v->in.bytes + v->got, wanted - v->got, &why);
        if (n < 0) return VISIT_IS_OVER;
        if (n == 0) return dt_socket_clock() < v->deadline ? VISIT_WAITS : VISIT_IS_OVER;
        v->got += (size_t)n;
        if (v->got < wanted) continue;
        if (v->has_proved) return VISIT_IS_DONE;
        if (!take_claim(door, v)) return VISIT_IS_OVER;
    }
}

static void end_texts(dt_hello *h)
{
    h->version[sizeof h->version - 1] = '\0';
    h->address[sizeof h->address - 1] = '\0';
    h->host[sizeof h->host - 1] = '\0';
    for (char *p = h->host; *p; p++) {
        if (*p < ' ' || *p > '~') *p = '?';
    }
}

static void wait_at(const dt_door *door, double seconds)
{
    struct pollfd p[1 + DT_MOST_VISITORS] = { { .fd = door->listener, .events = POLLIN } };

    for (int i = 0; i < door->n; i++) p[1 + i] = (struct pollfd){ .fd = door->visitor[i].fd, .events = POLLIN };
    (void)poll(p, (nfds_t)(1 + door->n), seconds > 0.0 ? (int)(1e3 * seconds) : 0);
}

dt_status dt_door_serve(dt_door *door, double seconds, dt_hello *hello, int *fd)
{
    *fd = -1;
    wait_at(door, least(seconds, door->patience));
    DT_TRY(greet_all(door));
    for (int i = door->n - 1; i >= 0; i--) {
        dt_visitor *v = &door->visitor[i];
        const visit_state state = listen_to(door, v);
        if (state == VISIT_IS_OVER) send_away(door, i);
        if (state != VISIT_IS_DONE) continue;
        *hello = v->in.hello;
        end_texts(hello);
        *fd = v->fd;
        v->fd = -1;
        send_away(door, i);
        return DT_OK;
    }
    return DT_OK;
}

void dt_door_close(dt_door *door)
{
    while (door->n > 0) send_away(door, door->n - 1);
}

dt_status dt_door_answer(int *fd, const char *why, double deadline)
{
    dt_welcome w = { .is_welcome = why == NULL };

    if (why) strncpy(w.why, why, sizeof w.why - 1);
    const dt_status status = dt_socket_send_all(*fd, &w, sizeof w, deadline);
    if (why || status != DT_OK) dt_socket_close(fd);
    return why ? DT_OK : status;
}

/* ---- the visitor's side ---- */

static dt_status prove(int fd, const char *secret, double deadline)
{
    struct {
        unsigned char nonce[DT_NONCE_BYTES], proof[DT_PROOF_BYTES];
    } claim;
    unsigned char nonce[DT_NONCE_BYTES], expected[DT_PROOF_BYTES], theirs[DT_PROOF_BYTES];

    DT_TRY(dt_socket_receive_all(fd, nonce, sizeof nonce, deadline));
    DT_TRY(dt_secret_random(claim.nonce, sizeof claim.nonce));
    dt_secret_proof(secret, DT_PROOF_VISITOR, nonce, claim.nonce, claim.proof);
    DT_TRY(dt_socket_send_all(fd, &claim, sizeof claim, deadline));
    const dt_status answered = dt_socket_receive_all(fd, theirs, sizeof theirs, deadline);
    dt_secret_proof(secret, DT_PROOF_LISTENER, nonce, claim.nonce, expected);
    DT_CHECK(answered == DT_OK && dt_secret_same(theirs, expected), DT_ERR_FORMAT,
             "the secret of this rank is not that of the rank it came to");
    return DT_OK;
}

static dt_status introduce(int fd, const char *secret, dt_hello *hello, double deadline)
{
    dt_welcome w;

    DT_TRY(prove(fd, secret, deadline));
    DT_TRY(dt_socket_address(fd, hello->address));
    DT_TRY(dt_socket_send_all(fd, hello, sizeof *hello, deadline));
    DT_TRY(dt_socket_receive_all(fd, &w, sizeof w, deadline));
    w.why[sizeof w.why - 1] = '\0';
    DT_CHECK(w.is_welcome, DT_ERR_UNSUPPORTED, "%s", w.why);
    return DT_OK;
}

dt_status dt_door_visit(const char *address, int port, const char *secret, dt_hello *hello, double deadline, int *fd)
{
    const double left = deadline - dt_socket_clock();
    int opened;

    DT_TRY(dt_socket_connect(address, port, left > 0.1 ? left : 0.1, &opened));
    const dt_status status = introduce(opened, secret, hello, deadline);
    if (status != DT_OK) {
        dt_socket_close(&opened);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *fd = opened;
    return DT_OK;
}
