/* Defaults, and what an object must be like: tables of paths and checks, C functions where fields
 * are compared. The rest of upstream's validation is added as users need it. */
#ifndef KVD_KUBE_CHECK_RULES_H
#define KVD_KUBE_CHECK_RULES_H

#include "base/arena.h"
#include "kube/json/json.h"
#include "kube/types/kinds.h"
#include "kube/types/status.h"

/* Sets what a client may leave out (pod template restartPolicy, Service type, ...), as upstream's
 * defaulting functions do. object is in normal form and stays nearly so: call kube_normalise()
 * again for the order of members. */
void kube_defaults(struct arena *arena, const struct kube_resource *resource, struct json *object);

/* What the server does to an object before it is stored, beyond metadata: on create (old NULL) and
 * update. Namespaces get finalizers, label and phase; jobs their selector and labels; pods phase
 * and qosClass; secrets move stringData into data; ... metadata.uid and name must be set: a job's
 * selector is made of them. Addresses and ports of services, and what pods get
 * by looking at other objects (service account, priority of a class), are not given here. */
void kube_prepare(struct arena *arena, const struct kube_resource *resource, const struct json *old,
                  struct json *object);

/* Checks object, and against old (NULL: a create) that nothing immutable was changed. Returns 0 or
 * 422 with status filled. */
int kube_validate(struct arena *arena, const struct kube_resource *resource, const struct json *old,
                  const struct json *object, struct kube_status *status);

/* ---- pieces, for others ---- */

/* NULL if text is one, else upstream's complaint ("a lowercase RFC 1123 subdomain must ..."). */
const char *kube_subdomain_check(struct slice text);
const char *kube_label_name_check(struct slice text); /* RFC 1123 label */
/* "prefix.io/name" and label values: complaints into issues under field. */
void kube_qualified_name_check(struct arena *arena, struct slice text, const char *field,
                               struct kube_issues *issues);
void kube_label_value_check(struct arena *arena, struct slice text, const char *field,
                            struct kube_issues *issues);

#endif
