/* As much of MicroPython's headers as a module of C functions needs, for tests: py/obj.h, py/objtuple.h, py/runtime.h. */
#ifndef MICROPYTHON_H
#define MICROPYTHON_H

#include <stddef.h>
#include <stdint.h>

typedef intptr_t mp_int_t;
typedef struct {
    enum { INT, TUPLE, STR, BYTES, NONE } kind;
    mp_int_t number; /* or length */
    const void *items;
} value;
typedef value *mp_obj_t;

typedef struct {
    void *buf;
    size_t len;
} mp_buffer_info_t;
enum { MP_BUFFER_READ };

typedef struct {
    const char *key;
    const void *value;
} mp_rom_map_elem_t;
typedef struct {
    const mp_rom_map_elem_t *table;
    size_t used;
} mp_obj_dict_t;
typedef struct {
    const char *name;
} mp_obj_type_t;
typedef struct {
    const mp_obj_type_t *type;
} mp_obj_base_t;
typedef struct {
    mp_obj_base_t base;
    mp_obj_dict_t *globals;
} mp_obj_module_t;
typedef struct {
    mp_obj_t (*none)(void);
    mp_obj_t (*one)(mp_obj_t);
} function;

extern const mp_obj_type_t mp_type_module;
extern value none_object;
#define mp_const_none (&none_object)

void mp_get_buffer_raise(mp_obj_t object, mp_buffer_info_t *found, int flags);
__attribute__((noreturn)) void mp_raise_ValueError(const char *message);
mp_obj_t mp_obj_new_int(mp_int_t number);
mp_obj_t mp_obj_new_str(const char *text, size_t length);
mp_obj_t mp_obj_new_tuple(size_t n, const mp_obj_t *items);
mp_int_t mp_obj_get_int(mp_obj_t object);

#define MP_ERROR_TEXT(text) text
#define MP_ROM_QSTR(name) #name
#define MP_ROM_INT(number) ((const void *)(intptr_t)(number))
#define MP_ROM_PTR(pointer) ((const void *)(pointer))
#define MP_DEFINE_CONST_FUN_OBJ_0(name, called) const function name = {called, NULL}
#define MP_DEFINE_CONST_FUN_OBJ_1(name, called) const function name = {NULL, called}
#define MP_DEFINE_CONST_DICT(name, table) const mp_obj_dict_t name = {table, sizeof table / sizeof table[0]}
#define MP_REGISTER_MODULE(name, module) \
    extern const mp_obj_module_t *const registered_##name; \
    const mp_obj_module_t *const registered_##name = &module

#endif
