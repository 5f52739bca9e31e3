/* Subresources and resources with code of their own; each answers the request. */
#ifndef KVD_KUBE_REST_SPECIAL_H
#define KVD_KUBE_REST_SPECIAL_H

#include "base/arena.h"
#include "kube/json/json.h"

struct rest;

void rest_scale(struct rest *rest);
void rest_bind(struct rest *rest);
void rest_evict(struct rest *rest);
void rest_component_statuses(struct rest *rest);
void rest_who_am_i(struct rest *rest);
void rest_review_access(struct rest *rest);

/* Status Success with this code. */
void rest_reply_success(struct rest *rest, int code);
/* A LabelSelector, or a plain map of labels, as `kubectl get -l` takes it. */
struct slice rest_selector_text(struct arena *arena, const struct json *selector);

#endif
