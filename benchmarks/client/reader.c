#include "reader.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void reader_start(struct reader *r, int expected) {
    memset(r, 0, sizeof *r);
    r->left = -1;
    r->expected = expected;
    r->before = '\n';
}

/* One line of the head, without its line end. An empty one ends the head. */
static void head_line(struct reader *r) {
    const char *line = r->line;
    if (!strncmp(line, "HTTP/1.", 7)) {
        r->status = atoi(line + 9);
        r->closes = line[7] == '0';
    } else if (!strncasecmp(line, "transfer-encoding: chunked", 26)) {
        r->chunked = 1;
    } else if (!strncasecmp(line, "content-length:", 15)) {
        r->left = atol(line + 15);
    } else if (!strncasecmp(line, "connection: close", 17)) {
        r->closes = 1;
    } else if (!*line) {
        r->place = r->chunked ? SIZE : r->left == 0 ? DONE : RAW;
        if (r->chunked) r->left = 0;
    }
}

static void token_done(struct reader *r) {
    if (r->expected >= 0 && r->number != r->expected) r->wrong++;
    r->expected = (r->number + 1) % TOKEN_CYCLE;
    r->tokens++;
}

/* The hot loop: some nanoseconds a byte. */
static void payload(struct reader *r, const char *bytes, size_t size) {
    char before = r->before;
    for (size_t i = 0; i < size; i++) {
        char c = bytes[i];
        switch (r->inside) {
        case 0:
            if (c == 't' && (before == '"' || before == ' ')) r->inside = 1, r->number = 0;
            else if (c == ':' && before == '\n') r->beats++;
            break;
        case 1:
            r->inside = c >= '0' && c <= '9' ? 2 : 0;
            r->number = c - '0';
            break;
        default:
            if (c >= '0' && c <= '9') {
                r->number = r->number * 10 + c - '0';
            } else {
                if (c == ' ') token_done(r);
                r->inside = 0;
            }
        }
        before = c;
    }
    r->before = before;
}

static size_t shorter(size_t a, long b) { return b >= 0 && (size_t)b < a ? (size_t)b : a; }

size_t reader_feed(struct reader *r, const char *bytes, size_t size) {
    size_t at = 0;
    while (at < size && r->place != DONE) {
        char c = bytes[at];
        size_t part;
        switch (r->place) {
        case HEAD:
            at++;
            if (c == '\n') {
                if (r->filled && r->line[r->filled - 1] == '\r') r->filled--;
                r->line[r->filled] = 0;
                r->filled = 0;
                head_line(r);
            } else if (r->filled < (int)sizeof r->line - 1) {
                r->line[r->filled++] = c;
            }
            break;
        case SIZE:
            at++;
            if (c >= '0' && c <= '9') r->left = r->left * 16 + c - '0';
            else if ((c | 32) >= 'a' && (c | 32) <= 'f') r->left = r->left * 16 + (c | 32) - 'a' + 10;
            else r->place = c == '\n' ? (r->left ? DATA : LAST) : SIZE_END;
            break;
        case SIZE_END:
            at++;
            if (c == '\n') r->place = r->left ? DATA : LAST;
            break;
        case DATA:
        case RAW:
            part = shorter(size - at, r->left);
            payload(r, bytes + at, part);
            at += part;
            if (r->left >= 0 && (r->left -= part) == 0) r->place = r->place == DATA ? DATA_END : DONE;
            break;
        case DATA_END:
            at++;
            if (c == '\n') r->place = SIZE;
            break;
        default: /* LAST: the empty line after the last chunk */
            at++;
            if (c == '\n') r->place = DONE;
        }
    }
    return at;
}
