/*
 * fields.h - a struct's members as data: name, place, kind, range. Tables of them serve files, messages and checks.
 */
#ifndef DT_FIELDS_H
#define DT_FIELDS_H

#include <stddef.h>

/* What the member is: int, int64_t, float, int that indexes words, char array, pointer to the name of a known network.
 */
typedef enum {
    DT_FIELD_INT,
    DT_FIELD_LONG,
    DT_FIELD_FLOAT,
    DT_FIELD_WORD,
    DT_FIELD_TEXT,
    DT_FIELD_NETWORK
} dt_field_kind;

typedef struct {
    const char *name;
    size_t offset;
    unsigned only; /* 0: always there; else the table's `has` decides by it */
    dt_field_kind kind;
    double min, max;          /* of the number; of a word's index; max of a text: bytes with its NUL */
    const char *const *words; /* WORD */
    int count;                /* INT, LONG, FLOAT: 0, or the length of an array, at most DT_FIELD_MOST */
} dt_field;

#define DT_LENGTH(array) ((int)(sizeof(array) / sizeof(array)[0]))

/* A row: the member, then its kind and range. */
#define DT_MEMBER(type, member)          #member, offsetof(type, member), 0
#define DT_MEMBER_IF(only, type, member) #member, offsetof(type, member), only
#define DT_INT(min, max)                 DT_FIELD_INT, min, max, NULL, 0
#define DT_INTS(n, min, max)             DT_FIELD_INT, min, max, NULL, n
#define DT_LONG(min, max)                DT_FIELD_LONG, min, max, NULL, 0
#define DT_LONGS(n, min, max)            DT_FIELD_LONG, min, max, NULL, n
#define DT_FLOAT(min, max)               DT_FIELD_FLOAT, min, max, NULL, 0
#define DT_FLOATS(n, min, max)           DT_FIELD_FLOAT, min, max, NULL, n
#define DT_WORD(words)                   DT_FIELD_WORD, 0, DT_LENGTH(words) - 2, words, 0 /* they end with NULL */
#define DT_TEXT(type, member)            DT_FIELD_TEXT, 0, sizeof((type *)NULL)->member, NULL, 0
#define DT_NETWORK                       DT_FIELD_NETWORK, 0, 0, NULL, 0

#endif /* DT_FIELDS_H */
