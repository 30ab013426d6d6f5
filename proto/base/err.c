#include "proto/base/err.h"
#include "proto/base/text.h"

#include <errno.h>

const char *pl_err_word(enum pl_err err)
{
    switch (err) {
    case PL_OK:
        return "ok";
    case PL_ENOMEM:
        return "out-of-memory";
    case PL_EINVAL:
        return "invalid";
    case PL_ELIMIT:
        return "over-limit";
    case PL_ENOTFOUND:
        return "not-found";
    case PL_EEXISTS:
        return "exists";
    case PL_EDENIED:
        return "denied";
    case PL_EAUTH:
        return "not-authentic";
    case PL_ECORRUPT:
        return "corrupt";
    case PL_EFORK:
        return "fork";
    case PL_EIO:
        return "io";
    case PL_ENOSPC:
        return "no-space";
    case PL_EAGAIN:
        return "again";
    case PL_ECLOSED:
        return "closed";
    case PL_ETIMEDOUT:
        return "timed-out";
    case PL_EEXPIRED:
        return "expired";
    case PL_EUNSUPPORTED:
        return "unsupported";
    }
    return "unknown";
}

/* Formats aside first: the arguments may point into the why that is about to be overwritten. */
static void fill(struct pl_why *why, enum pl_err err, const char *field, const char *format,
                 va_list args) __attribute__((format(printf, 4, 0)));

static void fill(struct pl_why *why, enum pl_err err, const char *field, const char *format,
                 va_list args)
{
    struct pl_why next = {.err = err};
    pl_text_print_v(next.text, sizeof(next.text), format, args);
    pl_text_print(next.field, sizeof(next.field), "%s", field);
    *why = next;
}

enum pl_err pl_fail(struct pl_why *why, enum pl_err err, const char *format, ...)
{
    if (why != NULL) {
        va_list args;
        va_start(args, format);
        fill(why, err, "", format, args);
        va_end(args);
    }
    return err;
}

enum pl_err pl_fail_field(struct pl_why *why, enum pl_err err, const char *field,
                          const char *format, ...)
{
    if (why != NULL) {
        va_list args;
        va_start(args, format);
        fill(why, err, field, format, args);
        va_end(args);
    }
    return err;
}

enum pl_err pl_fail_in(struct pl_why *why, enum pl_err err, const char *format, ...)
{
    if (why == NULL)
        return err;
    if (why->err == PL_OK)
        why->err = err;

    struct pl_why front = {.err = why->err};
    va_list args;
    va_start(args, format);
    fill(&front, why->err, why->field, format, args);
    va_end(args);

    const size_t used = strlen(front.text);
    if (why->text[0] != '\0')
        pl_text_print(front.text + used, sizeof(front.text) - used, ": %s", why->text);
    *why = front;
    return why->err;
}

enum pl_err pl_err_from_errno(int errno_value)
{
    switch (errno_value) {
    case 0:
        return PL_OK;
    case ENOMEM:
        return PL_ENOMEM;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
        return PL_EINVAL;
    case ENOENT:
        return PL_ENOTFOUND;
    case EEXIST:
        return PL_EEXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return PL_EDENIED;
    case ENOSPC:
    case EDQUOT:
        return PL_ENOSPC;
    case EFBIG:
    case EMFILE:
    case ENFILE:
        return PL_ELIMIT;
    case EAGAIN:
    case EINTR:
        return PL_EAGAIN;
    case EPIPE:
    case ECONNRESET:
        return PL_ECLOSED;
    case ETIMEDOUT:
        return PL_ETIMEDOUT;
    case ENOSYS:
    case EOPNOTSUPP:
        return PL_EUNSUPPORTED;
    default:
        return PL_EIO;
    }
}
