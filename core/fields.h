/*
 * fields.h - a struct's members as data: name, place, kind and range. Readers and writers of files, messages and checks
 *            go by tables of them.
 */
#ifndef DT_FIELDS_H
#define DT_FIELDS_H

#include <stddef.h>

/* The type of a member. */
typedef enum {
    DT_FIELD_INT,    /* int */
    DT_FIELD_LONG,   /* int64_t */
    DT_FIELD_FLOAT,  /* float */
    DT_FIELD_WORD,   /* int or enumeration; a file has the word with that index */
    DT_FIELD_TEXT,   /* array of char */
    DT_FIELD_NETWORK /* const char *, the name of a known network */
} dt_field_kind;

typedef struct {
    const char *name;
    size_t offset;
    unsigned only; /* 0: each object has the field; else bits by which the table's `has` decides whether it does */
    dt_field_kind kind;
    double min, max;          /* range of the number or of the word's index; TEXT: max is its bytes with the NUL */
    const char *const *words; /* WORD: the words, NULL at the end */
    int count;                /* 0: one number; else (INT, LONG, FLOAT) an array's length, at most DT_FIELD_MOST */
} dt_field;

#define DT_LENGTH(array) ((int)(sizeof(array) / sizeof(array)[0]))

/* A row of a table is one of the first three macros, which name the member, and one of the others, which say its kind and
 * range. */
#define DT_MEMBER(type, member)          #member, offsetof(type, member), 0
#define DT_MEMBER_AS(name, type, member) name, offsetof(type, member), 0
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
