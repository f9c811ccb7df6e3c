// A wasi:http component in C: answers every request with the name of its pod.
//
// The imports below are the canonical-ABI forms of the functions that hello.wit names: a resource is an i32 handle, a
// string or list is a pointer and a length, a result that does not fit one value is written behind a last pointer.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))
#define HTTP "wasi:http/types@0.2.0"
#define STREAMS "wasi:io/streams@0.2.0"

typedef int32_t handle;
typedef struct { const char *data; size_t size; } string;
typedef struct { string name, value; } variable;
typedef struct { variable *data; size_t size; } variables;
typedef struct { uint8_t is_error; handle value; } handle_result;
// Large enough for any result that carries an error-code: that is 32 bytes, aligned to 8.
typedef struct { uint64_t words[8]; } any_result;

IMPORT("wasi:cli/environment@0.2.0", "get-environment") void get_environment(variables *out);
IMPORT(HTTP, "[constructor]fields") handle fields_new(void);
IMPORT(HTTP, "[method]fields.append")
void fields_append(handle self, const char *name, size_t name_size, const char *value, size_t value_size, any_result *out);
IMPORT(HTTP, "[constructor]outgoing-response") handle response_new(handle headers);
IMPORT(HTTP, "[method]outgoing-response.body") void response_body(handle self, handle_result *out);
IMPORT(HTTP, "[resource-drop]incoming-request") void request_drop(handle self);
IMPORT(HTTP, "[method]outgoing-body.write") void body_write(handle self, handle_result *out);
IMPORT(HTTP, "[static]outgoing-body.finish") void body_finish(handle self, int32_t has_trailers, handle trailers, any_result *out);
// The arguments after `response` are the flattened error-code, unused when `is_error` is 0.
IMPORT(HTTP, "[static]response-outparam.set")
void outparam_set(handle self, int32_t is_error, int32_t response, int32_t, int64_t, int32_t, int32_t, int32_t, int32_t);
IMPORT(STREAMS, "[method]output-stream.blocking-write-and-flush")
void stream_write(handle self, const char *data, size_t size, any_result *out);
IMPORT(STREAMS, "[resource-drop]output-stream") void stream_drop(handle self);

// The host allocates here what it returns: the environment.
EXPORT("cabi_realloc") void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)old_size;
    (void)align;  // malloc aligns to 16, more than any type above needs
    void *new = realloc(old, size);
    if (!new) abort();
    return new;
}

static string lookup(variables all, const char *name, const char *otherwise) {
    for (size_t i = 0; i < all.size; i++) {
        string found = all.data[i].name;
        if (found.size == strlen(name) && !memcmp(found.data, name, found.size)) return all.data[i].value;
    }
    return (string){otherwise, strlen(otherwise)};
}

static size_t append(char *to, size_t at, size_t limit, string text) {
    size_t size = text.size < limit - at ? text.size : limit - at;
    memcpy(to + at, text.data, size);
    return at + size;
}

EXPORT("wasi:http/incoming-handler@0.2.0#handle") void handle_request(handle request, handle outparam) {
    request_drop(request);
    variables environment;
    get_environment(&environment);
    char text[512];
    size_t size = append(text, 0, sizeof text, lookup(environment, "GREETING", "hello"));
    size = append(text, size, sizeof text, (string){" from ", 6});
    size = append(text, size, sizeof text, lookup(environment, "POD_NAME", "nowhere"));
    size = append(text, size, sizeof text, (string){" in C\n", 6});

    any_result ignored;
    handle headers = fields_new();
    fields_append(headers, "content-type", 12, "text/plain", 10, &ignored);
    handle response = response_new(headers);
    handle_result body, stream;
    response_body(response, &body);
    outparam_set(outparam, 0, response, 0, 0, 0, 0, 0, 0);
    body_write(body.value, &stream);
    if (!stream.is_error) {
        stream_write(stream.value, text, size, &ignored);
        stream_drop(stream.value);
    }
    body_finish(body.value, 0, 0, &ignored);
}
