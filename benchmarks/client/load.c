/* Open many event streams at once, check that every token arrives once and in order, and report times.
 *
 *   load --port 8000 --path /stream?n=100 --streams 32 --tokens 100
 *
 * One process, one epoll loop. "{i}" in the path becomes the number of the stream. The answer is one
 * line of JSON; "ready" is printed before it when every stream has begun. Times are CLOCK_MONOTONIC.
 */
#define _GNU_SOURCE
#include "reader.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct {
    int port, streams;
    const char *path, *header, *body;
    long tokens;     /* of each response; 0: not known */
    int repeat;      /* responses on each connection, one after the other */
    double rate;     /* tokens a second of one stream; lateness is measured against it */
    double ramp;     /* seconds over which the streams are opened */
    double settle;   /* seconds from ready to the window */
    double window;   /* seconds that are measured, then all is closed; 0: until every stream ended */
    int opening;     /* streams that may be waiting for their first token at a time; 0: any number */
    int by_head;     /* a stream has begun with its response head, not with its first token */
    int hold;        /* when ready, wait until stdin ends, then close all */
    int leave;       /* when ready and settled, close all at once and report when each was closed */
    double churn;    /* further streams opened each second, each left after one second */
    double patience; /* seconds after which it is ready, whatever has begun; 0: never */
    int any;         /* the first token may have any number */
} opt = {.repeat = 1, .path = "/stream"};

struct stream {
    int fd, index, begun, extra;
    int turn;              /* responses that have ended */
    double sent, first;    /* when the request was sent, when its first token came */
    double base;           /* earliest "arrival - number / rate" so far: lateness 0 */
    long seen;             /* tokens of this response that were accounted for */
    double closed;
    struct reader reader;
};

enum { LATE_STEP_US = 100, LATE_STEPS = 600000, TURN = 1024, BUFFER = 1 << 18, EXTRAS = 4096 };

static struct stream *streams;
static int opened, begun, ended, failed, alive;
static long total, measured, wrong, cut, beats, bytes_read;
static long late[2][LATE_STEPS]; /* of the first and second half of the window */
static double *firsts;
static long firsts_count, firsts_room;
static double started, first_token, last_token, ready_at;
static int epoll_fd;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) {
    perror(what);
    exit(2);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void note_first(double seconds) {
    if (firsts_count == firsts_room) {
        firsts_room = firsts_room ? firsts_room * 2 : 1024;
        firsts = realloc(firsts, firsts_room * sizeof *firsts);
    }
    firsts[firsts_count++] = seconds;
}

static void send_request(struct stream *s) {
    char path[2048], request[8192];
    const char *mark = strstr(opt.path, "{i}");
    if (mark) snprintf(path, sizeof path, "%.*s%d%s", (int)(mark - opt.path), opt.path, s->index, mark + 3);
    else snprintf(path, sizeof path, "%s", opt.path);
    int size = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s%s",
                        opt.body ? "POST" : "GET", path, opt.port, opt.header ? opt.header : "",
                        opt.header ? "\r\n" : "");
    if (opt.body)
        size += snprintf(request + size, sizeof request - size,
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                         strlen(opt.body), opt.body);
    else size += snprintf(request + size, sizeof request - size, "\r\n");
    s->seen = 0;
    s->first = 0;
    s->base = 1e18;
    reader_start(&s->reader, opt.any ? -1 : 0);
    s->sent = now();
    if (send(s->fd, request, size, MSG_NOSIGNAL) != size) failed++;
}

static void open_stream(struct stream *s) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(opt.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (s->fd < 0) die("socket");
    if (connect(s->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    fcntl(s->fd, F_SETFL, O_NONBLOCK);
    int yes = 1;
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &event)) die("epoll_ctl");
    alive++;
    send_request(s);
}

static void close_stream(struct stream *s) {
    if (s->fd < 0) return;
    close(s->fd);
    s->fd = -1;
    s->closed = now();
    alive--;
    wrong += s->reader.wrong;
    beats += s->reader.beats;
}

static void begin(struct stream *s) {
    if (s->begun) return;
    s->begun = 1;
    begun += !s->extra;
}

static int in_window(double at) {
    return opt.window > 0 && ready_at && at >= ready_at + opt.settle;
}

