/* A limit: one C epoll loop and one write a token. Knows only /stream, and a request in one read. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 65536, TURN = 1024 };

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

static struct { char mode; long sent, count; double start, rate; } streams[MOST]; /* by descriptor */
static int talking[MOST], talkers; /* descriptors with tokens still to send */
static int epoll_fd;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double number_after(const char *request, const char *name, double otherwise) {
    const char *at = strstr(request, name);
    return at ? atof(at + strlen(name)) : otherwise;
}

static void forget(int fd) {
    for (int i = 0; i < talkers; i++)
        if (talking[i] == fd) talking[i--] = talking[--talkers];
}

static void request_came(int fd) {
    char request[8192];
    ssize_t size = recv(fd, request, sizeof request - 1, 0);
    if (size <= 0) {
        forget(fd);
        close(fd);
        return;
    }
    request[size] = 0;
    const char *mode = strstr(request, "mode=");
    streams[fd].mode = mode ? mode[5] : 'f';
    streams[fd].count = number_after(request, "&n=", 1);
    streams[fd].rate = number_after(request, "&rate=", 50);
    streams[fd].sent = 0;
    streams[fd].start = now();
    send(fd, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL | MSG_MORE);
    talking[talkers++] = fd;
}

static void send_token(int fd) {
    char block[128], chunk[160];
    long number = streams[fd].sent++;
    int size = sprintf(block, "id: %ld\ndata: {\"text\":\"t%ld \"}\n\n", number, number % 1000);
    int all = sprintf(chunk, "%x\r\n%s\r\n", size, block);
    send(fd, chunk, all, MSG_NOSIGNAL);
}

/* Whether the stream has no more tokens to send. */
static int turn(int fd, double at) {
    if (streams[fd].mode == 's') {
        send_token(fd); /* silent: one token, then silence for longer than any client waits */
        return 1;
    }
    double due = streams[fd].mode == 'p' ? (at - streams[fd].start) * streams[fd].rate + 1 : 1e18;
    do {
        if (streams[fd].sent >= due) return 0;
        if (streams[fd].sent < streams[fd].count) send_token(fd);
    } while (streams[fd].mode == 'p' && streams[fd].sent < streams[fd].count);
    if (streams[fd].sent < streams[fd].count) return 0;
    send(fd, "0\r\n\r\n", 5, MSG_NOSIGNAL);
    return 1;
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

static int all_paced(void) {
    for (int i = 0; i < talkers; i++)
        if (streams[talking[i]].mode != 'p') return 0;
    return 1;
}

int main(int count, char **words) {
    int listener = listen_on(count > 1 ? atoi(words[1]) : 8000), yes = 1;
    struct epoll_event events[TURN];
    epoll_fd = epoll_create1(0);
    watch(listener);
    for (;;) {
        int some = epoll_wait(epoll_fd, events, TURN, !talkers ? -1 : all_paced() ? 1 : 0);
        for (int i = 0; i < some; i++) {
            if (events[i].data.fd != listener) {
                request_came(events[i].data.fd);
                continue;
            }
            int fd = accept(listener, 0, 0);
            if (fd < 0 || fd >= MOST) continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            watch(fd);
        }
        double at = now();
        for (int i = 0; i < talkers; i++)
            if (turn(talking[i], at)) talking[i--] = talking[--talkers];
    }
}
