// Answers with what it is sent, in capitals: a preview-1 command that is run for each request.
//
// Speaks CGI: the request's head is in the environment, its body on standard input; the answer begins with headers. What goes
// to standard error is in the pod's log.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

int main(void) {
    fprintf(stderr, "%s %s?%s from %s\n", variable("REQUEST_METHOD"), variable("PATH_INFO"), variable("QUERY_STRING"),
            variable("HTTP_USER_AGENT"));
    if (strcmp(variable("REQUEST_METHOD"), "POST") != 0) {
        printf("Status: 405 Method Not Allowed\nAllow: POST\nContent-Type: text/plain\n\nsend something with POST\n");
        return 0;
    }
    printf("Content-Type: %s\nX-Shouted: yes\n\n", *variable("CONTENT_TYPE") ? variable("CONTENT_TYPE") : "text/plain");
    long bytes = 0;
    for (int c; (c = getchar()) != EOF; bytes++) putchar(toupper(c));
    fprintf(stderr, "shouted %ld bytes\n", bytes);
    return 0;
}