/* Account for the tokens that came with the last read. */
static void arrived(struct stream *s, double at) {
    long upto = s->reader.tokens;
    if (upto == s->seen) return;
    if (!s->first) {
        s->first = at;
        if (!first_token) first_token = at;
        if (s->extra || opt.churn == 0) note_first(at - s->sent);
    }
    last_token = at;
    total += upto - s->seen;
    if (opt.rate > 0 && !s->extra) {
        int half = at > ready_at + opt.settle + opt.window / 2;
        for (long number = s->seen; number < upto; number++) {
            double due = at - number / opt.rate;
            if (due < s->base) s->base = due;
            if (!in_window(at)) continue;
            long step = (due - s->base) * 1e6 / LATE_STEP_US;
            late[half][step < LATE_STEPS ? step : LATE_STEPS - 1]++;
            measured++;
        }
    } else if (in_window(at)) {
        measured += upto - s->seen;
    }
    s->seen = upto;
}

/* The response is complete: check it, then ask again or close. */
static void finish(struct stream *s, int whole) {
    if (!whole || (opt.tokens && s->reader.tokens != opt.tokens)) cut++;
    if (s->reader.status != 200) failed++;
    s->turn++;
    if (s->turn < opt.repeat && whole && !s->reader.closes) {
        wrong += s->reader.wrong;
        beats += s->reader.beats;
        send_request(s);
        return;
    }
    close_stream(s);
    if (!s->extra) ended++;
    begin(s);
}

static void receive(struct stream *s) {
    static char buffer[BUFFER];
    ssize_t size = s->fd < 0 ? -1 : recv(s->fd, buffer, sizeof buffer, 0);
    if (size < 0 && (errno == EAGAIN || s->fd < 0)) return;
    double at = now();
    if (size <= 0) {
        finish(s, size == 0 && s->reader.place == RAW && s->reader.left < 0);
        return;
    }
    bytes_read += size;
    reader_feed(&s->reader, buffer, size);
    arrived(s, at);
    if (s->reader.tokens || (opt.by_head && s->reader.place != HEAD)) begin(s);
    if (s->reader.place == DONE) finish(s, 1);
}

static void open_due(double at) {
    while (opened < opt.streams) {
        if (opt.ramp > 0 && opened > (at - started) / opt.ramp * opt.streams) return;
        if (opt.opening && opened - begun >= opt.opening) return;
        open_stream(&streams[opened]);
        opened++;
    }
}

/* Streams of the churn come and go in a ring: each stays for one second. */
static void churn(double at) {
    static long come, gone;
    if (opt.churn <= 0 || !ready_at) return;
    for (; come < (at - ready_at) * opt.churn && come - gone < EXTRAS; come++) {
        struct stream *s = &streams[opt.streams + come % EXTRAS];
        *s = (struct stream){.fd = -1, .index = opt.streams + come, .extra = 1};
        open_stream(s);
    }
    for (; gone < (at - ready_at - 1) * opt.churn && gone < come; gone++)
        close_stream(&streams[opt.streams + gone % EXTRAS]);
}

static void leave_all(void) {
    for (int i = 0; i < opt.streams + EXTRAS; i++)
        if (streams[i].fd >= 0) close_stream(&streams[i]);
}

static int stdin_ended(void) {
    char c;
    ssize_t size = read(0, &c, 1);
    return size == 0 || (size > 0 && c == '\n');
}

static int over(double at) {
    if (ended == opt.streams) return 1;
    if (!ready_at) return 0;
    if (opt.leave) return at >= ready_at + opt.settle;
    if (opt.hold) return stdin_ended();
    return opt.window > 0 && at >= ready_at + opt.settle + opt.window;
}

static double late_ms(int half, double share) {
    long count = 0, upto = 0;
    for (int i = 0; i < LATE_STEPS; i++)
        for (int h = 0; h < 2; h++) count += half < 0 || h == half ? late[h][i] : 0;
    for (int i = 0; i < LATE_STEPS; i++) {
        for (int h = 0; h < 2; h++) upto += half < 0 || h == half ? late[h][i] : 0;
        if (upto >= count * share) return i * LATE_STEP_US / 1000.0;
    }
    return 0;
}

static double first_at(double share) {
    return firsts_count ? firsts[(long)((firsts_count - 1) * share)] * 1e6 : 0;
}

