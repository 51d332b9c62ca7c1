/*
 * secret.c - see secret.h. Tests: tests/core/test_dist_meet.c.
 */
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK_BYTES = 64, FILE_RANDOM_BYTES = 32, PATH_ROOM = 4096 };

dt_status dt_secret_random(unsigned char *data, int bytes)
{
    const ssize_t n = getrandom(data, (size_t)bytes, 0);

    DT_CHECK(n == bytes, DT_ERR_IO, "random bytes of the kernel: %s", strerror(errno));
    return DT_OK;
}

/* The hash of the key, xored with `pad`, and the parts behind it. */
static void hash_begin(SHA2_CTX *h, const unsigned char key[BLOCK_BYTES], unsigned char pad)
{
    unsigned char block[BLOCK_BYTES];

    for (int i = 0; i < BLOCK_BYTES; i++) block[i] = (unsigned char)(key[i] ^ pad);
    SHA256Init(h);
    SHA256Update(h, block, sizeof block);
}

void dt_secret_proof(const char *secret, dt_proof_role role, const unsigned char listener[DT_NONCE_BYTES],
                     const unsigned char visitor[DT_NONCE_BYTES], unsigned char proof[DT_PROOF_BYTES])
{
    const uint8_t who = role == DT_PROOF_VISITOR ? 1 : 2;
    const size_t n = strlen(secret);
    unsigned char key[BLOCK_BYTES] = { 0 };
    SHA2_CTX h;

    if (n > sizeof key) {
        SHA256Init(&h);
        SHA256Update(&h, (const uint8_t *)secret, n);
        SHA256Final(key, &h);
    } else {
        memcpy(key, secret, n);
    }
    hash_begin(&h, key, 0x36);
    SHA256Update(&h, &who, 1);
    SHA256Update(&h, listener, DT_NONCE_BYTES);
    SHA256Update(&h, visitor, DT_NONCE_BYTES);
    SHA256Final(proof, &h);
    hash_begin(&h, key, 0x5c);
    SHA256Update(&h, proof, DT_PROOF_BYTES);
    SHA256Final(proof, &h);
}

int dt_secret_same(const unsigned char a[DT_PROOF_BYTES], const unsigned char b[DT_PROOF_BYTES])
{
    unsigned differ = 0;

    for (int i = 0; i < DT_PROOF_BYTES; i++) differ |= (unsigned)(a[i] ^ b[i]);
    return differ == 0;
}

static dt_status write_new(const char *path, const char *secret)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const ssize_t length = (ssize_t)strlen(secret);

    DT_CHECK(fd >= 0, DT_ERR_IO, "%s: %s", path, strerror(errno));
    const int good = write(fd, secret, (size_t)length) == length;
    const int closed = close(fd) == 0;
    DT_CHECK(good && closed, DT_ERR_IO, "%s: could not be written", path);
    return DT_OK;
}

dt_status dt_secret_make_file(const char *path, char secret[DT_SECRET_BYTES])
{
    unsigned char random[FILE_RANDOM_BYTES];
    char part[PATH_ROOM];

    DT_CHECK(snprintf(part, sizeof part, "%s.new", path) < PATH_ROOM, DT_ERR_ARGUMENT, "%s: a path too long", path);
    DT_TRY(dt_secret_random(random, sizeof random));
    for (int i = 0; i < FILE_RANDOM_BYTES; i++) snprintf(secret + 2 * i, 3, "%02x", random[i]);
    if (unlink(part) != 0 && errno != ENOENT) DT_CHECK(0, DT_ERR_IO, "%s: %s", part, strerror(errno));
    DT_TRY(write_new(part, secret));
    DT_CHECK(rename(part, path) == 0, DT_ERR_IO, "%s: %s", path, strerror(errno));
    return DT_OK;
}

dt_status dt_secret_read_file(const char *path, char secret[DT_SECRET_BYTES])
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[DT_SECRET_BYTES];
    struct stat is;

    DT_CHECK(fd >= 0, DT_ERR_COMM, "%s: %s", path, strerror(errno));
    const int known = fstat(fd, &is) == 0;
    const ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    DT_CHECK(known && n >= 0, DT_ERR_COMM, "%s: could not be read", path);
    DT_CHECK((is.st_mode & 077) == 0, DT_ERR_FORMAT, "%s: others may read it (mode %03o); it must have mode 600", path,
             (unsigned)is.st_mode & 0777u);
    text[n] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    DT_CHECK(strlen(text) >= DT_SECRET_LEAST, DT_ERR_FORMAT, "%s: a secret of %zu characters, at least %d are needed",
             path, strlen(text), DT_SECRET_LEAST);
    memcpy(secret, text, sizeof text);
    return DT_OK;
}
