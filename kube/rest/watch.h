/* What api.c has to do for watches. */
#ifndef KVD_KUBE_REST_WATCH_H
#define KVD_KUBE_REST_WATCH_H

#include "kube/rest/internal.h"

/* Ends watches whose time is up; runs while there are any. */
void rest_watch_timer(struct kube_api *api);
/* What watches have left behind; after the last one. */
void rest_watch_release(struct kube_api *api);
/* All of them, in order, with a bookmark. */
void rest_watches_end(struct kube_api *api);

#endif
