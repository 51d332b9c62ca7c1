/*
 * test_dist_failures.c - a rank that is killed, is stopped, hangs, closes its links or sends what it must not, while
 * all sum without end: the others end within the timeout, and each names that rank.
 *
 * The moments are random; DETENT_TEST_SEED chooses them, and is printed.
 */
#include "../support/ranks_here.h"

#include "../../core/dist/dist_inside.h"

static const double TIMEOUT = 4.0;

typedef struct {
    atomic_int turns;                 /* of rank 0 */
    char text[RANKS_MOST][512];       /* how each rank ended */
    int blamed[RANKS_MOST];           /* whom it names */
    double ended[RANKS_MOST], failed; /* ranks_clock() */
    int culprit, misdeed, after;      /* the rank that fails, how, and after so many turns */
} witness;

enum {
    KILLED,
    STOPPED,
    HANGS,
    CLOSES,
    OTHER_BYTES,
    OTHER_OPERATION,
    NO_FRAME,
    BESIDE,
    MISCOUNTS,
    NO_SIGN,
    SAYS_SO,
    N_MISDEEDS
};
static const char *const misdeeds[] = { "killed",
                                        "stopped",
                                        "hangs",
                                        "closes its links",
                                        "sends more bytes",
                                        "sends another operation",
                                        "sends no frame",
                                        "sends beside the queue",
                                        "miscounts what it has sent",
                                        "sends no sign of life",
                                        "fails" };

/* To the next rank; then nothing. */
static int say(dt_dist *d, const void *data, size_t bytes)
{
    const char *why = NULL;

    for (size_t at = 0; at < bytes;) {
        const long n = dt_link_send(&d->next, (const char *)data + at, bytes - at, &why);
        if (n < 0) return 1;
        at += (size_t)n;
    }
    for (;;) pause();
}

/* The header of a frame, which says what is not so. */
static int forge(dt_dist *d, unsigned ahead, uint64_t bytes)
{
    const struct {
        uint32_t magic, turn;
        uint64_t number, bytes;
    } frame = { 0x474e4952u, 0, d->number + 1 + ahead, bytes };

    return say(d, &frame, sizeof frame);
}

static int misbehave(dt_dist *d, int misdeed)
{
    static char garbage[4096];
    memset(garbage, 0x5a, sizeof garbage);
    switch (misdeed) {
    case KILLED: raise(SIGKILL); break;
    case STOPPED: raise(SIGSTOP); break;
    case HANGS:
        for (;;) pause();
    case CLOSES:
        dt_link_close(&d->next);
        dt_link_close(&d->prev);
        pthread_mutex_lock(&d->lock); /* its watcher, which sees one link end, is not to blame that rank on another */
        for (int i = 0; i < d->size; i++) shutdown(d->peer[i].fd, SHUT_RDWR);
        pthread_mutex_unlock(&d->lock);
        for (;;) pause();
    case OTHER_BYTES: return forge(d, 0, 1 << 30);
    case OTHER_OPERATION: return forge(d, 5, 1000 / (unsigned)d->size * sizeof(float));
    case NO_FRAME: return say(d, garbage, sizeof garbage);
    case BESIDE:
        if (send(d->next.fd, garbage, sizeof garbage, MSG_NOSIGNAL) < 0) return 1;
        for (;;) pause();
    case MISCOUNTS:
        if (!d->next.queue) return say(d, garbage, 1000);
        ((volatile uint32_t *)d->next.queue)[16] += 1u << 20; /* dt_queue.sent */
        for (;;) pause();
    case NO_SIGN:
        if (send(d->peer[d->rank == 0].fd, garbage, sizeof garbage, MSG_NOSIGNAL) < 0) return 1;
        for (;;) pause();
    default: break;
    }
    dt_dist_close(d, "the disk is full");
    _exit(0);
}

