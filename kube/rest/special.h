/* Subresources and resources with code of their own; each answers the request. */
#ifndef KVD_KUBE_REST_SPECIAL_H
#define KVD_KUBE_REST_SPECIAL_H

struct rest;

void rest_scale(struct rest *rest);
void rest_bind(struct rest *rest);
void rest_evict(struct rest *rest);
void rest_component_statuses(struct rest *rest);
void rest_who_am_i(struct rest *rest);

#endif
