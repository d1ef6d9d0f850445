/* Bytes of one HTTP response -> counted tokens. Knows chunked bodies, and nothing of sockets.
 *
 * A token is the text "t" number " ", the number counting up modulo 1000 from 0; it is found in any
 * wire protocol, because it stands after a quote or after another token.
 */
#ifndef READER_H
#define READER_H

#include <stddef.h>

enum { TOKEN_CYCLE = 1000 };

enum place { HEAD, SIZE, SIZE_END, DATA, DATA_END, LAST, RAW, DONE };

struct reader {
    enum place place;
    int status;            /* of the response; 0 until known */
    int chunked, closes;   /* as the head says; a body without a length ends with its connection */
    long left;             /* bytes of this chunk, or of a body with a length, still to come; -1: unknown */
    char line[128];        /* of the head; longer lines are cut */
    int filled;
    int number, inside;    /* of the token being read; inside: 0 outside, 1 after a quote, 2 in it */
    char before;
    long tokens;           /* complete */
    long wrong;            /* out of order, lost or repeated */
    long beats;            /* comment lines */
    int expected;          /* number of the next token; -1: any */
};

void reader_start(struct reader *r, int expected);

/* Take the next bytes. Returns how many of them belong to this response. */
size_t reader_feed(struct reader *r, const char *bytes, size_t size);

#endif
