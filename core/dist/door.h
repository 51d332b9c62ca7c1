/*
 * door.h - how a rank comes to another one: both prove that they have the secret, then the visitor says who it is.
 *
 *   listener -> visitor   nonce [16]
 *   visitor  -> listener  nonce [16], proof [32]
 *   listener -> visitor   proof [32]
 *   visitor  -> listener  dt_hello
 *   listener -> visitor   dt_welcome
 *
 * What follows on a link of the ring is in link.c.
 *
 * A listener reads 48 bytes of a stranger, and nothing more unless they prove the secret. It serves many visitors at
 * once, each with a deadline, so that silent ones and garbage keep nobody out.
 */
#ifndef DT_DOOR_H
#define DT_DOOR_H

#include "secret.h"
#include "socket.h"

#include <stdint.h>

enum { DT_HOST_BYTES = 64, DT_REFUSAL_BYTES = 256, DT_PROTOCOL = 2 };
#define DT_HELLO_MAGIC 0x54544444u

typedef enum { DT_LINK_CONTROL = 1, DT_LINK_RING } dt_link_kind;

/* Who comes. Texts end with a NUL. Its bytes are sent as they lie in memory, so all hosts have one byte order. */
typedef struct {
    uint32_t magic, protocol;
    char version[16];
    uint32_t kind, rank, size;
    uint32_t port;                  /* at which the visitor listens for its neighbour of the ring */
    char address[DT_ADDRESS_BYTES]; /* and where */
    char host[DT_HOST_BYTES];
} dt_hello;

typedef struct {
    uint32_t is_welcome;
    char why[DT_REFUSAL_BYTES]; /* if not */
} dt_welcome;

/* Of strangers that may be at the door at once; beyond that the one that came first is sent away. */
enum { DT_MOST_VISITORS = 64 };

typedef struct {
    int fd;
    int has_proved;
    double deadline;
    unsigned char nonce[DT_NONCE_BYTES];
    size_t got;
    union {
        unsigned char bytes[1];
        struct {
            unsigned char nonce[DT_NONCE_BYTES], proof[DT_PROOF_BYTES];
        } claim;
        dt_hello hello;
    } in;
} dt_visitor;

typedef struct {
    int listener; /* of the caller */
    const char *secret;
    double patience; /* seconds that a visitor has */
    dt_visitor visitor[DT_MOST_VISITORS];
    int n;
    int n_strangers; /* sent away without a proof */
} dt_door;

/* Serves the door for at most `seconds`. *fd is that of a visitor that has proved the secret and said who it is, and -1
 * if there is none yet. */
DT_MUST_CHECK dt_status dt_door_serve(dt_door *door, double seconds, dt_hello *hello, int *fd);
/* Sends everybody away who is at the door. */
void dt_door_close(dt_door *door);
/* Answers a visitor. why is NULL if it is welcome; else *fd is closed. */
DT_MUST_CHECK dt_status dt_door_answer(int *fd, const char *why, double deadline);

/* Comes to a door. port is that at which the visitor listens; hello gets the address of this end. DT_ERR_COMM: nobody
 * is there. DT_ERR_FORMAT: the other end does not take the secret, or cannot prove it. DT_ERR_UNSUPPORTED: it sent us
 * away, and says why. */
DT_MUST_CHECK dt_status dt_door_visit(const char *address, int port, const char *secret, dt_hello *hello,
                                      double deadline, int *fd);

#endif /* DT_DOOR_H */
