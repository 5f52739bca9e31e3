/* Values as Go's standard library prints and reads them, because etcdctl is a Go program and its
 * output is what scripts know. Each function names its model. */
#ifndef KVD_CLIENT_CTL_GOTEXT_H
#define KVD_CLIENT_CTL_GOTEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/slice.h"

enum { GO_TEXT_MAX = 48 }; /* room for any duration or size below */

/* fmt's %q: double quotes, escapes for all that is not printable. Unassigned code points count as
 * printable here. */
void go_quote(FILE *out, struct slice text);

/* The reverse, as fmt.Sscanf's %q reads: a "quoted" or `raw` string at the front of *text, which
 * moves on behind it. false: there is none; *text is unchanged. */
bool go_unquote(struct slice *text, struct arena *arena, struct slice *out);

/* time.ParseDuration: "5s", "1m30s", "-1.5h". */
bool go_parse_duration(const char *text, int64_t *out_ns);
/* time.Duration.String(): "3.6ms", "1m30s". */
void go_format_duration(int64_t ns, char out[GO_TEXT_MAX]);

/* strconv.ParseBool. */
bool go_parse_bool(const char *text, bool *out);
/* strconv.ParseInt(text, base, 64) for base 10 or 16; all of text. */
bool go_parse_int(const char *text, int base, int64_t *out);

/* go-humanize's Bytes: "20 kB", "2.1 GB". */
void go_format_bytes(uint64_t bytes, char out[GO_TEXT_MAX]);

/* Length of the UTF-8 sequence at the front and its code point; 0 if it is none. */
size_t utf8_decode(struct slice text, uint32_t *out);

#endif
