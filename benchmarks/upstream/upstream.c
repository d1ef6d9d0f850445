/* A model's server: answers OpenAI's and Anthropic's streaming requests with paced tokens.
 *
 *   upstream 8000
 *
 * POST /v1/chat/completions and POST /v1/messages. In the body, "max_tokens" is the number of tokens and
 * "model" the pace: "flat" sends all at once, "paced-50" sends 50 a second, token k at k / 50 s, and what is
 * overdue at once. Token k is the text "t<k modulo 1000> ". One process, one epoll loop; connections are kept.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 65536, TURN = 1024, REQUEST = 65536, BLOCK = 1024, TOKEN_CYCLE = 1000 };

static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                           "Transfer-Encoding: chunked\r\nCache-Control: no-cache\r\n\r\n";

enum wire { OPENAI, ANTHROPIC };

/* What comes before the tokens, and after them: one event a line, without line ends. */
#define CHUNK(delta, reason)                                                                              \
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1764460800,"            \
    "\"model\":\"model-1\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_1\",\"choices\":[{"    \
    "\"index\":0,\"delta\":{" delta "},\"logprobs\":null,\"finish_reason\":" reason "}]}\n\n"

static const char *const BEFORE[] = {
    CHUNK("\"role\":\"assistant\",\"content\":\"\",\"refusal\":null", "null"),
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\","
    "\"role\":\"assistant\",\"model\":\"model-1\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,"
    "\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n"
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":"
    "{\"type\":\"text\",\"text\":\"\"}}\n\n",
};
static const char *const TOKEN[] = {
    CHUNK("\"content\":\"t%ld \"", "null"),
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
    "{\"type\":\"text_delta\",\"text\":\"t%ld \"}}\n\n",
};
static const char *const AFTER[] = {
    CHUNK("", "\"stop\"") "data: [DONE]\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\","
    "\"stop_sequence\":null},\"usage\":{\"output_tokens\":9}}\n\n"
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
};

struct connection {
    char *request; /* bytes of the next request; allocated while there are any */
    int size;
    enum wire wire;
    long sent, count;  /* tokens of this response */
    double start, rate; /* rate 0: flat */
    char out[2 * BLOCK]; /* a chunk that the kernel has not taken whole */
    int out_size, out_sent;
    int ending; /* the last chunk is in out */
};

static struct connection *connections[MOST]; /* by descriptor */
static int talking[MOST], talkers;           /* descriptors of unfinished responses */
static int epoll_fd;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void hang_up(int fd) {
    for (int i = 0; i < talkers; i++)
        if (talking[i] == fd) talking[i--] = talking[--talkers];
    free(connections[fd]->request);
    free(connections[fd]);
    connections[fd] = 0;
    close(fd);
}

/* Put events into the outgoing buffer, as one chunk of the body. */
static void put_chunk(struct connection *c, const char *events, int size) {
    c->out_size += sprintf(c->out + c->out_size, "%x\r\n%.*s\r\n", size, size, events);
}

/* Send what is in the buffer. Returns 1 once it is empty, 0 if the kernel takes no more, -1 if the peer left. */
static int flush(int fd, struct connection *c) {
    while (c->out_sent < c->out_size) {
        ssize_t some = send(fd, c->out + c->out_sent, c->out_size - c->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (some < 0) return errno == EAGAIN ? 0 : -1;
        c->out_sent += some;
    }
    c->out_size = c->out_sent = 0;
    return 1;
}

static double number_after(const char *text, const char *name, double otherwise) {
    const char *at = strstr(text, name);
    if (!at) return otherwise;
    at += strlen(name);
    return atof(at + strspn(at, "\": "));
}

static void begin(int fd, struct connection *c, const char *body) {
    const char *paced = strstr(body, "paced-");
    c->wire = strstr(c->request, "/v1/messages") ? ANTHROPIC : OPENAI;
    c->count = number_after(body, "\"max_tokens\"", 1);
    c->rate = paced ? atof(paced + 6) : 0;
    c->sent = 0;
    c->ending = 0;
    c->start = now();
    c->out_size = sprintf(c->out, "%s", HEAD);
    put_chunk(c, BEFORE[c->wire], strlen(BEFORE[c->wire]));
    talking[talkers++] = fd;
}

/* Begin the response once the whole request is there. */
static void request_came(int fd, struct connection *c) {
    char *end = strstr(c->request, "\r\n\r\n");
    if (!end) return;
    char *length = strcasestr(c->request, "\r\ncontent-length:");
    int whole = end + 4 - c->request + (length && length < end ? atoi(length + 17) : 0);
    if (c->size < whole) return;
    begin(fd, c, end + 4);
    c->size = 0;
}

static void receive(int fd) {
    struct connection *c = connections[fd];
    if (!c) return;
    if (!c->request) c->request = malloc(REQUEST);
    ssize_t some = recv(fd, c->request + c->size, REQUEST - 1 - c->size, MSG_DONTWAIT);
    if (some < 0 && errno == EAGAIN) return;
    if (some <= 0) {
        hang_up(fd);
        return;
    }
    c->size += some;
    c->request[c->size] = 0;
    request_came(fd, c);
}

/* Send what is due. Returns 1 when the response is finished, -1 when the peer left. */
static int turn(int fd, double at) {
    struct connection *c = connections[fd];
    char block[BLOCK];
    for (;;) {
        int state = flush(fd, c);
        if (state <= 0 || c->ending) return state;
        if (c->sent == c->count) {
            put_chunk(c, AFTER[c->wire], strlen(AFTER[c->wire]));
            c->out_size += sprintf(c->out + c->out_size, "0\r\n\r\n");
            c->ending = 1;
        } else {
            if (c->rate > 0 && c->sent / c->rate > at - c->start) return 0;
            put_chunk(c, block, sprintf(block, TOKEN[c->wire], c->sent++ % TOKEN_CYCLE));
        }
    }
}

static void take_turns(void) {
    double at = now();
    for (int i = 0; i < talkers; i++) {
        int fd = talking[i], state = turn(fd, at);
        if (state > 0) talking[i--] = talking[--talkers];
        if (state < 0) {
            hang_up(fd);
            i--;
        }
    }
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) {
        perror("listen");
        exit(1);
    }
    return fd;
}

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void accept_one(int listener) {
    int fd = accept(listener, 0, 0), yes = 1;
    if (fd < 0) return;
    if (fd >= MOST) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    connections[fd] = calloc(1, sizeof *connections[fd]);
    watch(fd);
}

int main(int count, char **words) {
    struct epoll_event events[TURN];
    int listener = listen_on(count > 1 ? atoi(words[1]) : 8000);
    epoll_fd = epoll_create1(0);
    watch(listener);
    for (;;) {
        int some = epoll_wait(epoll_fd, events, TURN, talkers ? 1 : -1);
        for (int i = 0; i < some; i++)
            if (events[i].data.fd == listener) accept_one(listener);
            else receive(events[i].data.fd);
        take_turns();
    }
}
