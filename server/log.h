/* Log lines: one event a line, JSON with etcd's field names (level, ts, caller, msg, then fields)
 * or human-readable on a terminal. Only those who decide what to do log; no secrets. Any thread. */
#ifndef KVD_SERVER_LOG_H
#define KVD_SERVER_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "server/config.h"

struct log;

int log_open(const struct config *config, struct log **out, struct err *err);
void log_close(struct log *log);

/* A field of a line; made by the LOG_ macros, values are borrowed until return. */
struct log_field {
    const char *name;
    enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_UINT, LOG_FIELD_HEX, LOG_FIELD_BOOL } kind;
    const char *str;
    int64_t i;
    uint64_t u;
};

#define LOG_STR(n, v) ((struct log_field){.name = (n), .kind = LOG_FIELD_STR, .str = (v)})
#define LOG_INT(n, v) ((struct log_field){.name = (n), .kind = LOG_FIELD_INT, .i = (v)})
#define LOG_UINT(n, v) ((struct log_field){.name = (n), .kind = LOG_FIELD_UINT, .u = (v)})
/* Ids are printed in hex without leading zeros, as etcd does. */
#define LOG_ID(n, v) ((struct log_field){.name = (n), .kind = LOG_FIELD_HEX, .u = (v)})
#define LOG_BOOL(n, v) ((struct log_field){.name = (n), .kind = LOG_FIELD_BOOL, .u = (v)})

/* log may be NULL: nothing is written (tests, simulator). Strings that are not UTF-8 are escaped.
 */
void log_write(struct log *log, enum config_log_level level, const char *caller, const char *msg,
               const struct log_field *fields, size_t count);

#define LOG__CALLER_2(line) #line
#define LOG__CALLER(line) LOG__CALLER_2(line)
#define LOG_AT(log, level, msg, ...)                                                               \
    log_write((log), (level), __FILE__ ":" LOG__CALLER(__LINE__), (msg),                           \
              (struct log_field[]){{.name = NULL}, ##__VA_ARGS__} + 1,                             \
              sizeof((struct log_field[]){{.name = NULL}, ##__VA_ARGS__}) /                        \
                      sizeof(struct log_field) -                                                   \
                  1)
#define log_debug(log, msg, ...) LOG_AT(log, CONFIG_DEBUG, msg, ##__VA_ARGS__)
#define log_info(log, msg, ...) LOG_AT(log, CONFIG_INFO, msg, ##__VA_ARGS__)
#define log_warn(log, msg, ...) LOG_AT(log, CONFIG_WARN, msg, ##__VA_ARGS__)
#define log_error(log, msg, ...) LOG_AT(log, CONFIG_ERROR, msg, ##__VA_ARGS__)

#endif