static void report(int survivors) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    double cpu = use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    if (firsts_count) qsort(firsts, firsts_count, sizeof *firsts, by_value);
    printf("{\"tokens\": %ld, \"measured\": %ld, \"wrong\": %ld, \"cut\": %ld, \"failed\": %d, \"alive\": %d, ",
           total, measured, wrong, cut, failed, survivors);
    printf("\"beats\": %ld, \"bytes\": %ld, \"wall\": %.6f, \"from_first\": %.6f, \"cpu\": %.3f, ", beats,
           bytes_read, last_token - started, last_token - first_token, cpu);
    printf("\"late_ms\": {\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f, \"early_p99\": %.1f, \"late_p99\": %.1f}, ",
           late_ms(-1, .5), late_ms(-1, .99), late_ms(-1, 1), late_ms(0, .99), late_ms(1, .99));
    printf("\"first_us\": {\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f}", first_at(.5), first_at(.99), first_at(1));
    if (opt.leave) {
        printf(", \"closed\": [");
        for (int i = 0; i < opt.streams; i++) printf("%s%.6f", i ? ", " : "", streams[i].closed);
        printf("]");
    }
    printf("}\n");
}

static void read_options(int count, char **words) {
    static struct option names[] = {
        {"port", 1, 0, 'p'},   {"path", 1, 0, 'P'},   {"header", 1, 0, 'H'}, {"body", 1, 0, 'B'},
        {"streams", 1, 0, 's'}, {"tokens", 1, 0, 'n'}, {"repeat", 1, 0, 'r'}, {"rate", 1, 0, 'R'},
        {"ramp", 1, 0, 'u'},   {"settle", 1, 0, 'e'}, {"window", 1, 0, 'w'}, {"opening", 1, 0, 'o'},
        {"by-head", 0, 0, 'h'}, {"hold", 0, 0, 'd'},   {"leave", 0, 0, 'l'},  {"churn", 1, 0, 'c'},
        {"any", 0, 0, 'a'},    {"patience", 1, 0, 't'}, {0}};
    for (int name; (name = getopt_long(count, words, "", names, 0)) != -1;) {
        switch (name) {
        case 'p': opt.port = atoi(optarg); break;
        case 'P': opt.path = optarg; break;
        case 'H': opt.header = optarg; break;
        case 'B': opt.body = optarg; break;
        case 's': opt.streams = atoi(optarg); break;
        case 'n': opt.tokens = atol(optarg); break;
        case 'r': opt.repeat = atoi(optarg); break;
        case 'R': opt.rate = atof(optarg); break;
        case 'u': opt.ramp = atof(optarg); break;
        case 'e': opt.settle = atof(optarg); break;
        case 'w': opt.window = atof(optarg); break;
        case 'o': opt.opening = atoi(optarg); break;
        case 'h': opt.by_head = 1; break;
        case 'd': opt.hold = 1; break;
        case 'l': opt.leave = 1; break;
        case 'c': opt.churn = atof(optarg); break;
        case 'a': opt.any = 1; break;
        case 't': opt.patience = atof(optarg); break;
        default: exit(2);
        }
    }
    if (!opt.port || opt.streams < 1) {
        fprintf(stderr, "load: --port and --streams are needed\n");
        exit(2);
    }
}

int main(int count, char **words) {
    read_options(count, words);
    streams = calloc(opt.streams + EXTRAS, sizeof *streams);
    for (int i = 0; i < opt.streams + EXTRAS; i++) streams[i] = (struct stream){.fd = -1, .index = i};
    epoll_fd = epoll_create1(0);
    if (opt.hold) fcntl(0, F_SETFL, O_NONBLOCK);
    started = now();
    struct epoll_event events[TURN];
    for (double at = started; !over(at); at = now()) {
        open_due(at);
        churn(at);
        int busy = opened < opt.streams || opt.churn > 0;
        int some = epoll_wait(epoll_fd, events, TURN, busy ? 1 : 20);
        for (int i = 0; i < some; i++) receive(events[i].data.ptr);
        if (!ready_at && (begun == opt.streams || (opt.patience && at > started + opt.patience))) {
            ready_at = now();
            puts("ready");
            fflush(stdout);
        }
    }
    int survivors = alive;
    leave_all();
    report(survivors);
    return 0;
}
