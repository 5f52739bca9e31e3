/* What a person sees of a member: a status page for browsers, and the JSON that it is made of. */
#ifndef KVD_SERVER_PAGE_H
#define KVD_SERVER_PAGE_H

#include "base/slice.h"
#include "net/server.h"
#include "server/member.h"

/* GET /kvd/status: this member's view of itself and of the others, as one JSON object. */
void page_reply_status(const struct member *member, struct http_request *request);
/* The page; it asks every member it learns of for its status and draws the cluster. */
struct slice page_html(void);

#endif