static int sums_without_end(dt_dist *d, void *user)
{
    witness *w = user;
    float v[1000] = { 0 };

    for (int turn = 0;; turn++) {
        if (d->rank == w->culprit && turn == w->after) {
            w->failed = ranks_clock();
            return misbehave(d, w->misdeed);
        }
        if (dt_dist_sum_floats(d, "sum", v, 1000) == DT_OK) continue;
        snprintf(w->text[d->rank], sizeof w->text[0], "%s", dt_last_error());
        w->blamed[d->rank] = dt_dist_ended_by_rank(d);
        w->ended[d->rank] = ranks_clock();
        return 0;
    }
}

/* What the message has to say of it, so that it is no other rank's patience which has found it. */
static const char *word_of(int misdeed)
{
    if (misdeed == OTHER_BYTES || misdeed == OTHER_OPERATION) return "sent turn 0 of operation";
    if (misdeed == NO_FRAME) return "magic 5a5a5a5a";
    if (misdeed == BESIDE) return ranks_by_tcp() ? "magic 5a5a5a5a" : "it sends beside the shared queue";
    if (misdeed == MISCOUNTS)
        return ranks_by_tcp() ? "magic 5a5a5a5a" : "its counter of the shared queue is impossible";
    return "";
}

static void check_witness(const witness *w, int n, int k)
{
    char name[32];

    snprintf(name, sizeof name, "rank %d on ", w->culprit);
    for (int i = 0; i < n; i++) {
        if (i == w->culprit) continue;
        cr_assert(w->text[i][0], "rank %d of %d %s: rank %d has not ended", w->culprit, n, misdeeds[k], i);
        cr_assert(w->blamed[i] == w->culprit && strstr(w->text[i], name), "rank %d of %d %s, and rank %d blames %d: %s",
                  w->culprit, n, misdeeds[k], i, w->blamed[i], w->text[i]);
        cr_assert(strstr(w->text[i], word_of(k)), "rank %d of %d %s, and rank %d says: %s", w->culprit, n, misdeeds[k],
                  i, w->text[i]);
        cr_assert(w->ended[i] - w->failed < TIMEOUT, "rank %d of %d %s: rank %d ended after %.2f s", w->culprit, n,
                  misdeeds[k], i, w->ended[i] - w->failed);
    }
}

static void one_fails(int n, int culprit, int misdeed, int after)
{
    witness *w = ranks_shared(sizeof *w);
    ranks_here r;

    w->culprit = culprit;
    w->misdeed = misdeed;
    w->after = after;
    ranks_start(&r, n, TIMEOUT, sums_without_end, w);
    for (int i = 0; i < n; i++) {
        if (i != culprit) ranks_end_one(&r, i, 4.0 * TIMEOUT);
    }
    kill(r.pid[culprit], SIGKILL); /* what hangs or is stopped is the launcher's to end */
    ranks_end_one(&r, culprit, TIMEOUT);
    check_witness(w, n, misdeed);
    munmap(w, sizeof *w);
}

Test(dist_failures, the_one_to_blame_is_named_in_time, .timeout = 300)
{
    const char *given = getenv("DETENT_TEST_SEED");
    const unsigned seed = given ? (unsigned)atoi(given) : (unsigned)time(NULL);

    fprintf(stderr, "DETENT_TEST_SEED=%u\n", seed);
    srand(seed);
    for (int k = 0; k < N_MISDEEDS; k++) {
        const int n = 2 + rand() % 3;
        one_fails(n, rand() % n, k, rand() % 200);
        one_fails(n, k % 2 ? 0 : n - 1, k, 0); /* rank 0, which judges the others; the last; before any operation */
    }
}

/* ---- ranks that wait by other means than these links, as GPUs do ---- */

