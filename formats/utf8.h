/*
 * utf8.h - finds bytes that are not UTF-8 text.
 *
 * Source: RFC 3629, section 4. It allows no overlong forms, no surrogates, and nothing above U+10FFFF.
 */
#ifndef DT_UTF8_H
#define DT_UTF8_H

#include <stdint.h>

/* Returns the bytes of the character at s, or 0 if it is malformed. `left` bytes may be read from s on. */
static inline int dt_utf8_length(const unsigned char *s, int64_t left)
{
    if (s[0] < 0x80) return 1;
    if (s[0] < 0xC2 || s[0] > 0xF4) return 0;

    const int n = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (n > left) return 0;
    if (s[0] == 0xE0 && s[1] < 0xA0) return 0; /* overlong */
    if (s[0] == 0xED && s[1] > 0x9F) return 0; /* surrogates */
    if (s[0] == 0xF0 && s[1] < 0x90) return 0; /* overlong */
    if (s[0] == 0xF4 && s[1] > 0x8F) return 0; /* above U+10FFFF */
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0;
    }
    return n;
}

/* Returns the index of the first byte that is malformed or is a control character other than tab, CR and LF, or -1 if
 * there is none. */
static inline int64_t dt_utf8_find_bad(const char *text, int64_t bytes)
{
    const unsigned char *s = (const unsigned char *)text;

    for (int64_t i = 0; i < bytes;) {
        const int n = dt_utf8_length(s + i, bytes - i);
        if (n == 0 || (s[i] < 0x20 && s[i] != '\t' && s[i] != '\n' && s[i] != '\r')) return i;
        i += n;
    }
    return -1;
}

#endif /* DT_UTF8_H */
