#include "proto/http/internal.h"

#include <errno.h>
#include <netdb.h>
#include <unistd.h>

#define BACKLOG 4096

static enum pl_err resolve(const struct http_listener *listener, uint16_t port,
                           struct addrinfo **out, struct pl_why *why)
{
    char service[8];
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    snprintf(service, sizeof(service), "%u", port);
    if (listener->address == NULL || getaddrinfo(listener->address, service, &hints, out) != 0)
        return pl_fail(why, PL_EINVAL,
                       "listen address \"%s\" is not a numeric IPv4 or IPv6 address",
                       listener->address == NULL ? "" : listener->address);
    return PL_OK;
}

static enum pl_err bind_failed(int error, const struct http_listener *listener, uint16_t port,
                               struct pl_why *why)
{
    switch (error) {
    case EADDRINUSE:
        return pl_fail(why, PL_EEXISTS,
                       "cannot listen on %s port %u: another process listens there (stop it or "
                       "choose another port)",
                       listener->address, port);
    case EACCES:
        return pl_fail(why, PL_EDENIED,
                       "cannot listen on %s port %u: not permitted (ports below 1024 need root or "
                       "CAP_NET_BIND_SERVICE)",
                       listener->address, port);
    case EADDRNOTAVAIL:
        return pl_fail(why, PL_EINVAL,
                       "cannot listen on %s port %u: this machine has no such address",
                       listener->address, port);
    default:
        return pl_fail(why, pl_err_from_errno(error), "cannot listen on %s port %u: %s",
                       listener->address, port, strerror(error));
    }
}

/* errno or 0. */
static int open_socket(const struct addrinfo *at, bool shared, int *out)
{
    int on = 1, error;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) ||
        bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        error = errno;
        close(fd);
        return error;
    }
    *out = fd;
    return 0;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    if (getsockname(fd, (struct sockaddr *)&name, &len) != 0)
        return 0;
    return (uint16_t)h2o_socket_getport((struct sockaddr *)&name);
}

enum pl_err http_listen(const struct http_listener *listener, uint16_t *port, bool exclusive,
                        int *fd, struct pl_why *why)
{
    struct addrinfo *at = NULL;
    int probe, opened;
    enum pl_err err = resolve(listener, *port, &at, why);
    if (err != PL_OK)
        return err;

    if (exclusive && *port != 0) {
        int error = open_socket(at, false, &probe);
        if (error != 0) {
            err = bind_failed(error, listener, *port, why);
            goto out;
        }
        close(probe);
    }
    int error = open_socket(at, true, &opened);
    if (error != 0) {
        err = bind_failed(error, listener, *port, why);
        goto out;
    }
    *port = port_of(opened);
    *fd = opened;
out:
    freeaddrinfo(at);
    return err;
}
