/*
 * test_dist_meet.c - how ranks find each other, and who else may come to the door: strangers without the secret, silent
 * ones, garbage, other versions. They are sent away, and the ranks meet.
 */
#include "../support/ranks_here.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "../../core/dist/door.h"

/* ---- the proof ---- */

/* python3 -c "import hmac;print(hmac.new(b'a secret of the tests', bytes([1])+bytes(range(16))+bytes(range(100,116)),
 * 'sha256').hexdigest())", and the same of a secret of 100 letters x as the listener's proof */
Test(dist_secret, a_proof_is_hmac_sha256)
{
    static const unsigned char expected[DT_PROOF_BYTES] = { 0xcb, 0x03, 0x1c, 0x05, 0x3c, 0x07, 0xcd, 0x68,
                                                            0x9a, 0x5e, 0xe8, 0x22, 0xdc, 0xfc, 0x49, 0xe9,
                                                            0xfa, 0x20, 0x0f, 0x5d, 0xd4, 0x05, 0x02, 0x4f,
                                                            0x5c, 0x16, 0x4a, 0xae, 0x46, 0xa8, 0xc3, 0x04 };
    static const unsigned char of_long[DT_PROOF_BYTES] = { 0x05, 0xd7, 0xad, 0xdb, 0x82, 0x63, 0x87, 0xdd,
                                                           0x15, 0xc0, 0xed, 0x13, 0x18, 0x8f, 0x47, 0x08,
                                                           0x33, 0x83, 0xb2, 0xea, 0xaf, 0x99, 0xd3, 0x11,
                                                           0x0c, 0x66, 0x38, 0x48, 0xab, 0x76, 0xe2, 0x51 };
    unsigned char a[DT_NONCE_BYTES], b[DT_NONCE_BYTES], proof[DT_PROOF_BYTES], secret[101];

    for (int i = 0; i < DT_NONCE_BYTES; i++) {
        a[i] = (unsigned char)i;
        b[i] = (unsigned char)(100 + i);
    }
    dt_secret_proof(RANK_SECRET, DT_PROOF_VISITOR, a, b, proof);
    cr_assert(memcmp(proof, expected, sizeof proof) == 0);
    memset(secret, 'x', 100);
    secret[100] = '\0';
    dt_secret_proof((const char *)secret, DT_PROOF_LISTENER, a, b, proof);
    cr_assert(memcmp(proof, of_long, sizeof proof) == 0);
    cr_assert(dt_secret_same(proof, of_long) && !dt_secret_same(proof, expected));
}

Test(dist_secret, a_file_is_its_owners_alone)
{
    char folder[] = "/tmp/detent-secret-XXXXXX", path[64], made[DT_SECRET_BYTES], read_again[DT_SECRET_BYTES];
    struct stat is;

    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/rendezvous", folder);
    cr_assert(dt_secret_read_file(path, read_again) == DT_ERR_COMM);
    for (int i = 0; i < 2; i++) { /* the second takes the place of the first */
        cr_assert(dt_secret_make_file(path, made) == DT_OK, "%s", dt_last_error());
        cr_assert(stat(path, &is) == 0 && (is.st_mode & 0777) == 0600 && strlen(made) == 64);
        cr_assert(dt_secret_read_file(path, read_again) == DT_OK && strcmp(made, read_again) == 0);
    }
    cr_assert(chmod(path, 0640) == 0 && dt_secret_read_file(path, read_again) == DT_ERR_FORMAT);
    cr_assert(strstr(dt_last_error(), "mode 640"), "%s", dt_last_error());
    cr_assert(unlink(path) == 0 && rmdir(folder) == 0);
}

/* ---- strangers ---- */

static int come(const ranks_here *r)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)r->port),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0, "%s", strerror(errno));
    return fd;
}

/* 1: the other end has closed, or does within two seconds. */
static int is_sent_away(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    char text[256];

    for (;;) {
        if (poll(&p, 1, 2000) != 1) return 0;
        if (recv(fd, text, sizeof text, 0) <= 0) return 1;
    }
}

static void send_garbage(int fd)
{
    static char megabyte[1 << 20];

    for (size_t i = 0; i < sizeof megabyte; i++) megabyte[i] = (char)(i * 31 + i / 7);
    for (size_t at = 0; at < sizeof megabyte;) {
        const ssize_t n = send(fd, megabyte + at, sizeof megabyte - at, MSG_NOSIGNAL);
        if (n <= 0) return; /* it is not read to its end */
        at += (size_t)n;
    }
}

static int meets(dt_dist *d, void *user)
{
    (void)user;
    RANK_MUST(dt_dist_barrier(d, "all are here"));
    return 0;
}

/* Rank 0 alone, at work at the door; the test is the one that comes. */
static void start_first(ranks_here *r, int n, double timeout)
{
    r->n = n;
    ranks_listen(r);
    const dt_dist_options opt = ranks_options(r, 0, timeout);
    r->pid[0] = fork();
    cr_assert(r->pid[0] >= 0);
    if (r->pid[0] == 0) _exit(ranks_run_one(&opt, meets, NULL));
    close(r->listener);
}

static void start_other(ranks_here *r, int rank, const char *secret)
{
    dt_dist_options opt = ranks_options(r, rank, 20.0);

    opt.secret = secret;
    r->pid[rank] = fork();
    cr_assert(r->pid[rank] >= 0);
    if (r->pid[rank] == 0) _exit(ranks_run_one(&opt, meets, NULL));
}

static void allow_descriptors(rlim_t n)
{
    struct rlimit limit;

    cr_assert(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur < n) limit.rlim_cur = n;
    cr_assert(setrlimit(RLIMIT_NOFILE, &limit) == 0, "%d descriptors: %s", (int)n, strerror(errno));
}