static int waits_elsewhere(dt_dist *d, void *user)
{
    witness *w = user;
    dt_status status = DT_OK;

    RANK_MUST(dt_dist_barrier(d, "begin"));
    w->failed = ranks_clock();
    if (d->rank == w->culprit) {
        for (;;) pause();
    }
    dt_dist_wait_begin(d, "sums elsewhere");
    for (; status == DT_OK; usleep(1000)) status = dt_dist_check(d);
    dt_dist_wait_end(d);
    snprintf(w->text[d->rank], sizeof w->text[0], "%s", dt_last_error());
    w->blamed[d->rank] = dt_dist_ended_by_rank(d);
    w->ended[d->rank] = ranks_clock();
    return 0;
}

/* All have begun equally many operations: it is the one that does not wait. */
Test(dist_failures, who_hangs_while_others_wait_elsewhere_is_named, .timeout = 120)
{
    for (int culprit = 0; culprit < 3; culprit += 2) {
        witness *w = ranks_shared(sizeof *w);
        ranks_here r;

        w->culprit = culprit;
        ranks_start(&r, 3, TIMEOUT, waits_elsewhere, w);
        for (int i = 0; i < 3; i++) {
            if (i != culprit) ranks_end_one(&r, i, 4.0 * TIMEOUT);
        }
        kill(r.pid[culprit], SIGKILL);
        ranks_end_one(&r, culprit, TIMEOUT);
        check_witness(w, 3, HANGS);
        munmap(w, sizeof *w);
    }
}

/* ---- a rank that is slow ---- */

/* For half the timeout it does not come; that is no failure. */
static int sums_slowly(dt_dist *d, void *user)
{
    const witness *w = user;

    for (int turn = 0; turn < 3; turn++) {
        float v[1000] = { 1.0f };
        if (d->rank == w->culprit) usleep((useconds_t)(0.5e6 * TIMEOUT));
        RANK_MUST(dt_dist_sum_floats(d, "sum", v, 1000));
        RANK_SAYS(v[0] == (float)d->size, "the sum of %d ones is %g", d->size, (double)v[0]);
    }
    return 0;
}

Test(dist_failures, a_slow_rank_is_waited_for, .timeout = 120)
{
    for (int culprit = 0; culprit < 3; culprit += 2) {
        witness *w = ranks_shared(sizeof *w);
        ranks_here r;

        w->culprit = culprit;
        ranks_start(&r, 3, TIMEOUT, sums_slowly, w);
        ranks_end(&r, 60.0);
        for (int i = 0; i < 3; i++) cr_assert(r.code[i] == 0, "rank %d is slow, and rank %d ended", culprit, i);
        munmap(w, sizeof *w);
    }
}

/* ---- a job that is stopped and goes on as a whole ---- */

static int sums_for_a_while(dt_dist *d, void *user)
{
    const double end = ranks_clock() + 4.0;
    witness *w = user;
    float v[1000] = { 0 };
    int flag = 0;

    while (!flag) {
        RANK_MUST(dt_dist_sum_floats(d, "sum", v, 1000));
        flag = d->rank == 0 && ranks_clock() > end;
        RANK_MUST(dt_dist_any(d, "end", &flag));
        if (d->rank == 0) atomic_fetch_add(&w->turns, 1);
    }
    return 0;
}

/* Stopped for longer than the timeout, as with Ctrl-Z: nobody is to blame. */
Test(dist_failures, a_job_that_is_stopped_as_a_whole_goes_on, .timeout = 120)
{
    witness *w = ranks_shared(sizeof *w);
    ranks_here r;

    ranks_start(&r, 3, 1.5, sums_for_a_while, w);
    while (atomic_load(&w->turns) == 0) usleep(1000);
    for (int i = 0; i < 3; i++) kill(r.pid[i], SIGSTOP);
    sleep(3);
    for (int i = 2; i >= 0; i--) kill(r.pid[i], SIGCONT);
    ranks_end(&r, 60.0);
    for (int i = 0; i < 3; i++) cr_assert(r.code[i] == 0, "rank %d ended with %d", i, r.code[i]);
}
