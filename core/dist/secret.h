/*
 * secret.h - a secret text that all ranks have, and the proof that one has it without saying it.
 *
 *   proof = HMAC-SHA256(secret, role, nonce of the listener, nonce of the visitor)     Source: RFC 2104.
 */
#ifndef DT_SECRET_H
#define DT_SECRET_H

#include "detent/status.h"

enum { DT_NONCE_BYTES = 16, DT_PROOF_BYTES = 32, DT_SECRET_LEAST = 16, DT_SECRET_BYTES = 256 };

/* Who proves: the one that came, or the one that listens. A proof of one is none of the other. */
typedef enum { DT_PROOF_VISITOR, DT_PROOF_LISTENER } dt_proof_role;

/* Fills data with random bytes of the kernel. */
DT_MUST_CHECK dt_status dt_secret_random(unsigned char *data, int bytes);
void dt_secret_proof(const char *secret, dt_proof_role role, const unsigned char listener[DT_NONCE_BYTES],
                     const unsigned char visitor[DT_NONCE_BYTES], unsigned char proof[DT_PROOF_BYTES]);
/* Returns 1 if the proofs are equal. The time that it takes does not tell where they differ. */
int dt_secret_same(const unsigned char a[DT_PROOF_BYTES], const unsigned char b[DT_PROOF_BYTES]);

/* Makes a secret and writes it to a file that its owner alone may read, which takes the place of an older one. */
DT_MUST_CHECK dt_status dt_secret_make_file(const char *path, char secret[DT_SECRET_BYTES]);
/* Reads such a file. DT_ERR_COMM: there is none yet. DT_ERR_FORMAT: others may read it, or it is no secret. */
DT_MUST_CHECK dt_status dt_secret_read_file(const char *path, char secret[DT_SECRET_BYTES]);

#endif /* DT_SECRET_H */