Test(dist_door, strangers_keep_nobody_out, .timeout = 60)
{
    enum { HALF_OPEN = 1000 };
    int silent[HALF_OPEN];
    ranks_here r;

    allow_descriptors(HALF_OPEN + 100);
    start_first(&r, 2, 30.0);
    for (int i = 0; i < HALF_OPEN; i++) silent[i] = come(&r);
    const int loud = come(&r), gone = come(&r);
    send_garbage(loud);
    close(gone);
    cr_assert(is_sent_away(loud), "a megabyte of garbage is still listened to");
    start_other(&r, 1, RANK_SECRET);
    ranks_end(&r, 30.0);
    cr_assert(r.code[0] == 0 && r.code[1] == 0, "exit codes %d and %d", r.code[0], r.code[1]);
    for (int i = 0; i < HALF_OPEN; i++) close(silent[i]);
    close(loud);
}

Test(dist_door, a_wrong_secret_is_refused_and_the_right_one_meets, .timeout = 60)
{
    ranks_here r;

    start_first(&r, 2, 30.0);
    start_other(&r, 1, "another secret, as long");
    ranks_end_one(&r, 1, 20.0);
    cr_assert(r.code[1] == RANK_MET_NOBODY, "with a wrong secret rank 1 ended with %d", r.code[1]);
    start_other(&r, 1, RANK_SECRET);
    ranks_end(&r, 30.0);
    cr_assert(r.code[0] == 0 && r.code[1] == 0, "exit codes %d and %d", r.code[0], r.code[1]);
}

/* ---- who has the secret and still is not let in ---- */

static dt_hello hello_of(int rank, int size)
{
    return (dt_hello){ .magic = DT_HELLO_MAGIC,
                       .protocol = DT_PROTOCOL,
                       .version = DT_VERSION,
                       .kind = DT_LINK_CONTROL,
                       .rank = (uint32_t)rank,
                       .size = (uint32_t)size,
                       .host = "elsewhere" };
}

static void is_refused(const ranks_here *r, dt_hello h, const char *a, const char *b)
{
    int fd = -1;
    const dt_status status = dt_door_visit("127.0.0.1", r->port, RANK_SECRET, &h, dt_socket_clock() + 5.0, &fd);

    cr_assert(status == DT_ERR_UNSUPPORTED, "%s: %s", dt_status_name(status), dt_last_error());
    cr_assert(strstr(dt_last_error(), a) && strstr(dt_last_error(), b), "'%s' lacks '%s' or '%s'", dt_last_error(), a,
              b);
}

Test(dist_door, who_speaks_otherwise_is_told_both_values, .timeout = 60)
{
    ranks_here r;
    dt_hello h;

    start_first(&r, 3, 30.0);
    h = hello_of(1, 3);
    strcpy(h.version, "0.0.9");
    is_refused(&r, h, "0.0.9", DT_VERSION);
    h = hello_of(1, 3);
    h.protocol = 0;
    is_refused(&r, h, "protocol 0", "speaks 2");
    is_refused(&r, hello_of(1, 2), "rank 1 of 2", "rank 0 of 3");
    is_refused(&r, hello_of(7, 3), "rank 7 of 3", "rank 0 of 3");
    is_refused(&r, hello_of(0, 3), "two processes are rank 0", "elsewhere");
    h = hello_of(1, 3);
    h.kind = DT_LINK_RING;
    is_refused(&r, h, "link 2", "link 1");
    start_other(&r, 1, RANK_SECRET);
    start_other(&r, 2, RANK_SECRET);
    ranks_end(&r, 30.0);
    cr_assert(r.code[0] == 0 && r.code[1] == 0 && r.code[2] == 0);
}

/* ---- who does not come ---- */

Test(dist_door, a_missing_rank_is_named, .timeout = 60)
{
    ranks_here r = { .n = 3 };
    dt_dist *d = NULL;

    ranks_listen(&r);
    const dt_dist_options opt = ranks_options(&r, 0, 1.0);
    const double begin = ranks_clock();
    cr_assert(dt_dist_open(&opt, &d) == DT_ERR_COMM);
    cr_assert(ranks_clock() - begin < 5.0);
    cr_assert(strstr(dt_last_error(), "2 of 3 ranks did not come") && strstr(dt_last_error(), "the first is rank 1"),
              "%s", dt_last_error());
}

static int stop_at_once(void)
{
    return 1;
}

Test(dist_door, waiting_can_be_stopped, .timeout = 60)
{
    ranks_here r = { .n = 2 };
    dt_dist *d = NULL;

    ranks_listen(&r);
    dt_dist_options opt = ranks_options(&r, 0, 50.0);
    opt.stop = stop_at_once;
    cr_assert(dt_dist_open(&opt, &d) == DT_ERR_INTERRUPTED, "%s", dt_last_error());
    opt = ranks_options(&r, 1, 50.0);
    opt.stop = stop_at_once;
    cr_assert(dt_dist_open(&opt, &d) == DT_ERR_INTERRUPTED, "%s", dt_last_error());
}

Test(dist_door, a_port_in_use_is_named, .timeout = 60)
{
    ranks_here r = { .n = 2 };
    dt_dist *d = NULL;
    char port[32];

    ranks_listen(&r);
    dt_dist_options opt = ranks_options(&r, 0, 5.0);
    opt.listener = -1;
    cr_assert(dt_dist_open(&opt, &d) == DT_ERR_COMM);
    snprintf(port, sizeof port, "port %d", r.port);
    cr_assert(strstr(dt_last_error(), port) && strstr(dt_last_error(), "in use"), "%s", dt_last_error());
}
