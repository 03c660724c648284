/* list.h -- intrusive circular doubly linked list; the links belong to the owner. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

/* For a head: nothing in it. For a link: it is in no list. */
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_push(struct list *head, struct list *item)
{
    item->prev = head->prev;
    item->next = head;
    head->prev->next = item;
    head->prev = item;
}

static inline void list_push_front(struct list *head, struct list *item)
{
    list_push(head->next, item);
}

/* Unlink and leave self-linked, so a second call is harmless. */
static inline void list_unlink(struct list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}

static inline struct list *list_pop(struct list *head)
{
    struct list *item = head->next;
    list_unlink(item);
    return item;
}

/* Move all of `from` behind `to`; `from` is left empty. */
static inline void list_append(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define LIST_EACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)

#endif
