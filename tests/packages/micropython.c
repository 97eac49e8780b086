/* What runs a module of MicroPython's in its place: MODEL's golden vectors, a run, and what it must refuse. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "py/runtime.h"

#define JOINED(prefix, name) prefix##name
#define REGISTERED(name) JOINED(registered_MP_QSTR_, name)
extern const mp_obj_module_t *const REGISTERED(MODEL);

const mp_obj_type_t mp_type_module = {"module"};
value none_object = {NONE, 0, NULL};
static jmp_buf raised;

static mp_obj_t make(value made)
{
    mp_obj_t object = malloc(sizeof made);
    *object = made;
    return object;
}

void mp_get_buffer_raise(mp_obj_t object, mp_buffer_info_t *found, int flags)
{
    (void)flags;
    found->buf = (void *)(uintptr_t)object->items;
    found->len = (size_t)object->number;
}

void mp_raise_ValueError(const char *message)
{
    puts(message);
    longjmp(raised, 1);
}

mp_obj_t mp_obj_new_int(mp_int_t number)
{
    return make((value){INT, number, NULL});
}

mp_obj_t mp_obj_new_str(const char *text, size_t length)
{
    return make((value){STR, (mp_int_t)length, text});
}

mp_obj_t mp_obj_new_tuple(size_t n, const mp_obj_t *items)
{
    mp_obj_t *kept = malloc(n * sizeof *kept);
    memcpy(kept, items, n * sizeof *kept);
    return make((value){TUPLE, (mp_int_t)n, kept});
}

mp_int_t mp_obj_get_int(mp_obj_t object)
{
    return object->number;
}

static const void *member(const char *name)
{
    const mp_obj_dict_t *names = REGISTERED(MODEL)->globals;
    size_t i;
    for (i = 0; i < names->used; i++) {
        if (strcmp(names->table[i].key, name) == 0) {
            return names->table[i].value;
        }
    }
    return NULL;
}

static mp_int_t item(mp_obj_t tuple, size_t index)
{
    return ((const mp_obj_t *)tuple->items)[index]->number;
}

int main(void)
{
    const function *run = member("MP_QSTR_run"), *logits = member("MP_QSTR_logits"), *selftest = member("MP_QSTR_selftest");
    const function *name = member("MP_QSTR_class_name");
    const mp_int_t bytes = (intptr_t)member("MP_QSTR_INPUT_BYTES"), classes = (intptr_t)member("MP_QSTR_N_CLASSES");
    static uint8_t zeros[4096];
    volatile value given = {BYTES, 0, zeros + 1};
    mp_obj_t found = selftest->none();
    printf("%ld of %ld differ\n", (long)item(found, 0), (long)item(found, 1));
    given.number = bytes;
    found = run->one((mp_obj_t)&given);
    printf("tuple of %ld, label %ld, %ld logits of %ld\n", (long)found->number, (long)item(found, 0), (long)logits->none()->number,
           (long)classes);
    printf("%.*s, %d\n", (int)name->one(mp_obj_new_int(0))->number, (const char *)name->one(mp_obj_new_int(0))->items,
           name->one(mp_obj_new_int(classes)) == mp_const_none && name->one(mp_obj_new_int(-1)) == mp_const_none);
    if (setjmp(raised) == 0) {
        given.number = bytes - 1;
        run->one((mp_obj_t)&given);
        puts("not refused");
    }
    return 0;
}
